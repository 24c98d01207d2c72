"""A process that was forked after a fit: torch's threads are not in it, and it would wait for them for ever."""

import os

import torch

from hybrid_dip.errors import SettingsError, warn

_computed, _forked = False, False
"""Whether this process, or one that it was forked from, has begun a fit; and whether it was forked from such a one."""


def check_fork(device: torch.device) -> None:
    """Remember that this process has begun a fit; from then on a process forked from it computes with one thread.

    Args:
        device: Where the fit is to run.

    Raises:
        SettingsError: This process was forked from one that had begun a fit, and needs what it lacks: threads, or CUDA.
    """
    global _computed
    if _forked:
        spawn = "start it by multiprocessing.get_context('spawn')"
        if device.type == "cuda":
            raise SettingsError(f"This process was forked after a fit, so CUDA does not work in it: {spawn}.")
        if torch.get_num_threads() > 1:
            raise SettingsError(f"This process was forked after a fit, so torch has one thread only in it: {spawn}.")
        warn(f"This process was forked after a fit, so it computes with one thread; for more, {spawn}.")
    elif not _computed and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_compute_alone)
    _computed = True


def _compute_alone() -> None:
    global _forked
    _forked = True
    torch.set_num_threads(1)

"""``--log``: each fit of a restoration is logged for TensorBoard or to Weights & Biases."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hybrid_dip.errors import SettingsError, nearest
from hybrid_dip.fitting.loggers import TensorBoard, Wandb, Writer

LOGS = ("tensorboard", "wandb")


def check_log(log: str | None) -> None:
    """Refuse a log that cannot be written, before anything is fitted.

    Args:
        log: Where to log, or None.

    Raises:
        SettingsError: The place is not known, or its package is not installed.
    """
    if log is not None:
        log_writer(log, Path(), "", {}, quiet=True)


def log_writer(log: str, folder: Path, fit: str, settings: Mapping[str, Any], *, quiet: bool) -> Writer:
    """What writes the log of one fit. Nothing is written before the first step.

    Args:
        log: One of :data:`LOGS`.
        folder: Folder of all event files of the restoration, in the result folder.
        fit: Name of the fit, unlike that of any other.
        settings: What a run is described by.
        quiet: Whether it says nothing.

    Returns:
        The writer.

    Raises:
        SettingsError: The place is not known, or its package is not installed.
    """
    if log == "tensorboard":
        return TensorBoard(folder / fit)
    if log == "wandb":
        group = folder.absolute().parent.name
        return Wandb(f"{group}/{fit}", group=group, config=dict(settings), settings={"silent": True} if quiet else {})
    raise SettingsError(f"Unknown --log '{log}': {nearest(log, list(LOGS))}.")

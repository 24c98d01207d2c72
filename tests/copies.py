"""Processes that are copies of one that has imported torch: a new interpreter takes seconds to come as far."""

import ctypes
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

InCopy = Callable[..., Any]

COPIES = multiprocessing.get_context("forkserver")
COPIES.set_forkserver_preload(["pytest", "hybrid_dip.cli.app", "torch._dynamo", "matplotlib.figure", "scipy.ndimage"])

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000


def become_root_of_a_namespace() -> None:
    """As ``unshare --map-root-user --mount`` does: from here on this process may mount file systems, which it alone sees.

    Raises:
        OSError: It is not allowed to here.
    """
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")

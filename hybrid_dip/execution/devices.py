"""Which device a fit runs on, and how much of it is free."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch

from hybrid_dip.errors import SettingsError, check_kind, nearest

OTHER_NAMES = {"gpu": "cuda", "nvidia": "cuda", "metal": "mps", "apple": "mps"}
"""What else devices are called -> torch's name."""


def pick(name: str | torch.device | None = "auto") -> torch.device:
    """Turn a name into a device that is there.

    Args:
        name: "auto" or None (CUDA, else MPS, else the CPU), "cpu", "cuda", "cuda:1", "mps", or a device.

    Returns:
        The device.

    Raises:
        SettingsError: An unknown name, or a device that this machine does not have.
    """
    name = "auto" if name is None else str(name) if isinstance(name, torch.device) else name
    check_kind("A device", name, str, "a name such as cpu or cuda:0, or a torch.device")
    name = name.lower()
    kind = name.split(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(device for device in ("cuda", "mps", "cpu") if there[device]))
    if kind not in there:
        hint = f"did you mean '{OTHER_NAMES[kind]}'" if kind in OTHER_NAMES else nearest(name, ["auto", *there])
        raise SettingsError(f"Unknown device '{name}': {hint}.")
    if not there[kind]:
        raise SettingsError(f"This machine has no device '{name}' that torch can use; take --device cpu or auto.")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SettingsError(f"Unknown device '{name}'; a form such as cuda or cuda:0 was expected.") from None
    if kind == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(f"There is no '{name}'; this machine has {torch.cuda.device_count()} CUDA devices.")
    return device


def free_memory(device: torch.device) -> int:
    """Bytes that a fit may still take on a device. MPS shares the memory of the machine; a container may have a part of that.

    Args:
        device: Any device.

    Returns:
        Bytes.
    """
    if device.type == "cuda":
        # What torch keeps for itself but does not use is free as well.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return min(int(psutil.virtual_memory().available), left_of_limit())


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Inside, torch computes with this many CPU threads; None leaves their number as it is.

    The number belongs to the process.

    Args:
        count: At least 1, or None.

    Yields:
        Nothing.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


CGROUPS = Path("/sys/fs/cgroup")
"""Where Linux says what containers and batch jobs may take."""


def left_of_limit(membership: str | None = None, root: Path = CGROUPS) -> int:
    """Bytes left of the limits of this process's control groups (containers, batch systems) on Linux.

    Args:
        membership: Content of ``/proc/self/cgroup``; by default this process's.
        root: Folder that the groups are mounted in.

    Returns:
        Bytes; 2^63 - 1 where there is no limit.
    """
    own = Path("/proc/self/cgroup")
    lines = (own.read_text() if own.exists() else "") if membership is None else membership
    least = 2**63 - 1
    for line in lines.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base, names = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = base / path.lstrip("/")
        for one in (group, *group.parents):  # the limit of a group holds for those inside it
            if (one / names[0]).exists():
                least = min(least, _left(one, *names))
            if one == base:
                break
    return least


def _left(group: Path, limit: str, used: str, cache: str) -> int:
    text = (group / limit).read_text().strip()
    if text == "max":
        return 2**63 - 1
    counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    # Pages of files that were not used for a while are given up first.
    return max(0, int(text) - int((group / used).read_text()) + int(counts.get(cache, 0)))


def describe(device: torch.device) -> dict[str, Any]:
    """Hardware and versions, for a manifest.

    Args:
        device: The device in use.

    Returns:
        Plain strings and numbers.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "device": str(device),
        "device_name": name,
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }

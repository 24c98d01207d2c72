"""Which device a fit runs on, and how much of it is free."""

import platform
from typing import Any

import psutil
import torch

from hybrid_dip.errors import SettingsError, nearest


def pick(name: str = "auto") -> torch.device:
    """Turn a name into a device that is there.

    Args:
        name: "auto" (CUDA, else MPS, else the CPU), "cpu", "cuda", "cuda:1", "mps".

    Returns:
        The device.

    Raises:
        SettingsError: An unknown name, or a device that this machine does not have.
    """
    kind = name.split(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(device for device in ("cuda", "mps", "cpu") if there[device]))
    if kind not in there:
        raise SettingsError(f"Unknown device '{name}': {nearest(name, ['auto', *there])}.")
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
    """Bytes that a fit may still take on a device; for MPS, which shares it, the machine's.

    Args:
        device: Any.

    Returns:
        Bytes.
    """
    if device.type == "cuda":
        # What torch keeps for itself but does not use is free, too.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return int(psutil.virtual_memory().available)


def describe(device: torch.device) -> dict[str, Any]:
    """Hardware and versions, for a manifest.

    Args:
        device: The one in use.

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

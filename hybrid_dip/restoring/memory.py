"""How much memory a step of a fit takes, known before it starts, and whether it fits."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from hybrid_dip.contracts import Task
from hybrid_dip.errors import HybridDIPError
from hybrid_dip.execution import devices
from hybrid_dip.execution.precision import PLAIN, Execution
from hybrid_dip.execution.recompute import Part, run_in_parts
from hybrid_dip.recipes.prepare import sketch
from hybrid_dip.recipes.recipe import Recipe

OVERHEAD, OVERHEAD_RECOMPUTED = 1.9, 1.58
"""Factor over what autograd saves: temporary buffers of convolutions, gradients, and gaps in the memory that is kept between
steps. It is smaller where activations are computed again, because freed memory is not kept then. benchmarks/memory.py measures
both."""
ALWAYS = 16 * 2**20
"""Bytes that the libraries keep, however small the image."""


class TooLargeError(HybridDIPError, MemoryError):
    """A step of a fit needs more memory than the device has free."""


def memory_of_a_step(task: Task, recipe: Recipe, *, recomputed: bool = False) -> int:
    """Bytes that one step of Adam takes, counted without allocating them.

    The network is made and run on torch's meta device, which computes shapes only. What autograd would save is added up. The
    parameters count four times: themselves, their gradient, and two moments.

    Args:
        task: Gives the size, and the number of image-sized tensors that the loop keeps.
        recipe: Gives the network and the latent.
        recomputed: Whether activations are computed again. Then each part's input is kept, and the inside of the largest part.

    Returns:
        Bytes; 0 where they cannot be told, because the network looks at its values.
    """
    network, latent = sketch(task, recipe)
    kept = _Kept()
    try:
        network = network.to("meta")
        with _saving(kept.storages):
            output = (run_in_parts(network, kept.run_part) if recomputed else network)(latent.to("meta"))
    except Exception:  # it asks for a value, which a meta tensor does not have; an error of its own shows at the first step
        return 0
    if not isinstance(output, Tensor):
        return 0
    activations = _bytes(kept.storages) + kept.largest + output.numel() * 4
    parameters = sum(p.numel() for p in network.parameters()) * 4
    images = 12 * int(torch.Size(task.shape).numel()) * 4
    overhead = OVERHEAD_RECOMPUTED if recomputed else OVERHEAD
    return ALWAYS + int(overhead * activations) + 4 * parameters + images + 2 * latent.numel() * 4


Storages = dict[int, torch.UntypedStorage]
"""Memory by its address. A storage that is kept alive keeps its address from being used twice."""


@dataclass
class _Kept:
    """What a step keeps for the way back.

    Attributes:
        storages: What is kept until then.
        largest: Bytes inside the part that keeps most, where each part is computed again.
    """

    storages: Storages = field(default_factory=dict)
    largest: int = 0

    def run_part(self, run: Callable[[Tensor], Tensor], part: Part, x: Tensor) -> Tensor:
        """Run a part of the network whose inside is not kept."""
        inside: Storages = {}
        with _saving(inside):
            output = run(x)
        own = x.untyped_storage()
        self.storages[own._cdata] = own
        # The parameters of a part count as parameters.
        parameters = {p.untyped_storage()._cdata for layer in part for p in layer.parameters()}
        self.largest = max(self.largest, _bytes({key: value for key, value in inside.items() if key not in parameters}))
        return output


def _saving(storages: Storages) -> saved_tensors_hooks:
    """Note what autograd saves."""

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage
        return tensor

    return saved_tensors_hooks(pack, lambda tensor: tensor)


def _bytes(storages: Storages) -> int:
    return sum(storage.nbytes() for storage in storages.values())


def recompute_if_needed(way: Execution, task: Task, recipe: Recipe, device: torch.device) -> Execution:
    """Let activations be computed again where a step would not fit into memory otherwise.

    Args:
        way: How the network is to be evaluated.
        task: The task that one fit sees.
        recipe: What is to be fitted.
        device: Where it is to be fitted.

    Returns:
        The same way, with ``recomputed`` where it is needed and enough.
    """
    free = devices.free_memory(device)
    if (
        way.compiled
        or way.graphed
        or memory_of_a_step(task, recipe) <= free
        or memory_of_a_step(task, recipe, recomputed=True) > free
    ):
        return way
    return replace(way, recomputed=True)


def check_memory(task: Task, recipe: Recipe, device: torch.device, execution: Execution = PLAIN) -> int:
    """Refuse a fit that would not fit into memory, before anything is allocated.

    Args:
        task: The task that one fit sees.
        recipe: What is to be fitted.
        device: Where it is to be fitted.
        execution: How the network is evaluated.

    Returns:
        Bytes of a step; 0 where they cannot be told.

    Raises:
        TooLargeError: The device has less memory free.
    """
    needed = memory_of_a_step(task, recipe, recomputed=execution.recomputed)
    free = devices.free_memory(device)
    if needed > free:
        raise TooLargeError(
            f"A step on {task.shape[-1]}x{task.shape[-2]} pixels needs about {needed / 2**30:.1f} GiB, but {device} has "
            f"{free / 2**30:.1f} GiB free: take --preset quick, --tile 512, a part of the image with --crop, or another "
            "--device."
        )
    return needed

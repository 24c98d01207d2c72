from dataclasses import replace

import torch

from hybrid_dip.problem import tasks
from hybrid_dip.recipes import presets
from hybrid_dip.restoring import memory


def task(side: int) -> tasks.Task:
    return tasks.denoise(torch.rand(1, 3, side, side), sigma=0.1)


def test_memory_grows_with_the_pixels() -> None:
    small, large = (memory.memory_of_a_step(task(side), presets.quick(task(side))) for side in (256, 512))
    assert 3.5 < large / small < 4.1


def test_memory_of_a_network_counted_by_hand() -> None:
    """x = theta saves nothing for backward: four images of parameters and moments, and what the loop keeps."""
    from hybrid_dip import networks

    made = task(64)
    recipe = replace(presets.quick(made), network=networks.pixels)
    image = 3 * 64 * 64 * 4
    latent = 32 * 64 * 64 * 4
    assert memory.memory_of_a_step(made, recipe) == memory.ALWAYS + int(memory.OVERHEAD * image) + 16 * image + 2 * latent


def test_counting_allocates_nothing_and_draws_nothing() -> None:
    huge = tasks.super_resolve(torch.rand(1, 3, 256, 256), factor=100)  # 25600 x 25600
    before = torch.get_rng_state()
    assert memory.memory_of_a_step(huge, presets.original(huge)) > 2**40
    assert torch.equal(before, torch.get_rng_state())

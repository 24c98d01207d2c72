import json
from functools import partial

import torch
from torch import Tensor, nn

from hybrid_dip.contracts import Task
from hybrid_dip.networks import latents
from hybrid_dip.problem import degradations, tasks
from hybrid_dip.recipes import presets
from hybrid_dip.recipes.recipe import Recipe, settings_of

CASE = degradations.downsampled(torch.full((1, 3, 32, 32), 0.5), factor=4)


def test_a_recipe_describes_itself_in_plain_values() -> None:
    found = presets.fast(CASE.task).describe()
    assert json.loads(json.dumps(found))["average"] == "Growing(share=0.1111111111111111)"
    assert (found["runs"], found["optimizer"]["betas"]) == (2, (0.8, 0.9))


def test_a_function_is_described_by_name_or_own_words() -> None:
    class Own:
        def __call__(self) -> None: ...

        def describe(self) -> dict[str, int]:
            return {"mine": 3}

    assert settings_of(partial(latents.uniform, channels=8)) == {"name": "uniform", "channels": 8}
    assert settings_of(Own()) == {"mine": 3}


def sized(in_channels: int, out_channels: int, size: tuple[int, int]) -> nn.Module:
    return nn.Upsample(size)


def test_a_network_is_told_the_image_s_size() -> None:
    network = Recipe(sized, latents.uniform, steps=1).build_network(32, tasks.denoise(torch.rand(1, 3, 20, 24), sigma=0.3))
    assert network(torch.zeros(1, 3, 4, 4)).shape == (1, 3, 20, 24)


class Fed:
    """A latent that is made of what was observed."""

    def __init__(self, observation: Tensor | None = None):
        self.observation = observation

    def bind(self, task: Task) -> "Fed":
        return Fed(task.observation)

    def __call__(self, size: tuple[int, int]) -> Tensor:
        assert self.observation is not None
        return self.observation


def test_a_recipe_with_a_part_that_binds_is_bound() -> None:
    plain = presets.quick(CASE.task)
    assert plain.bind(CASE.task) is plain
    bound = Recipe(plain.network, Fed(), steps=1).bind(CASE.task)
    assert bound.latent(size=(32, 32)) is CASE.task.observation
    assert bound.network is plain.network

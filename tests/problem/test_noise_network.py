import pytest
import torch

from hybrid_dip.problem.noise_network import BLOCK, LEAST, NoiseNetwork, cosines, noise_network


def test_the_cosine_transform_is_orthonormal_and_begins_with_the_mean() -> None:
    filters = cosines().flatten(1)
    assert torch.allclose(filters @ filters.T, torch.eye(BLOCK**2), atol=1e-5)
    assert torch.allclose(filters[0], torch.full((BLOCK**2,), 1 / BLOCK))


def test_a_reading_has_a_level_for_each_block_and_is_no_less_than_rounding() -> None:
    reading = noise_network()(torch.full((2, 3, 24, 32), 0.5))
    assert reading.variance.shape == (2, 3, 3, 4)
    assert reading.correlation.shape == (2, 3)
    assert reading.error.shape == (2,)
    assert float(reading.variance.min()) >= LEAST**2


def test_the_weights_are_those_of_this_network() -> None:
    own = NoiseNetwork().state_dict()
    assert {name: value.shape for name, value in noise_network().state_dict().items()} == {
        name: value.shape for name, value in own.items()
    }
    assert sum(value.numel() for value in own.values()) == pytest.approx(130_000, rel=0.05)

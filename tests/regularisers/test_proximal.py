"""The proximal map of what has none of its own, against what has."""

import pytest
import torch

from hybrid_dip.regularisers import GuidePixels, Tikhonov
from hybrid_dip.regularisers.proximal import descent, proximal


def test_descent_finds_the_prox_that_is_known() -> None:
    v, guide = torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16)
    prior = GuidePixels(guide)
    assert torch.allclose(descent(prior, v, 100.0), prior.prox(v, 100.0), atol=1e-4)


def test_proximal_is_the_minimum_and_no_neighbour_is_below() -> None:
    v, gamma, prior = torch.rand(1, 1, 16, 16), 50.0, Tikhonov()
    x = proximal(prior, v, gamma)

    def value(u: torch.Tensor) -> float:
        return float((u - v).square().sum() / 2 + gamma * prior(u))

    assert value(x) < value(v)
    assert all(value(x + 0.01 * torch.randn_like(x)) > value(x) for _ in range(20))


def test_nothing_is_moved_by_a_weight_of_zero() -> None:
    v = torch.rand(1, 1, 16, 16)
    assert proximal(Tikhonov(), v, 0.0) is v


def test_own_prox_is_preferred() -> None:
    class Own:
        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean()

        def prox(self, v: torch.Tensor, gamma: float) -> torch.Tensor:
            return v + gamma

    assert float(proximal(Own(), torch.zeros(1, 1, 16, 16), 2.0).mean()) == pytest.approx(2.0)

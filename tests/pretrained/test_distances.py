import math

import pytest
import torch
from torch import Tensor

from pretrained.distances import ALIKE, DISTANCES, contextual, cosine, gram, mse, sliced_wasserstein

ALL = sorted(DISTANCES)


def maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", ALL)
def test_the_target_itself_is_nearest(name: str) -> None:
    a, b = maps(1, 6, 5, 7), maps(1, 6, 5, 7, seed=1)
    assert float(DISTANCES[name](b, b)) == pytest.approx(0, abs=1e-3)
    assert float(DISTANCES[name](a, b)) > float(DISTANCES[name](b, b)) + 0.01


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_right_and_finite_at_target_and_zero(name: str) -> None:
    b = maps(1, 3, 3, 3)
    a = maps(1, 3, 3, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: DISTANCES[name](x, b), a)
    for start in (b, torch.zeros_like(b)):
        x = start.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(DISTANCES[name](x, b), x)
        assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("name", [name for name in ALL if name not in ALIKE])
def test_what_is_where_does_not_matter_to_the_others(name: str) -> None:
    b = maps(1, 4, 6, 6)
    moved = b.flatten(2)[..., torch.randperm(36)].view_as(b)
    assert float(DISTANCES[name](moved, b)) == pytest.approx(float(DISTANCES[name](b, b)), abs=1e-6)
    assert math.isfinite(float(DISTANCES[name](maps(1, 4, 3, 5), b)))


def test_by_hand() -> None:
    a, b = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]]]]), torch.tensor([[[[1.0, 2.0]], [[0.0, 0.0]]]])
    assert float(mse(a, b)) == pytest.approx((4 + 4) / 5)
    assert float(cosine(a, b)) == pytest.approx(0.5), "the first place agrees, the second is at right angles"
    # G(a) = diag(1/2, 2), G(b) = diag(5/2, 0)
    assert float(gram(a, b)) == pytest.approx((4 + 4) / 6.25)
    line = torch.arange(4.0).view(1, 1, 1, 4)
    assert float(sliced_wasserstein(line + 3, line)) == pytest.approx(9 / 1.25), "a shift by 3, variance 5/4"


def test_contextual_by_hand() -> None:
    """Two vectors of the target at right angles about their mean; one of the image matches the first, none the second."""
    b = torch.tensor([[[[1.0, -1.0]], [[0.0, 0.0]]]])
    a = torch.tensor([[[[1.0, 1.0]], [[0.0, 0.0]]]])
    # d = [[0, 2], [0, 2]]; relative = [0, 2e5]: all likeness is at the first vector of the target.
    assert float(contextual(a, b)) == pytest.approx(-math.log(0.5), abs=1e-3)

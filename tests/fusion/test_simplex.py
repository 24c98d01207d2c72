"""Weights on the simplex, against their optimality conditions and brute force."""

import pytest
import torch

from hybrid_dip.errors import SettingsError
from hybrid_dip.fusion.simplex import simplex_weights


def test_the_conditions_of_karush_kuhn_and_tucker_hold() -> None:
    residuals = torch.randn(500, 4, 60, dtype=torch.float64) + torch.randn(500, 1, 60, dtype=torch.float64)
    gram = residuals @ residuals.transpose(1, 2) / 60
    weights = simplex_weights(gram)
    assert torch.allclose(weights.sum(-1), torch.ones(500, dtype=torch.float64))
    assert bool((weights >= 0).all())
    slope = (gram @ weights[..., None])[..., 0]
    least = slope.min(-1, keepdim=True).values
    assert float(((slope - least) * weights).abs().max()) < 1e-8  # complementary slackness
    assert bool(((weights == 0).sum(-1) > 0).any())
    assert bool(((weights == 0).sum(-1) == 0).any())


def test_two_images_by_hand() -> None:
    """Independent errors of variance 1 and 3 are best weighed 3/4 and 1/4."""
    assert simplex_weights(torch.diag(torch.tensor([1.0, 3.0]))).tolist() == pytest.approx([0.75, 0.25])


def test_a_worse_image_with_the_same_errors_gets_nothing() -> None:
    assert simplex_weights(torch.tensor([[1.0, 2.0], [2.0, 4.0]])).tolist() == pytest.approx([1.0, 0.0])


def test_the_same_image_twice_shares_the_weight() -> None:
    assert simplex_weights(torch.ones(2, 2)).sum() == pytest.approx(1.0)


def test_no_point_of_a_grid_is_better() -> None:
    residuals = torch.randn(3, 20)
    gram = residuals @ residuals.T
    found = simplex_weights(gram)
    value = float(found @ gram.double() @ found)
    for a in torch.linspace(0, 1, 21):
        for b in torch.linspace(0, 1 - float(a), 21):
            w = torch.tensor([float(a), float(b), 1 - float(a) - float(b)])
            assert float(w @ gram @ w) >= value - 1e-6


def test_too_many_are_refused() -> None:
    with pytest.raises(SettingsError, match="At most 8"):
        simplex_weights(torch.eye(9))

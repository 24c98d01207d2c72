import math
from typing import Any

import pytest
import torch
from torch import Tensor

from hybrid_dip.errors import SettingsError
from hybrid_dip.regularisers import TGV, TV, AnisotropicTV, HuberTV, Tikhonov, VectorialTV, WeightedTV
from hybrid_dip.regularisers.memory import Bound

# One corner pixel raised by 1: it differs from its lower and its right neighbour, nobody else differs from anybody.
CORNER = torch.zeros(1, 1, 3, 3)
CORNER[0, 0, 0, 0] = 1.0
# A step between two columns of three: three differences of one.
EDGE = torch.zeros(1, 1, 3, 3)
EDGE[..., 2] = 1.0
SHARP = 1e-9


@pytest.mark.parametrize(
    ("regulariser", "x", "value"),
    [
        (TV(SHARP), CORNER, math.sqrt(2) / 9),
        (TV(SHARP), EDGE, 3 / 9),
        (AnisotropicTV(SHARP), CORNER, 2 / 9),
        (AnisotropicTV(SHARP), EDGE, 3 / 9),
        (HuberTV(delta=0.5), CORNER, (math.sqrt(2) - 0.25) / 9),
        (HuberTV(delta=0.5), 0.1 * CORNER, 0.02 / 9),
        (VectorialTV(SHARP), torch.cat([3 * CORNER, 4 * CORNER], 1), math.sqrt(50) / 9),
        # mu = sqrt(2)/9 is a tenth of mu + sqrt(2): the corner weighs a tenth.
        (WeightedTV(window=1, epsilon=SHARP), CORNER, math.sqrt(2) / 90),
        (Tikhonov(), CORNER, 2 / 9),
        (Tikhonov(), EDGE, 3 / 9),
        # The corner's Laplacian is -2, that of its two neighbours 1.
        (Tikhonov("laplacian"), CORNER, 6 / 9),
    ],
)
def test_by_hand(regulariser: Any, x: Tensor, value: float) -> None:
    assert float(regulariser(x)) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("regulariser", [TV(), AnisotropicTV(), HuberTV(), VectorialTV(), WeightedTV(), Tikhonov(), TGV()])
def test_of_a_constant_is_zero(regulariser: Any) -> None:
    assert float(regulariser(torch.full((1, 3, 8, 8), 0.7))) == pytest.approx(0, abs=1e-9)


def minimised(start: Tensor, energy: Any) -> Tensor:
    found = start.clone().requires_grad_()
    search = torch.optim.LBFGS(
        [found], max_iter=1500, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def evaluate() -> Tensor:
        search.zero_grad()
        value: Tensor = energy(found)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    search.step(evaluate)
    return found.detach()


@pytest.mark.parametrize(
    ("regulariser", "smooth", "tolerance"),
    [
        (TV(), TV(1e-4), 2e-3),
        (Tikhonov(), Tikhonov(), 1e-6),
        (Tikhonov("laplacian"), Tikhonov("laplacian"), 1e-6),
    ],
)
def test_prox_against_brute_force(regulariser: Any, smooth: Any, tolerance: float) -> None:
    x = torch.rand(1, 2, 5, 6, dtype=torch.float64)
    gamma = 10.0
    found = regulariser.prox(x, gamma)
    expected = minimised(x, lambda u: (u - x).square().sum() / 2 + gamma * smooth(u))
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)
    assert float((found - x).abs().max()) > 0.05


def test_tgv_of_an_affine_image_is_zero() -> None:
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 9), torch.linspace(0, 1, 12), indexing="ij")
    ramp = (0.3 * rows + 0.5 * columns)[None, None]
    assert float(TV()(ramp)) > 0.02
    assert float(TGV()(ramp)) < 1e-4


def test_tgv_against_brute_force() -> None:
    """The field that the rounds come to is the best one; within a fit they follow the estimate."""
    x = torch.rand(1, 1, 6, 7, dtype=torch.float64)
    regulariser = TGV(epsilon=0.05)
    start = torch.zeros_like(regulariser.remember(x, 0, {})["field"])
    field = minimised(start, lambda w: regulariser.energy(x, {"field": w}))
    best = float(regulariser.energy(x, {"field": field}))
    assert best < 0.95 * float(regulariser.energy(x, {"field": start}))
    assert float(regulariser(x)) == pytest.approx(best, rel=1e-4)
    following = Bound(regulariser)
    for step in range(5):
        following.refresh(step, x + 0.01 * (4 - step))
    assert float(following(x)) == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("regulariser", [TV, AnisotropicTV, VectorialTV, WeightedTV, TGV])
def test_an_epsilon_is_needed(regulariser: Any) -> None:
    with pytest.raises(SettingsError, match="epsilon above 0"):
        regulariser(epsilon=0)


def test_options_out_of_range() -> None:
    with pytest.raises(SettingsError, match="odd window"):
        WeightedTV(window=4)
    with pytest.raises(SettingsError, match="'gradient' or 'laplacian'"):
        Tikhonov("hessian")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="at least 1; got every=0"):
        TGV(every=0)

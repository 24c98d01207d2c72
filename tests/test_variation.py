import math

import pytest
import torch

from hybrid_dip.errors import SettingsError
from hybrid_dip.regularisers import TV


def test_tv_by_hand() -> None:
    # one corner pixel raised: it differs from its lower and its right neighbour, nobody else differs from anybody
    x = torch.zeros(1, 1, 3, 3)
    x[0, 0, 0, 0] = 1.0
    assert float(TV(epsilon=1e-9)(x)) == pytest.approx(math.sqrt(2) / 9, rel=1e-5)
    # a step between two columns of three: three differences of one
    x = torch.zeros(1, 1, 3, 3)
    x[..., 2] = 1.0
    assert float(TV(epsilon=1e-9)(x)) == pytest.approx(3 / 9, rel=1e-5)


def test_tv_of_a_constant_is_zero() -> None:
    assert float(TV()(torch.full((1, 3, 8, 8), 0.7))) == pytest.approx(0, abs=1e-9)


def test_tv_needs_an_epsilon() -> None:
    with pytest.raises(SettingsError, match="above 0"):
        TV(epsilon=0)

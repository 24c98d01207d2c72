from typing import Any

import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.errors import SettingsError


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_guide_in_one_colour_is_refused(photograph: Tensor, value: float, channels: int) -> None:
    blank = torch.full((1, channels, 32, 32), value) + 1e-4 * torch.rand(1, channels, 32, 32)
    with pytest.raises(SettingsError, match="The guide image has no detail"):
        hd.tasks.flash(photograph, blank)
    with pytest.raises(SettingsError, match="The guide image has no detail"):
        hd.tasks.linear(photograph, lambda x: 0.5 * x, latent=blank)


def test_a_guide_with_a_blank_tile_is_refused_there_only(photograph: Tensor) -> None:
    guide = torch.ones(1, 3, 32, 72)
    guide[..., :32] = photograph
    task: Any = hd.tasks.flash(torch.cat([photograph, photograph, photograph[..., :8]], -1), guide)
    assert hd.restore(task, preset="quick", steps=1, device="cpu", tile=0).image.shape == (1, 3, 32, 72)
    with pytest.raises(SettingsError, match="in a tile, has no detail"):
        hd.restore(task, preset="quick", steps=1, device="cpu", tile=32)

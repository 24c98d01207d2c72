import warnings

import pytest
import torch
from torch import Tensor

from hybrid_dip.errors import HybridDIPWarning
from hybrid_dip.problem import tasks
from hybrid_dip.problem.masks import known_pixels, to_fill_in


def rows_known(rows: int, channels: int = 1) -> Tensor:
    mask = torch.ones(1, channels, 32, 32)
    mask[:, -1, rows:] = 0
    return mask


def test_the_share_that_is_filled_in_is_said(photograph: Tensor) -> None:
    task = tasks.inpaint(photograph, rows_known(28))
    assert to_fill_in(task) == "12.5 % to fill in."
    assert torch.equal(known_pixels(task), rows_known(28))  # type: ignore[arg-type]
    of_channels = tasks.missing_pixels(photograph, rows_known(28, 3))
    assert to_fill_in(of_channels) == "4.17 % of all values to fill in."
    assert torch.equal(known_pixels(of_channels), rows_known(28)), "a pixel with one channel missing is filled in"  # type: ignore[arg-type]


def test_other_tasks_fill_in_nothing(photograph: Tensor) -> None:
    rows = tasks.linear(photograph[..., ::2, :], lambda x: x[..., ::2, :], photograph.shape, weight=torch.ones(1, 1, 16, 1))
    for task in (tasks.denoise(photograph, sigma=0.1), rows):
        assert to_fill_in(task) == ""
        assert known_pixels(task) is None


def test_a_mask_of_regions_that_leaves_less_than_half_may_be_inverted(photograph: Tensor) -> None:
    with pytest.warns(HybridDIPWarning, match=r"fills in 62.5 % of the image: is it inverted\? White .* is a known pixel"):
        tasks.inpaint(photograph, rows_known(12).bool())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tasks.inpaint(photograph, rows_known(16))
        tasks.missing_pixels(photograph, rows_known(1))

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
import torch
from PIL import Image

import hybrid_dip as hd

BYTES = np.array(skimage.data.astronaut()[96:128, 200:232])
SHORT: dict[str, Any] = {"preset": "quick", "steps": 3, "device": "cpu"}
MASK = np.ones((32, 32), bool)
MASK[8:20, 8:20] = False
CALLS: dict[str, Callable[[Any], Any]] = {
    "denoise": partial(hd.denoise, sigma=0.1, **SHORT),
    "inpaint": partial(hd.inpaint, mask=MASK, **SHORT),
    "super_resolve": partial(hd.super_resolve, factor=2, **SHORT),
    "deblur": partial(hd.deblur, psf=np.ones((3, 3)), **SHORT),
}
TASKS = {
    "denoise": partial(hd.tasks.denoise, sigma=0.1),
    "inpaint": partial(hd.tasks.inpaint, mask=MASK),
    "super_resolve": partial(hd.tasks.super_resolve, factor=2),
    "deblur": partial(hd.tasks.deblur, psf=torch.ones(3, 3)),
}


@pytest.mark.parametrize("name", CALLS)
def test_one_line_is_the_task_and_its_restoration(name: str) -> None:
    given = hd.restore(TASKS[name](BYTES), **SHORT).image
    back = CALLS[name](BYTES)
    assert type(back) is np.ndarray
    assert back.dtype == np.uint8
    assert np.array_equal(back, (255 * given[0].permute(1, 2, 0)).round().byte())
    assert back.shape == ((64, 64, 3) if name == "super_resolve" else BYTES.shape)


def test_regularisers_and_other_options_go_along() -> None:
    floats = BYTES / 255
    plain, smooth, other = (
        hd.denoise(floats, 0.1, **SHORT, **more) for more in ({}, {"regularisers": 9 * hd.TV()}, {"seed": 1})
    )
    assert plain.dtype == np.float64
    assert not np.array_equal(plain, smooth)
    assert not np.array_equal(plain, other)


def test_a_filled_hole_is_opaque(tmp_path: Path) -> None:
    pixels = np.dstack([BYTES, 255 * MASK.astype(np.uint8)])
    Image.fromarray(pixels).save(tmp_path / "hole.png")
    for given in (Image.fromarray(pixels), tmp_path / "hole.png"):
        back = hd.inpaint(given, tmp_path / "hole.png", **SHORT)
        assert back.mode == "RGBA"
        values = np.asarray(back)
        assert values[..., 3].min() == 255
        assert np.array_equal(values[MASK], pixels[MASK])


def test_a_level_in_grey_levels_is_refused_whatever_the_image_is() -> None:
    with pytest.raises(hd.errors.SettingsError, match="25 of 255 are 25 / 255"):
        hd.denoise(BYTES, 25)

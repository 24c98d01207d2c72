from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import hybrid_dip as hd


@pytest.fixture
def result(photograph: Tensor) -> hd.Result:
    return hd.restore(hd.degradations.noisy(photograph, sigma=0.1), preset="quick", steps=12, regularisers=0.05 * hd.TV())


def test_a_result_is_had_in_every_kind(result: hd.Result, tmp_path: Path) -> None:
    array = result.numpy()
    assert array.shape == (32, 32, 3)
    assert np.array_equal(array, result.image[0].permute(1, 2, 0))
    assert np.abs(np.asarray(result.pil()) / 255 - array).max() < 0.51 / 255
    result.save(tmp_path / "a.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), np.asarray(result.pil()))
    result.save(tmp_path / "a.npy")
    assert np.array_equal(np.load(tmp_path / "a.npy"), array)


def test_a_grey_result_is_a_plane(photograph: Tensor) -> None:
    result = hd.restore(photograph[:, :1], preset="quick", steps=2)
    assert result.numpy().shape == (32, 32)
    assert result.pil().mode == "L"
    assert result.reference is None


def test_a_comparison_has_the_clean_image_where_there_is_one(result: hd.Result, photograph: Tensor) -> None:
    assert result.reference is not None
    with_truth, task = result.comparison(), result.task
    alone = hd.restore(task, preset="quick", steps=2)
    without = alone.comparison()
    assert with_truth.width > 1.3 * without.width, "three panels and two"
    assert alone.comparison(reference=photograph).width == with_truth.width


def test_a_comparison_refuses_a_clean_image_of_another_size(result: hd.Result, photograph: Tensor) -> None:
    for other in (photograph[..., :16, :16], photograph[:, :1], photograph[0]):
        with pytest.raises(hd.errors.SettingsError, match="The reference"):
            result.comparison(other)


def test_a_notebook_shows_pictures_and_one_line_of_settings(result: hd.Result) -> None:
    shown = result._repr_html_()
    assert shown.count("data:image/jpeg;base64,") == 2
    line = result.settings()
    assert line.startswith("denoise; 12 steps; ended by max_steps; kept step 11; ")
    assert line.endswith("tv 0.05")
    assert line in shown
    assert len(repr(result).splitlines()) == 1


@pytest.mark.parametrize("size", [(256, 256), (64, 640)])
def test_what_a_notebook_shows_of_noise_is_small(result: hd.Result, size: tuple[int, int]) -> None:
    noise = torch.rand(1, 3, *size)
    large = replace(result, task=hd.tasks.jpeg(noise), image=noise, reference=noise)
    assert 30_000 < len(large._repr_html_()) < 300_000


def test_a_signed_result_is_shown_in_units_of_its_range(tmp_path: Path) -> None:
    image = torch.linspace(-2, 3, 32 * 32).reshape(1, 1, 32, 32)
    result = hd.restore(hd.tasks.linear(image, lambda x: x, value_range=(-2, 3)), preset="quick", steps=2)
    result.save(tmp_path / "a.png")
    assert np.array_equal(np.asarray(result.pil()), np.asarray(Image.open(tmp_path / "a.png")))
    assert np.allclose(np.asarray(result.pil()) / 255, (result.numpy() + 2) / 5, atol=0.51 / 255)


def test_no_fit_sees_the_reference_of_a_case(photograph: Tensor) -> None:
    case = hd.degradations.noisy(photograph, sigma=0.1)
    first = hd.restore(case, preset="quick", steps=3)
    other = hd.restore(hd.Case(case.task, torch.zeros_like(photograph)), preset="quick", steps=3)
    assert torch.equal(first.image, other.image)
    assert list(first.psnr) == [0, 1, 2]
    assert first.psnr[2] == hd.metrics.psnr(first.image, photograph)
    assert first.psnr[2] > other.psnr[2]
    assert hd.restore(case.task, preset="quick", steps=3).psnr == {}

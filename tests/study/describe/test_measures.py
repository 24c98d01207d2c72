from pathlib import Path

import pytest
import torch
from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.images import metrics
from hybrid_dip.images.metrics import psnr, ssim
from hybrid_dip.problem import tasks
from hybrid_dip.study.describe.measures import Outputs, measure
from hybrid_dip.study.describe.subjects import Subject


def subject(reference: Tensor, task: Task | None = None) -> Subject:
    return Subject(tasks.jpeg(reference) if task is None else task, reference)


def test_a_measure_says_which_image_it_is_of() -> None:
    image, raw, reference = torch.rand(3, 1, 3, 16, 16)
    outputs = Outputs(image, raw, subject(reference), along=[10.0, 30.0, 20.0])
    expected = {
        "psnr": psnr(image, reference),
        "psnr_raw": psnr(raw, reference),
        "ssim_raw": ssim(raw, reference),
        "psnr_best": 30.0,
    }
    for text, value in expected.items():
        found = measure(text)
        assert found.column == text
        assert found.of(outputs) == value


def test_one_s_own_metric_is_called_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def darkness(x, reference):\n    return float((1 - x).mean())\n")
    found = measure(f"{tmp_path}/mine.py:darkness")
    assert found.column == "darkness"
    zeros = torch.zeros(1, 1, 16, 16)
    assert found.of(Outputs(zeros, zeros, subject(zeros), [])) == 1.0


def test_an_unknown_one_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean 'psnr'"):
        measure("psnrr_raw")


def test_the_best_along_a_fit_needs_one_whole_fit() -> None:
    x = torch.zeros(1, 3, 16, 16)
    with pytest.raises(SettingsError, match="in tiles there is no step"):
        measure("psnr_best").of(Outputs(x, x, subject(x), along=[]))


def test_psnr_y_is_without_the_border_of_the_task_where_none_is_named() -> None:
    x, reference = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    for border in (2, 5):
        small = tasks.super_resolve(torch.rand(1, 3, 32 // border, 32 // border), factor=border)
        outputs = Outputs(x, x, subject(reference, small), [])
        assert measure("psnr_y").of(outputs) == metrics.psnr_y(x, reference, border)
        assert measure("psnr_y_raw").of(outputs) == metrics.psnr_y(x, reference, border)
        assert measure("psnr_y:border=3").of(outputs) == metrics.psnr_y(x, reference, 3)
        assert measure("psnr").of(outputs) == metrics.psnr(x, reference)
    assert measure("psnr_y").of(Outputs(x, x, subject(reference), [])) == metrics.psnr_y(x, reference, 4)


def test_signed_images_are_measured_in_units_of_their_range() -> None:
    x, reference = torch.rand(2, 1, 1, 16, 16)
    for value_range, ends in (((-1.0, 3.0), (-1.0, 3.0)), (None, reference.aminmax())):
        low, high = (float(end) for end in ends)
        stretched = low + (high - low) * reference if value_range else reference
        image = low + (high - low) * x if value_range else x
        outputs = Outputs(image, image, subject(stretched, tasks.linear(stretched, lambda x: x, value_range=value_range)), [])
        expected = psnr(image, stretched, data_range=high - low)
        assert measure("psnr").of(outputs) == pytest.approx(expected, abs=1e-4)

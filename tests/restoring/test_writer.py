import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hybrid_dip.contracts import Fit, Step
from hybrid_dip.fitting.observers import ReferenceWatch
from hybrid_dip.images.metrics import psnr, psnr_y
from hybrid_dip.images.picture import Picture
from hybrid_dip.images.properties import Properties
from hybrid_dip.images.reading import read_picture
from hybrid_dip.problem import tasks
from hybrid_dip.restoring.writer import ResultWriter, history_rows


def test_a_result_has_the_form_of_the_degraded_file(photograph: Tensor, tmp_path: Path) -> None:
    alpha = torch.rand(1, 1, 64, 64)
    writer = ResultWriter(tmp_path, tasks.denoise(photograph))
    writer.save("deep", photograph, Picture(photograph, alpha, bits=16))
    writer.save("array", photograph, Picture(photograph, is_array=True))
    written = read_picture(tmp_path / "deep.png")
    assert written.bits == 16
    assert written.alpha is not None
    assert written.alpha.shape == (1, 1, 32, 32), "the alpha channel is scaled along"
    assert not (tmp_path / "deep.npy").exists()
    assert np.array_equal(np.load(tmp_path / "array.npy"), photograph[0].permute(1, 2, 0))


def test_a_hole_that_was_filled_is_seen_and_the_file_s_profile_kept(photograph: Tensor, tmp_path: Path) -> None:
    mask = torch.ones(1, 1, 32, 32)
    mask[..., 4:20, 4:20] = 0
    alpha = mask.clone()
    alpha[..., 30:, :] = 0
    picture = Picture(photograph, alpha, about=Properties(dpi=(300, 300)))
    ResultWriter(tmp_path, tasks.inpaint(photograph, mask)).save("restored", photograph, picture)
    written = read_picture(tmp_path / "restored.png")
    assert written.alpha is not None
    assert (written.alpha[..., :30, :] == 1).all()
    assert (written.alpha[..., 30:, :] == 0).all(), "what was transparent and is known stays so"
    assert written.about.dpi == pytest.approx((300, 300), abs=0.02)


def test_other_numbers_of_channels_are_written_as_arrays(tmp_path: Path) -> None:
    image = torch.rand(1, 5, 16, 16)
    ResultWriter(tmp_path, tasks.denoise(image)).save("five", image, Picture(image))
    assert np.load(tmp_path / "five.npy").shape == (16, 16, 5)
    assert read_picture(tmp_path / "five.png").pixels.shape == (1, 3, 16, 16)


def test_images_beyond_0_to_1_are_shown_and_measured_in_units_of_their_range(photograph: Tensor, tmp_path: Path) -> None:
    stretched, worse = 6 * photograph - 2, 6 * (0.9 * photograph) - 2
    task = tasks.linear(stretched, lambda x: x, value_range=(-2, 4))
    writer = ResultWriter(tmp_path, task, stretched)
    writer.save("restored", worse, Picture(photograph))
    assert torch.allclose(read_picture(tmp_path / "restored.png").pixels, 0.9 * photograph, atol=0.51 / 255)
    assert np.array_equal(np.load(tmp_path / "restored.npy"), worse[0].permute(1, 2, 0))
    measured = writer.measure(worse, worse)["metrics"]
    assert measured["psnr"] == pytest.approx(psnr(worse, stretched, data_range=6), abs=1e-4)
    watch = ReferenceWatch(task, stretched)
    watch(Step(0, worse, None, worse, {}, {}, {}, 0.01, logged=True))
    assert watch.psnr[0] == pytest.approx(measured["psnr"], abs=1e-4)


def test_metrics_need_a_clean_image(photograph: Tensor, tmp_path: Path) -> None:
    task = tasks.super_resolve(photograph[..., ::2, ::2], factor=2)
    assert ResultWriter(tmp_path, task).measure(photograph, photograph) == {}
    writer = ResultWriter(tmp_path, task, photograph)
    found = writer.measure(photograph * 0.9, photograph * 0.8)["metrics"]
    assert list(found) == ["psnr", "psnr_raw", "ssim", "psnr_y"]
    assert writer.measure(photograph, photograph)["psnr_y_border"] == 2, "as many pixels as the factor"
    assert found["psnr_y"] == psnr_y(photograph * 0.9, photograph, border=2) != psnr_y(photograph * 0.9, photograph, border=4)
    assert found["psnr"] > found["psnr_raw"]
    words = writer.closing_words("Done", photograph * 0.9, photograph * 0.8, ["a.png", "b.png"])
    assert words.startswith(f"Done; psnr {found['psnr']:.2f} dB, psnr_raw ")
    assert words.endswith(f"Look at {tmp_path / 'a.png'} and {tmp_path / 'b.png'}.")


@pytest.mark.parametrize("with_seed", [True, False])
def test_rows_have_the_psnr_where_it_is_known(photograph: Tensor, tmp_path: Path, with_seed: bool) -> None:
    task = tasks.denoise(photograph)
    history = ({"step": 0, "loss": 1.0}, {"step": 5, "loss": 0.5})
    fit = Fit(photograph, photograph, 5, 6, "max_steps", history, {})
    watch = ReferenceWatch(task, photograph)
    watch.psnr[5] = 20.0
    rows = history_rows([3, 4], [fit, fit], {4: watch}, with_seed=with_seed)
    assert [row.get("psnr") for row in rows] == [None, None, None, 20.0]
    assert [row.get("seed") for row in rows] == ([3.0, 3.0, 4.0, 4.0] if with_seed else [None] * 4)
    writer = ResultWriter(tmp_path, task)
    writer.write_history(rows)
    assert len(list(csv.DictReader((tmp_path / "history.csv").open()))) == 4
    writer.write_manifest({"metrics": {"psnr": float("inf")}})
    assert json.loads((tmp_path / "run.json").read_text()) == {"metrics": {"psnr": None}}

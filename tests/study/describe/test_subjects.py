from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hybrid_dip.errors import SettingsError
from hybrid_dip.images.files import crop_to_centre, save_image
from hybrid_dip.problem import degradations
from hybrid_dip.study.describe.plan import Plan
from hybrid_dip.study.reporting.results import load
from hybrid_dip.study.running.store import Store
from hybrid_dip.study.running.work import perform
from tests.studies import MakePlan

OBSERVED = {"kind": "denoise", "sigma": 25, "observed": True}


@pytest.fixture
def photos(tmp_path: Path, photograph: Tensor) -> Path:
    save_image(degradations.add_gaussian(photograph, 25 / 255), tmp_path / "noisy.npy")
    save_image(photograph, tmp_path / "clean.npy")
    save_image(degradations.downsampled(photograph, factor=2, kernel="box").task.observation, tmp_path / "small.npy")
    return tmp_path


def subject(plan: Plan) -> Any:
    return plan.runs[0].preparation.build(plan.runs[0].source)


def test_a_degraded_image_is_taken_as_it_is(photos: Path, make_plan: MakePlan, photograph: Tensor) -> None:
    image = {"path": "noisy.npy", "reference": "clean.npy"}
    found = subject(make_plan(images=[image], tasks=[OBSERVED], crop=None))
    assert torch.allclose(found.task.observation, degradations.add_gaussian(photograph, 25 / 255))
    assert torch.allclose(found.reference, photograph)
    assert found.task.noise_sigma == 25 / 255


def test_the_clean_image_is_cropped_like_the_small_one(photos: Path, make_plan: MakePlan, photograph: Tensor) -> None:
    task = {"kind": "super-resolve", "factor": 2, "kernel": "box", "observed": True}
    found = subject(make_plan(images=[{"path": "small.npy", "reference": "clean.npy"}], tasks=[task], crop=8))
    assert found.task.observation.shape[-2:] == (8, 8)
    assert torch.allclose(found.reference, crop_to_centre(photograph, 16))
    assert torch.allclose(found.task.forward(found.reference), found.task.observation, atol=1e-6)


def test_held_out_entries_reach_the_score_alone(photos: Path, make_plan: MakePlan, store: Store) -> None:
    plan = make_plan(images=["noisy.npy"], tasks=[{**OBSERVED, "held_out": 0.25}], metrics=["held_out"], crop=None)
    found = subject(plan)
    held = found.validation.held_out
    assert found.reference is None
    assert int(held[:, :1].sum()) == round(0.25 * 32 * 32)
    assert float((found.task.observation * held).abs().sum()) == 0
    off = found.validation.task.observation + 10 / 255 * held + 0.3 * (1 - held)  # what the fit saw does not count
    assert found.validation.error(off) == pytest.approx(10, abs=1e-3)
    assert perform(plan.runs[0], str(store.path)).status == "done"
    assert load(plan, store)["held_out"][0] == pytest.approx(found.validation.error(store.output(plan.runs[0].key)), abs=1e-6)
    assert all("psnr" not in row for row in store.history(plan.runs[0].key))


def test_the_held_out_share_is_part_of_the_key(make_plan: MakePlan) -> None:
    shares = [{"kind": "denoise"}, {"kind": "denoise", "held_out": 0.1}, {"kind": "denoise", "held_out": 0.2}]
    assert len({make_plan(tasks=[task]).runs[0].key for task in shares}) == 3


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"images": ["noisy.npy"], "tasks": [OBSERVED]}, "'psnr' needs a clean image"),
        ({"images": ["noisy.npy"], "tasks": [OBSERVED], "metrics": ["psnr_best"]}, "'psnr_best' needs a clean image"),
        ({"metrics": ["held_out"]}, "'held_out' needs measurements that no fit sees"),
        ({"images": [{"path": "noisy.npy", "reference": "small.npy"}], "tasks": [OBSERVED]}, "is 16x16 with 3 channels"),
        ({"images": [{"path": "noisy.npy", "reference": "none.npy"}], "tasks": [OBSERVED]}, "there is no file"),
        ({"images": [{"path": "*.npy", "reference": "clean.npy"}], "tasks": [OBSERVED]}, "a reference is for one image"),
        ({"tasks": [{"kind": "denoise", "clip": True, "observed": True}]}, "'clip' does not go with 'denoise'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    photos: Path, make_plan: MakePlan, changed: dict[str, Any], sentence: str
) -> None:
    with pytest.raises((SettingsError, FileNotFoundError), match=r"study\.toml") as caught:
        make_plan(crop=None, **changed)
    assert sentence in str(caught.value)

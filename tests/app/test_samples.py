from pathlib import Path

import pytest

from hybrid_dip.app.samples import SAMPLES
from hybrid_dip.images.files import load_image
from hybrid_dip.images.metrics import psnr
from hybrid_dip.recipes.written_task import WrittenTask


@pytest.mark.parametrize("name", SAMPLES)
def test_each_sample_can_be_restored_and_is_degraded(name: str, tmp_path: Path) -> None:
    sample = SAMPLES[name]
    files = sample.write(tmp_path)
    mask = {"mask": files["mask"]} if "mask" in files else {}
    task = WrittenTask(sample.task, {**sample.known, **mask}, lambda over: over).task(load_image(files["image"]))
    clean = load_image(files["clean"])
    assert clean.shape == task.shape
    if task.observation.shape == clean.shape:
        assert psnr(task.observation, clean) < 32

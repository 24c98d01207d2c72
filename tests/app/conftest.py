import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from hybrid_dip.app.asked import Asked
from hybrid_dip.app.job import make_job
from hybrid_dip.app.run import Queue, Run
from hybrid_dip.images.files import save_image

MakeRun = Callable[..., Run]


@pytest.fixture
def make_run(tmp_path: Path, photograph: Tensor) -> MakeRun:
    """Fields of what is asked for -> a restoration that has not begun, of an array of 16x16 pixels with a clean image."""

    def make(**asked: Any) -> Run:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        save_image(photograph[..., :16, :16], folder / "reference.npy")
        save_image((photograph[..., :16, :16] * 1.1).clamp(0, 1), folder / "noisy.npy")
        given = {"task": "denoise", "options": {"sigma": 25.0}, "preset": "fast", "reference": "reference.npy", **asked}
        one = Asked(folder, "noisy.npy", **given)
        return Run(one, make_job(one), folder, 1)

    return make


@pytest.fixture
def queue() -> Iterator[Queue]:
    made = Queue()
    yield made
    made.close()

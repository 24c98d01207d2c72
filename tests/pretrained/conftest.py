from pathlib import Path

import pytest
from torch import Tensor

from hybrid_dip.images.files import save_image
from pretrained.patches import HELD_BACK


@pytest.fixture
def folder(tmp_path: Path, photograph: Tensor) -> Path:
    made = tmp_path / "photographs"
    made.mkdir()
    for number in range(HELD_BACK + 2):
        save_image(photograph.roll(number, -1), made / f"{number:02}.png")
    return made

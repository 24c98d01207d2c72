"""hybrid-dip noise."""

import json
from pathlib import Path

import torch

from hybrid_dip.images.files import save_image
from tests.command import SMALL, Command


def test_noise_is_said_and_drawn(tmp_path: Path, hybrid_dip_command: Command) -> None:
    from PIL import Image
    from skimage.data import chelsea

    clean = torch.from_numpy(chelsea()[60:124, 100:164]).permute(2, 0, 1)[None].float() / 255
    noisy = clean + 20 / 255 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    save_image(noisy, tmp_path / "noisy.png")
    status, out, _ = hybrid_dip_command("noise", tmp_path / "noisy.png", "-o", tmp_path / "noise.png")
    assert status == 0
    assert "The noise has a level of" in out
    assert Image.open(tmp_path / "noise.png").size[0] > 400
    status, _, err = hybrid_dip_command("noise", tmp_path / "noisy.png", "-o", tmp_path / "noise.png")
    assert status == 2
    assert "--overwrite" in err
    status, out, _ = hybrid_dip_command("noise", tmp_path / "noisy.png", "--json")
    found = json.loads(out)
    assert 17 < found["sigma"] < 22
    assert found["white"] is True
    assert len(found["level"]) == 3
    given = ["restore", tmp_path / "noisy.png", "--task", "denoise", "--noise", "camera", *SMALL, "--steps", 2]
    status, _, err = hybrid_dip_command(*given, "-o", tmp_path / "out")
    assert status == 0, err
    manifest = json.loads((tmp_path / "out" / "run.json").read_text())
    assert 255 * manifest["settings"]["noise_sigma"] == found["sigma"]
    status, _, err = hybrid_dip_command(*given, "--sigma", 5, "-o", tmp_path / "other")
    assert status == 2
    assert "--noise camera is for 'denoise' without --sigma" in err


def test_noise_that_cannot_be_told(tmp_path: Path, hybrid_dip_command: Command) -> None:
    save_image(torch.full((1, 3, 40, 40), 0.5), tmp_path / "grey.png")
    status, out, _ = hybrid_dip_command("noise", tmp_path / "grey.png", "--json")
    assert status == 0
    assert json.loads(out) == {
        "sigma": None,
        "white": None,
        "level": None,
        "why": "The noise of this image cannot be told: it is all one colour; give sigma.",
    }
    status, _, err = hybrid_dip_command("noise", tmp_path / "grey.png", "-o", tmp_path / "noise.png")
    assert status == 2
    assert "all one colour" in err

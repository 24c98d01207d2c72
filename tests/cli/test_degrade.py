"""hybrid-dip degrade."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hybrid_dip.images.files import load_image, save_image
from tests.command import SMALL, Command


def test_degrade_then_restore(files: Path, hybrid_dip_command: Command) -> None:
    status, out, _ = hybrid_dip_command(
        "degrade", files / "clean.png", "--task", "missing-pixels", "--share", 0.5, "-o", files / "half.png"
    )
    assert status == 0
    assert "half_mask.png: 255 = known pixel" in out
    mask = load_image(files / "half_mask.png")
    half, clean = load_image(files / "half.png"), load_image(files / "clean.png")
    torch.testing.assert_close(half, clean * mask)
    status, _, err = hybrid_dip_command(
        "restore", files / "half.png", "--task", "missing-pixels", "--mask", files / "half_mask.png", *SMALL, "--steps", 3,
        "-o", files / "out",
    )  # fmt: skip
    assert status == 0, err
    restored = load_image(files / "out" / "restored.png")
    torch.testing.assert_close(restored[mask.expand_as(clean) > 0], clean[mask.expand_as(clean) > 0])
    status, _, err = hybrid_dip_command("degrade", files / "clean.png", "--task", "denoise", "-o", files / "half.png")
    assert status == 2
    assert "--overwrite" in err


def test_degrade_writes_the_reference_to_measure_by(files: Path, hybrid_dip_command: Command) -> None:
    save_image(torch.rand(1, 3, 70, 66), files / "odd.png")
    small = files / "small.png"
    status, out, _ = hybrid_dip_command("degrade", files / "odd.png", "--task", "super-resolve", "--factor", 4, "-o", small)
    assert status == 0
    assert "small_reference.png" in out
    status, _, err = hybrid_dip_command(
        "restore", small, "--task", "super-resolve", "--factor", 4, "--reference", files / "small_reference.png", *SMALL,
        "--steps", 2, "-o", files / "out",
    )  # fmt: skip
    assert status == 0, err
    assert "psnr_y" in json.loads((files / "out" / "run.json").read_text())["metrics"]


def test_degrade_keeps_alpha_and_depth(tmp_path: Path, photograph: Tensor, hybrid_dip_command: Command) -> None:
    from hybrid_dip.images.reading import read_picture

    alpha = torch.rand(1, 1, 32, 32)
    save_image(photograph, tmp_path / "a.png", alpha=alpha, bits=16)
    for name in ("b.png", "b.tif"):
        status, _, _ = hybrid_dip_command("degrade", tmp_path / "a.png", "--task", "denoise", "-o", tmp_path / name)
        assert status == 0
        picture = read_picture(tmp_path / name)
        assert picture.bits == 16
        assert picture.alpha is not None
        torch.testing.assert_close(picture.alpha, alpha, atol=1e-4, rtol=0)


def test_degrade_replaces_nothing_unasked(files: Path, hybrid_dip_command: Command) -> None:
    (files / "half_mask.png").write_bytes(b"precious")
    arguments = ["degrade", files / "clean.png", "--task", "missing-pixels", "-o", files / "half.png"]
    status, _, err = hybrid_dip_command(*arguments)
    assert status == 2
    assert "half_mask.png exists" in err
    assert (files / "half_mask.png").read_bytes() == b"precious"
    assert not (files / "half.png").exists()
    status, _, err = hybrid_dip_command(
        "degrade", files / "clean.png", "--task", "denoise", "--noise", "poisson", "--sigma", 5, "-o", files / "p.png"
    )
    assert status == 2
    assert "sigma is a level of 'gaussian' noise" in err


def test_degrade_warns_where_a_file_clips(files: Path, hybrid_dip_command: Command) -> None:
    arguments = ["degrade", files / "clean.png", "--task", "denoise", "--sigma", 50]
    assert "clip" in hybrid_dip_command(*arguments, "-o", files / "n.png")[2]
    assert hybrid_dip_command(*arguments, "-o", files / "n.npy")[2] == ""
    noise = load_image(files / "n.npy") - load_image(files / "clean.png")
    assert float(noise.std()) == pytest.approx(50 / 255, rel=0.05)

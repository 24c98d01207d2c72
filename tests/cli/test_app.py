"""The command line as a user meets it."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from hybrid_dip.images import metrics
from hybrid_dip.images.files import load_image, save_image
from tests.command import SMALL, Command
from tests.waiting import HANG

TASK_OPTIONS = {
    "denoise": ["--sigma", "38"],
    "jpeg": [],
    "inpaint": ["--mask", "mask.png"],
    "missing-pixels": ["--mask", "mask.png"],
    "super-resolve": ["--factor", "2"],
    "deblur": ["--psf", "gaussian:1"],
    "flash": ["--guide", "clean.png"],
    "demosaic": ["--pattern", "GRBG"],
}


@pytest.mark.parametrize("task", TASK_OPTIONS)
def test_every_task_from_a_degraded_file(
    files: Path, hybrid_dip_command: Command, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    network = SMALL[:4] if task == "flash" else SMALL
    status, _, err = hybrid_dip_command(
        "restore", "noisy.png", "--task", task, *TASK_OPTIONS[task], *network, "--steps", "4", "-o", "out"
    )
    assert status == 0, err
    side = 64 if task == "super-resolve" else 32
    assert load_image("out/restored.png").shape == (1, 3, side, side)
    assert "parameters" in err
    assert "s a step" in err
    assert ("3.91 % to fill in." in err) == (task in ("inpaint", "missing-pixels"))
    run = json.loads(Path("out/run.json").read_text())
    assert run["stop"] == {"reason": "max_steps", "kept_at": 3, "steps": 4}
    assert run["settings"]["task"] == task


def test_a_whole_result_folder(files: Path, hybrid_dip_command: Command) -> None:
    out = files / "deep" / "out"
    status, text, _ = hybrid_dip_command(
        "restore", files / "noisy.png", "--task", "denoise", "--reference", files / "clean.png", *SMALL, "--steps", 60,
        "-R", "tv@balance=0.3", "--stop", "wmv:window=5,patience=40", "--gif", "-o", out,
    )  # fmt: skip
    assert status == 0
    names = {path.name for path in out.iterdir()}
    assert names == {
        "restored.png", "last.png", "history.csv", "run.json", "curves.png", "comparison.png", "fit.gif", "checkpoint"
    }  # fmt: skip
    run = json.loads((out / "run.json").read_text())
    measured = metrics.psnr(load_image(out / "restored.png"), load_image(files / "clean.png"))
    assert run["metrics"]["psnr"] == pytest.approx(measured, abs=0.05)
    assert f"{run['metrics']['psnr']:.2f} dB" in text
    assert run["settings"]["noise_sigma_estimated"] is True
    assert run["hardware"]["threads"] == torch.get_num_threads()
    with (out / "history.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert {"step", "loss", "fidelity", "gradient_fidelity", "tv", "gradient_tv", "weight_tv", "psnr"} <= set(rows[0])
    assert [int(float(row["step"])) for row in rows] == list(range(60))
    assert float(rows[-1]["psnr"]) > float(rows[0]["psnr"])
    with Image.open(out / "fit.gif") as animation:
        assert animation.n_frames > 10
    for picture in ("curves.png", "comparison.png"):
        assert np.asarray(Image.open(out / picture).convert("L")).std() > 10


def test_several_runs_are_averaged(files: Path, hybrid_dip_command: Command) -> None:
    out = files / "out"
    status, _, _ = hybrid_dip_command(
        "restore", files / "noisy.png", "--task", "denoise", *SMALL, "--steps", 4, "--runs", 2, "-o", out
    )
    assert status == 0
    single = [load_image(out / f"restored-seed-{seed}.png") for seed in (0, 1)]
    torch.testing.assert_close(load_image(out / "restored.png"), torch.stack(single).mean(0), atol=1 / 255, rtol=0)
    deviation = np.load(out / "deviation.npy")
    assert deviation.shape == (32, 32, 3)
    assert (deviation > 0).any()
    assert [run["seed"] for run in json.loads((out / "run.json").read_text())["runs"]] == [0, 1]


def test_alpha_depth_and_channels_are_carried_over(tmp_path: Path, hybrid_dip_command: Command, photograph: Tensor) -> None:
    alpha = torch.rand(1, 1, 32, 32)
    save_image(photograph, tmp_path / "a.png", alpha=alpha, bits=16)
    options = [*SMALL, "--steps", "2"]
    assert hybrid_dip_command("restore", tmp_path / "a.png", "--task", "jpeg", *options, "-o", tmp_path / "o1")[0] == 0
    from hybrid_dip.images.reading import read_picture

    restored = read_picture(tmp_path / "o1" / "restored.png")
    assert restored.bits == 16
    assert restored.alpha is not None
    torch.testing.assert_close(restored.alpha, alpha, atol=1e-4, rtol=0)

    cropped = ["restore", tmp_path / "a.png", "--task", "jpeg", *options, "--crop", 20, "-o", tmp_path / "o3"]
    assert hybrid_dip_command(*cropped)[0] == 0
    kept = read_picture(tmp_path / "o3" / "restored.png").alpha
    assert kept is not None
    torch.testing.assert_close(kept, alpha[..., 6:26, 6:26], atol=1e-4, rtol=0)

    np.save(tmp_path / "five.npy", np.random.default_rng(0).random((20, 18, 5)).astype(np.float32))
    assert hybrid_dip_command("restore", tmp_path / "five.npy", "--task", "jpeg", *options, "-o", tmp_path / "o2")[0] == 0
    assert np.load(tmp_path / "o2" / "restored.npy").shape == (20, 18, 5)
    assert load_image(tmp_path / "o2" / "restored.png").shape == (1, 3, 20, 18)


def test_the_same_command_twice_gives_the_same_bytes(files: Path, hybrid_dip_command: Command) -> None:
    for name in ("a", "b"):
        hybrid_dip_command("restore", files / "noisy.png", "--task", "denoise", *SMALL, "--steps", 20, "-o", files / name)
    assert (files / "a" / "restored.png").read_bytes() == (files / "b" / "restored.png").read_bytes()


def test_the_short_flag_shows_the_same_help(hybrid_dip_command: Command) -> None:
    short, long = (hybrid_dip_command(flag) for flag in ("-h", "--help"))
    assert short == long
    assert "pretrain-network" in short[1]


def test_the_bare_command_shows_its_help(hybrid_dip_command: Command) -> None:
    status, out, err = hybrid_dip_command()
    assert status == 0
    assert "restore" in out
    assert err == ""


@pytest.mark.parametrize("kind", ["regularisers", "networks", "presets", "tasks", "weights", "stopping", "latents"])
def test_lists_for_people_and_programs(hybrid_dip_command: Command, kind: str) -> None:
    status, out, _ = hybrid_dip_command("list", kind, "--json")
    rows = json.loads(out)
    assert status == 0
    status, text, _ = hybrid_dip_command("list", kind)
    assert all(row["name"] in text for row in rows)


def test_unknown_commands_and_lists(hybrid_dip_command: Command) -> None:
    status, _, err = hybrid_dip_command("restor")
    assert status == 2
    assert "restore" in err
    status, _, err = hybrid_dip_command("list", "regularizers")
    assert status == 2
    assert "did you mean 'regularisers'" in err


def test_the_demo_compares_the_priors(tmp_path: Path, hybrid_dip_command: Command) -> None:
    given = ["demo", "-o", tmp_path / "demo", "--size", 32, "--steps", 120, "--workers", 1]
    status, out, err = hybrid_dip_command(*given)
    assert status == 0, err
    assert re.search(r"The original's recipe takes 3000 steps, of [\d.e-]+ s here", out)
    assert "both need not be better than the learned prior alone" in out
    rows = {row["arm"]: row for row in csv.DictReader((tmp_path / "demo" / "results.csv").open())}
    assert list(rows) == ["DIP alone", "learned alone", "both"]
    psnr = {arm: float(row["psnr"]) for arm, row in rows.items()}
    assert psnr["both"] > psnr["DIP alone"], "the learned prior does nothing"
    for arm, row in rows.items():
        assert f"{float(row['psnr']):.2f}" in next(line for line in out.splitlines() if line.strip().startswith(arm))
    assert 0 < float(rows["both"]["stlpips-alex"]) < 1
    assert (tmp_path / "demo" / "comparison.png").stat().st_size > 10000
    assert (
        hybrid_dip_command("demo", "-o", tmp_path / "demo", "--size", 8)[2] == "hybrid-dip: --size must be 16 to 256, got 8.\n"
    )


OUT_OF_MEMORY = """
import sys
import torch
from hybrid_dip.cli import app

def of_a_gpu():
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

for work in (of_a_gpu, lambda: torch.empty(1 << 58)):
    app.demo = work
    try:
        app.main()
    except SystemExit as end:
        print(end.code)
"""


def test_too_little_memory_is_one_sentence() -> None:
    """In a process of its own: after a failed allocation, glibc serves a thread from another arena for good."""
    done = subprocess.run([sys.executable, "-c", OUT_OF_MEMORY, "demo"], capture_output=True, text=True, timeout=HANG)
    assert done.stdout.split() == ["2", "2"], done.stderr
    sentences = done.stderr.splitlines()
    assert len(sentences) == 2
    assert all("--preset quick" in sentence for sentence in sentences)

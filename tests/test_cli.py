"""The command line as a user meets it."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from hybrid_dip import metrics
from hybrid_dip.images import load_image, save_image
from tests.test_images import BAD_FILES

Command = Callable[..., tuple[int, str, str]]

# A network small enough for a test, by the same options that a user has.
SMALL = ["--preset", "quick", "--network", "skip:down=8,8,skip=4,4,upsample=bilinear", "--latent", "uniform:channels=8"]


PRIORS = """
import sys

calls = []

def mine(x):
    return x.square()

def nan(x):
    return x.mean() * float("nan")

def two(x, y):
    return x.mean()

def detached(x):
    return x.detach().mean()

def colour(x):
    return (x[:, 0] - x[:, 1] - x[:, 2]).square().mean()

def number(in_channels, out_channels):
    return 3

def leaves(x):
    sys.exit(0)

def later(x):
    calls.append(0)
    return x.square() if len(calls) > 12 else x.mean()

class Unbound:
    def bind(self, task):
        raise KeyError("no")
    def __call__(self, x):
        return x.mean()
"""


@pytest.fixture
def files(tmp_path: Path, photograph: Tensor) -> Path:
    save_image(photograph, tmp_path / "clean.png")
    save_image((photograph + 0.15 * torch.randn_like(photograph)).clamp(0, 1), tmp_path / "noisy.png")
    mask = torch.ones(1, 1, 32, 32)
    mask[..., 10:14, 10:20] = 0
    save_image(mask, tmp_path / "mask.png")
    save_image(mask[..., :31], tmp_path / "mask31.png")
    save_image(torch.zeros_like(mask), tmp_path / "mask_empty.png")
    save_image(torch.ones_like(mask), tmp_path / "mask_full.png")
    save_image(mask * 0.5, tmp_path / "mask_grey.png")
    save_image(torch.rand(1, 3, 1, 1), tmp_path / "one.png")
    save_image(photograph[:, :1], tmp_path / "grey.png")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "folder").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("do not touch")
    (tmp_path / "prior.py").write_text(PRIORS)
    (tmp_path / "broken.py").write_text("x = 1\ndef prior(x:\n    return x\n")
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    return tmp_path


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
    from hybrid_dip.images import read_picture

    restored = read_picture(tmp_path / "o1" / "restored.png")
    assert restored.bits == 16
    assert restored.alpha is not None
    torch.testing.assert_close(restored.alpha, alpha, atol=1e-4, rtol=0)

    np.save(tmp_path / "five.npy", np.random.default_rng(0).random((20, 18, 5)).astype(np.float32))
    assert hybrid_dip_command("restore", tmp_path / "five.npy", "--task", "jpeg", *options, "-o", tmp_path / "o2")[0] == 0
    assert np.load(tmp_path / "o2" / "restored.npy").shape == (20, 18, 5)
    assert load_image(tmp_path / "o2" / "restored.png").shape == (1, 3, 20, 18)


def test_the_same_command_twice_gives_the_same_bytes(files: Path, hybrid_dip_command: Command) -> None:
    for name in ("a", "b"):
        hybrid_dip_command("restore", files / "noisy.png", "--task", "denoise", *SMALL, "--steps", 20, "-o", files / name)
    assert (files / "a" / "restored.png").read_bytes() == (files / "b" / "restored.png").read_bytes()


BAD = {
    "missing file": (["nothing.png"], "There is no file nothing.png"),
    "directory": (["folder"], "is a directory"),
    "empty file": (["empty.png"], "is empty"),
    "text": (["text.png"], "not an image"),
    "one pixel": (["one.png"], "at least 16x16"),
    "mask size": (["noisy.png", "--task", "inpaint", "--mask", "mask31.png"], "same size"),
    "empty mask": (["noisy.png", "--task", "inpaint", "--mask", "mask_empty.png"], "no pixel as known"),
    "full mask": (["noisy.png", "--task", "inpaint", "--mask", "mask_full.png"], "every pixel as known"),
    "grey mask": (["noisy.png", "--task", "inpaint", "--mask", "mask_grey.png"], "only 255"),
    "no mask": (["noisy.png", "--task", "inpaint"], "needs --mask"),
    "negative sigma": (["noisy.png", "--sigma", "-5"], "at least 0"),
    "NaN sigma": (["noisy.png", "--sigma", "nan"], "at most 2550, got nan"),
    "text sigma": (["noisy.png", "--sigma", "much"], "--sigma"),
    "factor 0": (["noisy.png", "--task", "super-resolve", "--factor", "0"], "at least 2"),
    "factor above the image": (["noisy.png", "--task", "super-resolve", "--factor", "1000"], "exceeds"),
    "unknown task": (["noisy.png", "--task", "denoize"], "did you mean 'denoise'"),
    "unknown preset": (["noisy.png", "--preset", "orignal"], "did you mean 'original'"),
    "unknown device": (["noisy.png", "--device", "gpu"], "Unknown device"),
    "unknown network": (["noisy.png", "--network", "skipp"], "did you mean 'skip'"),
    "unknown noise": (["noisy.png", "--noise", "poison"], "did you mean 'poisson'"),
    "unknown regulariser": (["noisy.png", "-R", "tvv@0.1"], "did you mean 'tv'"),
    "negative weight": (["noisy.png", "-R", "tv@-1"], "at least 0"),
    "regulariser's option": (["noisy.png", "-R", "tv:epsilom=1@1"], "'tv' has no option 'epsilom': did you mean 'epsilon'"),
    "type of a regulariser's option": (["noisy.png", "-R", "tv:epsilon=small@1"], "'epsilon' of 'tv' must be of type float"),
    "weight": (["noisy.png", "-R", "tv@heavy"], "'heavy' is not a weight"),
    "file with a syntax error": (["noisy.png", "-R", "broken.py:prior@1"], "'broken.py' cannot be loaded: SyntaxError"),
    "prior without a gradient": (["noisy.png", "-R", "prior.py:detached@1"], "'detached' returns a tensor cut off"),
    "prior of three channels": (["grey.png", "-R", "prior.py:colour@1"], "'colour' failed at step 0: IndexError"),
    "vector prior": (["noisy.png", "-R", "prior.py:mine@1"], "'mine' must return a scalar"),
    "prior of two arguments": (["noisy.png", "-R", "prior.py:two@1"], "'two' failed at step 0"),
    "prior that leaves": (["noisy.png", "-R", "prior.py:leaves@1"], "'leaves' failed at step 0: SystemExit"),
    "prior that fails later": (["noisy.png", "-R", "prior.py:later@1", "--steps", "30"], "'later' must return a scalar"),
    "prior that cannot be bound": (["noisy.png", "-R", "prior.py:Unbound@1"], "'Unbound' failed to bind"),
    "file that leaves": (["noisy.png", "-R", "leaves.py:prior@1"], "cannot be loaded: SystemExit"),
    "file without a name": (["noisy.png", "-R", "prior.py@1"], "prior.py:NAME"),
    "option twice": (["noisy.png", "-R", "tv:epsilon=1,epsilon=2@1"], "occurs twice"),
    "rule's own option": (["noisy.png", "--stop", "max_steps:reason=5"], "no option 'reason'"),
    "window": (["noisy.png", "--stop", "wmv:window=1000000000"], "window of 2 to"),
    "network that is none": (["noisy.png", "--network", "prior.py:number"], "must be a torch module"),
    "network that fails": (["noisy.png", "--network", "prior.py:two"], "cannot be made"),
    "latent of flash": (
        ["noisy.png", "--task", "flash", "--guide", "clean.png", "--latent", "meshgrid"],
        "--latent does not go",
    ),
    "sigma beyond all": (["noisy.png", "--sigma", "1e38"], "at most 2550"),
    "runs beyond all": (["noisy.png", "--runs", "99999999999999999999"], "at most 1000"),
    "learning rate beyond all": (["noisy.png", "--lr", "1e38"], "at most 1e6"),
    "wide PSF": (["noisy.png", "--task", "deblur", "--psf", "gaussian:100000"], "at most"),
    "seed": (["noisy.png", "--seed", "99999999999999999999"], "seed"),
    "negative seed": (["noisy.png", "--seed", "-1"], "seed"),
    "balanced learning rate": (["noisy.png", "--lr-schedule", "balance=0.5"], "no schedule for the learning rate"),
    "option type": (["noisy.png", "--stop", "wmv:window=2.5"], "must be of type int"),
    "network option": (["noisy.png", "--network", "skip:kernel_down=abc", "--latent", "uniform"], "cannot be made"),
    "nothing to optimise": (["noisy.png", "--network", "pixels", "--optimise", "latent"], "does not depend"),
    "NaN prior": (["noisy.png", "-R", "prior.py:nan@1"], "'nan' is nan at the first step"),
    "unknown rule": (["noisy.png", "--stop", "wvm"], "did you mean 'wmv'"),
    "rule that does not apply": (["noisy.png", "--task", "jpeg", "--stop", "discrepancy"], "level of Gaussian noise"),
    "option of another task": (["noisy.png", "--factor", "2"], "--factor does not go with 'denoise'"),
    "reference size": (["noisy.png", "--reference", "mask31.png"], "the same was expected"),
    "no steps": (["noisy.png", "--steps", "0"], "--steps"),
    "no runs": (["noisy.png", "--runs", "0"], "--runs"),
    "no time": (["noisy.png", "--time-budget", "0"], "--time-budget"),
    "learning rate": (["noisy.png", "--lr", "0"], "--lr"),
    "unwritable": (["noisy.png", "-o", "/proc/nowhere/out"], "cannot be written"),
    "output is a file": (["noisy.png", "-o", "clean.png"], "is a file"),
    "folder with other things": (["noisy.png", "-o", "full"], "already holds"),
    "folder that is not ours": (["noisy.png", "-o", "full", "--overwrite"], "not a result folder"),
    "resume and overwrite": (["noisy.png", "--resume", "--overwrite"], "one of --resume and --overwrite"),
    "unknown option": (["noisy.png", "--sigm", "3"], "No such option"),
    "PSF": (["noisy.png", "--task", "deblur", "--psf", "gaussian:wide"], "gaussian:1.5"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_status_2_and_nothing_written(
    files: Path, hybrid_dip_command: Command, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    given, words = BAD[name]
    arguments = ["restore", *given]
    for option, value in {"--task": "denoise", "-o": "out", "--steps": "2"}.items():
        if option not in given:
            arguments += [option, value]
    if "--network" not in given and "--preset" not in given:
        arguments += SMALL
    before = {path: path.read_bytes() for path in files.rglob("*") if path.is_file()}
    status, out, err = hybrid_dip_command(*arguments)
    assert status == 2, (out, err)
    sentence = err.strip().splitlines()[-1]
    assert sentence.startswith("hybrid-dip: ")
    assert words in sentence
    assert "Traceback" not in err
    # one that fails in the middle of a fit comes after the estimate and the progress bar; all else speaks alone
    assert len(err.strip().splitlines()) == 1 or name == "prior that fails later"
    assert {path: path.read_bytes() for path in files.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_one_sentence_and_status_2(tmp_path: Path, hybrid_dip_command: Command, name: str) -> None:
    (tmp_path / name).write_bytes(BAD_FILES[name])
    status, _, err = hybrid_dip_command("restore", tmp_path / name, "--task", "denoise", "--sigma", 25, "-o", tmp_path / "out")
    assert status == 2
    assert len(err.strip().splitlines()) == 1
    assert name in err
    assert not (tmp_path / "out").exists()


def test_foreign_files_survive(tmp_path: Path, files: Path, hybrid_dip_command: Command) -> None:
    """What looks like leftovers in a folder that is not ours is nobody's business."""
    (tmp_path / "mine" / "checkpoint").mkdir(parents=True)
    (tmp_path / "mine" / ".movie.partial").write_text("precious")
    for flag in ([], ["--resume"], ["--overwrite"]):
        command = ["restore", files / "noisy.png", "--task", "denoise", *SMALL, "--steps", 1, "-o", tmp_path / "mine", *flag]
        assert hybrid_dip_command(*command)[0] == 2
    assert (tmp_path / "mine" / ".movie.partial").read_text() == "precious"
    assert (tmp_path / "mine" / "checkpoint").is_dir()


def test_a_failing_overwrite_keeps_the_old_results(files: Path, hybrid_dip_command: Command) -> None:
    command = ["restore", files / "noisy.png", "--task", "denoise", *SMALL, "--steps", 2, "-o", files / "out"]
    assert hybrid_dip_command(*command)[0] == 0
    before = (files / "out" / "restored.png").read_bytes()
    assert hybrid_dip_command(*command, "--overwrite", "-R", f"{files / 'prior.py'}:nan@1")[0] == 2
    assert (files / "out" / "restored.png").read_bytes() == before


def test_overwrite_removes_our_files_only(files: Path, hybrid_dip_command: Command) -> None:
    command = ["restore", files / "noisy.png", "--task", "denoise", *SMALL, "--steps", 2, "-o", files / "out"]
    assert hybrid_dip_command(*command, "--gif", "--runs", 2)[0] == 0
    (files / "out" / "notes.txt").write_text("precious")
    assert hybrid_dip_command(*command, "--overwrite")[0] == 0
    left = {path.name for path in (files / "out").iterdir()}
    assert left == {
        "notes.txt", "restored.png", "last.png", "history.csv", "run.json", "curves.png", "comparison.png", "checkpoint"
    }  # fmt: skip
    assert not (files / "out" / "checkpoint" / "seed-1.pt").exists()


def test_a_changed_reference_is_noticed_on_resume(files: Path, hybrid_dip_command: Command) -> None:
    command = ["restore", files / "noisy.png", "--task", "denoise", *SMALL, "--steps", 2, "-o", files / "out"]
    command += ["--reference", files / "clean.png"]
    assert hybrid_dip_command(*command)[0] == 0
    save_image(torch.rand(1, 3, 32, 32), files / "clean.png")
    status, _, err = hybrid_dip_command(*command, "--resume")
    assert status == 2
    assert "reference_sha256" in err


def test_damaged_settings_are_named(files: Path, hybrid_dip_command: Command) -> None:
    command = ["restore", files / "noisy.png", "--task", "denoise", *SMALL, "--steps", 2, "-o", files / "out"]
    assert hybrid_dip_command(*command)[0] == 0
    for text in ("{", "[]"):
        (files / "out" / "checkpoint" / "settings.json").write_text(text)
        status, _, err = hybrid_dip_command(*command, "--resume")
        assert status == 2
        assert "settings.json is damaged" in err


def test_the_bare_command_shows_its_help(hybrid_dip_command: Command) -> None:
    status, out, err = hybrid_dip_command()
    assert status == 0
    assert "restore" in out
    assert err == ""


def test_a_changed_prior_is_noticed_on_resume(files: Path, hybrid_dip_command: Command) -> None:
    (files / "mine.py").write_text("def prior(x):\n    return x.mean()\n")
    command = ["restore", files / "noisy.png", "--task", "denoise", *SMALL, "--steps", 2, "-o", files / "out"]
    command += ["-R", f"{files / 'mine.py'}:prior@0.1"]
    assert hybrid_dip_command(*command)[0] == 0
    (files / "mine.py").write_text("def prior(x):\n    return x.square().mean()\n")
    status, _, err = hybrid_dip_command(*command, "--resume")
    assert status == 2
    assert "regularisers_sha256" in err


def test_an_existing_result_is_left_alone_unless_asked(files: Path, hybrid_dip_command: Command) -> None:
    command = ["restore", files / "noisy.png", "--task", "denoise", *SMALL, "--steps", 3, "-o", files / "out"]
    assert hybrid_dip_command(*command)[0] == 0
    first = (files / "out" / "run.json").read_bytes()
    status, _, err = hybrid_dip_command(*command)
    assert status == 2
    assert "--resume to go on, or --overwrite" in err
    status, _, err = hybrid_dip_command(*command, "--resume")
    assert status == 0
    assert "finished already" in err
    assert (files / "out" / "run.json").read_bytes() == first
    status, _, err = hybrid_dip_command(*command[:-3], 4, "-o", files / "out", "--resume")
    assert status == 2
    assert "other settings" in err
    assert hybrid_dip_command(*command, "--overwrite")[0] == 0


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


def test_degrade_writes_the_reference_that_the_result_can_be_measured_by(files: Path, hybrid_dip_command: Command) -> None:
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
    from hybrid_dip.images import read_picture

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
    assert "The original's recipe takes 3000 steps, of 0." in out
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


def command_line(files: Path, out: str, steps: int) -> list[str]:
    return [
        sys.executable, "-m", "hybrid_dip.cli", "restore", str(files / "noisy.png"), "--task", "denoise", "--sigma", "38",
        *SMALL, "--steps", str(steps), "--checkpoint-every", "10", "--reference", str(files / "clean.png"), "--gif",
        "--stop", "wmv:window=5,patience=1000", "-o", str(files / out),
    ]  # fmt: skip


def test_killed_at_any_moment_and_resumed_gives_the_same_bytes(files: Path) -> None:
    """SIGKILL at several moments of one run, from before the first checkpoint to the writing of the results."""
    steps = 300
    subprocess.run(command_line(files, "whole", steps), check=True, capture_output=True)
    killed = 0

    def kill(process: subprocess.Popen[bytes]) -> bool:
        running = process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return running

    def start() -> subprocess.Popen[bytes]:
        command = [*command_line(files, "part", steps), "--resume"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    # Moments counted from the folder's first appearance, so that they lie within the fit on any machine.
    for delay in (0.0, 0.4, 0.9, 1.6):
        process = start()
        while not (files / "part" / "checkpoint").exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(delay)
        killed += kill(process)
    # ... and while the results are being written
    process = start()
    while not (files / "part" / "restored.png").exists() and process.poll() is None:
        time.sleep(0.001)
    killed += kill(process)
    assert not (files / "part" / "run.json").exists()
    assert killed >= 2, "the machine is too fast for this test's moments"
    done = subprocess.run([*command_line(files, "part", steps), "--resume"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("restored.png", "last.png", "fit.gif", "comparison.png"):
        assert (files / "part" / name).read_bytes() == (files / "whole" / name).read_bytes(), name
    histories = [list(csv.DictReader((files / run / "history.csv").open())) for run in ("part", "whole")]
    for row in (*histories[0], *histories[1]):
        row.pop("seconds")
    assert histories[0] == histories[1]
    assert not list((files / "part").rglob("*.partial*")), "half-written files were left behind"


def test_ctrl_c_saves_and_resumes(files: Path) -> None:
    process = subprocess.Popen(command_line(files, "out", 400), stderr=subprocess.PIPE, text=True)
    while not (files / "out" / "checkpoint" / "seed-0.pt").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "repeat the command with --resume" in err
    assert not (files / "out" / "run.json").exists()
    done = subprocess.run([*command_line(files, "out", 400), "--resume"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    subprocess.run(command_line(files, "whole", 400), check=True, capture_output=True)
    assert (files / "out" / "restored.png").read_bytes() == (files / "whole" / "restored.png").read_bytes()

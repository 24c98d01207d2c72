"""Fused restorations from the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hybrid_dip.cli import fused_job
from tests.command import SMALL

Command = Callable[..., tuple[int, str, str]]
NOISY = ["--task", "denoise", "--sigma", 38, *SMALL, "--quiet"]


def read(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "run.json").read_text())
    return found


def test_a_stack_writes_its_weights_as_pictures_and_numbers(files: Path, hybrid_dip_command: Command) -> None:
    out = files / "out"
    command = ["restore", files / "noisy.png", *NOISY, "--steps", 12, "--fuse", "stack", "-R", "tv@0.05", "--arm",
               "one-shot:denoiser=median", "--reference", files / "clean.png", "-o", out]  # fmt: skip
    code, _, err = hybrid_dip_command(*command)
    assert code == 0, err
    found = read(out)
    arms = found["arms"]
    assert isinstance(arms, dict)
    assert list(arms) == ["dip", "dip+tv", "one-shot:denoiser=median"]
    assert sum(arm["weight"] for arm in arms.values()) == pytest.approx(1.0)
    assert all("psnr" in arm["metrics"] for arm in arms.values())
    assert [arm["stop"]["steps"] for arm in arms.values()] == [12, 12, 1]
    assert found["stop"] == {"reason": "stacked, judged by bootstrap", "kept_at": None, "steps": 2 * 25}
    assert found["seconds_per_step"] == pytest.approx(found["seconds"] / 50)
    maps = np.load(out / "weights.npy")
    assert maps.shape == (32, 32, 3)
    assert np.allclose(maps.sum(-1), 1, atol=1e-5)
    for name in ("restored.png", "comparison.png", "weights.png", "arm-dip.png", "weights-dip+tv.png", "history.csv"):
        assert (out / name).is_file()
    # the reference is measured by and nothing else
    again = files / "again"
    hybrid_dip_command(*[part for part in command if part not in ("--reference", files / "clean.png", out)], again)
    assert (again / "restored.png").read_bytes() == (out / "restored.png").read_bytes()
    code, _, err = hybrid_dip_command(*command, "--overwrite")
    assert code == 0, err


def test_a_stack_without_priors_takes_arms_that_suit_the_task(files: Path, hybrid_dip_command: Command) -> None:
    code, _, err = hybrid_dip_command(
        "restore", files / "noisy.png", *NOISY, "--steps", 3, "--fuse", "stack", "-o", files / "out"
    )
    assert code == 0, err
    arms = read(files / "out")["arms"]
    assert isinstance(arms, dict)
    assert list(arms) == ["dip", "dip+non-local", "adapted:denoiser=bundled"]


@pytest.mark.parametrize("mode", ["held-out", "sure"])
def test_weights_are_searched_for(mode: str, files: Path, hybrid_dip_command: Command) -> None:
    code, _, err = hybrid_dip_command(
        "restore", files / "noisy.png", *NOISY, "--steps", 10, "--fuse", mode, "-R", "tv@0.05", "-o", files / mode
    )
    assert code == 0, err
    settings = read(files / mode)["settings"]
    assert isinstance(settings, dict)
    assert settings["fuse"] == mode
    assert len(settings["trials"]) >= 6


@pytest.mark.parametrize("finished", [False, True])
def test_a_search_for_weights_goes_on_to_the_same_bytes(
    finished: bool, files: Path, hybrid_dip_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the fit with the weights that were found, or finished: the search is not made again."""
    command = ["restore", files / "noisy.png", *NOISY, "--steps", 30, "--fuse", "sure", "-R", "tv@0.05", "-o"]
    assert hybrid_dip_command(*command, files / "whole")[0] == 0
    assert hybrid_dip_command(*command, files / "part")[0] == 0
    whole = (files / "whole" / "restored.png").read_bytes()
    if not finished:
        (files / "part" / "run.json").unlink()
        (files / "part" / "restored.png").unlink()
    monkeypatch.setattr(fused_job, "tune", None)
    code, _, err = hybrid_dip_command(*command, files / "part", "--resume")
    assert code == 0, err
    assert (files / "part" / "restored.png").read_bytes() == whole


@pytest.mark.parametrize(("sigma", "judged"), [(["--sigma", 38], "bootstrap"), ([], "held-out")])
def test_an_estimated_noise_level_does_not_make_a_bootstrap(
    sigma: list[object], judged: str, files: Path, hybrid_dip_command: Command
) -> None:
    command = ["restore", files / "noisy.png", "--task", "denoise", *sigma, *SMALL, "--quiet", "--steps", 3, "--fuse", "stack"]
    code, _, err = hybrid_dip_command(*command, "-R", "tv@0.05", "-o", files / judged)
    assert code == 0, err
    found = read(files / judged)["fusion"]
    assert isinstance(found, dict)
    assert found["judged_by"] == judged


def test_a_consensus_says_how_far_apart_its_agents_are(files: Path, hybrid_dip_command: Command) -> None:
    code, _, err = hybrid_dip_command(
        "restore",
        files / "noisy.png",
        *NOISY,
        "--steps",
        5,
        "--fuse",
        "consensus",
        "-R",
        "red:denoiser=median@1",
        "-o",
        files / "c",
    )
    assert code == 0, err
    found = read(files / "c")
    assert isinstance(found["arms"], dict)
    assert list(found["arms"]) == ["data", "dip", "red"]
    assert isinstance(found["fusion"], dict)
    rounds = len(found["fusion"]["disagreement"])
    assert rounds > 1
    assert isinstance(found["stop"], dict)
    assert found["stop"]["steps"] == 5 + 20 * rounds


BAD = {
    "unknown mode": (["--sigma", 25, "--fuse", "stak"], "did you mean 'stack'"),
    "arms without a stack": (["--sigma", 25, "--fuse", "sure", "-R", "tv@1", "--arm", "quick"], "--arm goes with --fuse stack"),
    "arms without fusing": (["--sigma", 25, "--arm", "quick"], "--arm goes with --fuse stack"),
    "no noise level": (["--noise", "l1", "--fuse", "sure", "-R", "tv@1"], "level of Gaussian noise"),
    "nothing left": (["--sigma", 25, "--fuse", "held-out", "-R", "tv@1", "--held-out-share", "1e-5"], "leaves nothing"),
    "nothing to weigh": (["--sigma", 25, "--fuse", "held-out"], "nothing to weigh"),
    "too short": (["--sigma", 25, "--fuse", "held-out", "-R", "tv@1", "--steps", 3], "leaves none for the short fits"),
    **{
        f"no time, {mode}": (
            ["--sigma", 25, "--fuse", mode, "-R", "tv@1", "--steps", 20, "--time-budget", 1e-6],
            "1e-06 s are too short for one step",
        )
        for mode in ("stack", "held-out", "consensus")
    },
    "another rule": (["--sigma", 25, "--fuse", "sure", "-R", "tv@1", "--stop", "wmv"], "--stop does not go with --fuse"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence(name: str, files: Path, hybrid_dip_command: Command) -> None:
    arguments, sentence = BAD[name]
    code, _, err = hybrid_dip_command(
        "restore", files / "noisy.png", "--task", "denoise", *SMALL, *arguments, "-o", files / "bad"
    )
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err
    assert not (files / "bad").exists() or not (files / "bad" / "run.json").exists()

"""--log on the command line; what is logged is tested beside the loggers."""

import csv
import sys
from pathlib import Path

import pytest

from tests.command import SMALL, Command

NOISY = ["--task", "denoise", "--sigma", 38, *SMALL, "--quiet"]


def last_loss(run: Path) -> float:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    value: float = EventAccumulator(str(run)).Reload().Scalars("loss")[-1].value
    return value


def test_each_seed_has_a_folder_that_goes_with_the_results(files: Path, hybrid_dip_command: Command) -> None:
    out = files / "out"
    command = ["restore", files / "noisy.png", *NOISY, "--steps", 3, "-o", out]
    status, _, err = hybrid_dip_command(*command, "--runs", 2, "--log", "tensorboard")
    assert (status, err) == (0, "")
    with (out / "history.csv").open() as handle:
        losses = {float(row["seed"]): float(row["loss"]) for row in csv.DictReader(handle)}
    assert {run.name: pytest.approx(last_loss(run)) for run in (out / "tensorboard").iterdir()} == {
        "seed-0": losses[0],
        "seed-1": losses[1],
    }
    status, _, err = hybrid_dip_command(*command, "--runs", 2, "--resume")
    assert status == 2
    assert "log: tensorboard, now none" in err
    assert hybrid_dip_command(*command, "--overwrite")[0] == 0
    assert not (out / "tensorboard").exists()


def test_the_fits_of_a_stack_have_a_folder_each(files: Path, hybrid_dip_command: Command) -> None:
    fused = ["--fuse", "stack", "-R", "tv@0.05", "--log", "tensorboard"]
    status, _, err = hybrid_dip_command("restore", files / "noisy.png", *NOISY, "--steps", 2, *fused, "-o", files / "out")
    assert (status, err) == (0, "")
    assert {run.name for run in (files / "out" / "tensorboard").iterdir()} == {
        "dip-seed-0",
        "dip+tv-seed-0",
        "dip--bootstrap-1-seed-10000",
        "dip+tv--bootstrap-1-seed-10000",
    }


@pytest.mark.parametrize(
    ("log", "sentence"), [("tensorbord", "did you mean 'tensorboard'"), ("wandb", "pip install 'hybrid-dip[wandb]'")]
)
def test_what_cannot_be_logged_is_said_before_anything_is_fitted(
    log: str, sentence: str, files: Path, hybrid_dip_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    status, _, err = hybrid_dip_command("restore", files / "noisy.png", *NOISY, "--log", log, "-o", files / "out")
    assert status == 2
    assert sentence in err
    assert len(err.splitlines()) == 1
    assert not (files / "out").exists()


def test_a_failing_fit_leaves_no_log(files: Path, hybrid_dip_command: Command) -> None:
    late = f"{files / 'prior.py'}:later@1"
    command = ["restore", files / "noisy.png", *NOISY, "--steps", 40, "-R", late, "--log", "tensorboard", "-o", files / "out"]
    status, _, err = hybrid_dip_command(*command)
    assert status == 2
    assert "scalar" in err
    assert not (files / "out").exists()

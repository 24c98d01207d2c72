"""What is in a result folder already: left alone, gone on with, or replaced, as asked."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from hybrid_dip.images.files import save_image
from tests.command import SMALL, Command


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
    assert hybrid_dip_command(*command, "--overwrite")[0] == 0


def test_settings_that_differ_have_a_line_each(files: Path, hybrid_dip_command: Command) -> None:
    command = ["restore", files / "noisy.png", "--task", "denoise", *SMALL, "-R", "tv@linear=0.1..0", "-o", files / "out"]
    assert hybrid_dip_command(*command, "--sigma", 25, "--steps", 3)[0] == 0
    changed = ["--lr", 0.02, "--sigma", 30, "--steps", 2, "--resume"]
    status, _, err = hybrid_dip_command(*command, *changed)
    assert status == 2
    assert err.splitlines() == [
        f"hybrid-dip: {files / 'out'} began with other settings; repeat them to --resume, or --overwrite:",
        "  lr: 0.01, now 0.02",
        f"  noise_sigma: {25 / 255}, now {30 / 255}",
        "  sigma: 25.0, now 30.0",
        "  steps: 3, now 2",
    ]
    command[command.index("tv@linear=0.1..0")] = "TV@linear=0.1..0"  # is the same prior
    err = hybrid_dip_command(*command, "--sigma", 25, "--steps", 4, "--resume")[2]
    assert "the weight of tv followed a course for 3 steps so far" in err


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(["--runs", 2], id="runs"),
        pytest.param(["--stop", "held-out:patience=20"], id="held-out", marks=pytest.mark.slow),
    ],
)
def test_more_steps_go_on_to_the_floats_of_a_longer_fit(files: Path, hybrid_dip_command: Command, how: list[str]) -> None:
    command = ["restore", files / "noisy.png", "--task", "denoise", "--sigma", 38, *SMALL, *how, "-R", "TV@0.02"]
    assert hybrid_dip_command(*command, "--steps", 7, "-o", files / "grown")[0] == 0
    status, _, err = hybrid_dip_command(*command, "--steps", 12, "-o", files / "grown", "--resume")
    assert (status, "Going on from 7 to 12 steps." in err, "followed a course" in err) == (0, True, False)
    assert hybrid_dip_command(*command, "--steps", 12, "-o", files / "long")[0] == 0
    assert (files / "grown" / "restored.png").read_bytes() == (files / "long" / "restored.png").read_bytes()
    fits = [torch.load(files / name / "checkpoint" / "seed-0.pt")["guard"]["current"] for name in ("grown", "long")]
    assert all(torch.equal(one, other) for one, other in zip(*(fit["network"].values() for fit in fits), strict=True))
    runs = [json.loads((files / name / "run.json").read_text()) for name in ("grown", "long")]
    assert runs[0]["settings"] == {**runs[1]["settings"]}
    assert runs[0]["stop"] == runs[1]["stop"]
    assert "finished already" in hybrid_dip_command(*command, "--steps", 12, "-o", files / "grown", "--resume")[2]


def test_one_image_is_fitted_by_as_many_threads_as_asked_for(files: Path, hybrid_dip_command: Command) -> None:
    before = torch.get_num_threads()
    command = ["restore", files / "noisy.png", "--task", "denoise", *SMALL, "--steps", 2, "-o", files / "out"]
    assert hybrid_dip_command(*command, "--threads", before + 1)[0] == 0
    assert json.loads((files / "out" / "run.json").read_text())["hardware"]["threads"] == before + 1
    assert torch.get_num_threads() == before
    assert "threads: " in hybrid_dip_command(*command, "--threads", before, "--resume")[2]
    assert "--threads must be" in hybrid_dip_command(*command, "--threads", 0, "--overwrite")[2]


@contextmanager
def files_of_most(size: int) -> Iterator[None]:
    """Inside, the system refuses files larger than this: a full disk without a disk."""
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)


def test_what_cannot_be_written_is_a_sentence_and_resume_goes_on(files: Path, hybrid_dip_command: Command) -> None:
    out = files / "out"
    small = ["--preset", "quick", "--network", "pixels", "--latent", "uniform:channels=1", "--steps", 2, "--crop", 16]
    command = ["restore", files / "noisy.png", "--task", "denoise", "--sigma", 25, *small, "--quiet", "-o", out]
    command += ["--reference", files / "clean.png"]  # the curves are larger than the checkpoint
    for size, said in {
        8_000: f"The checkpoint {out / 'checkpoint' / 'seed-0.pt'} cannot be written: File too large.",
        72_000: f"The results cannot be written to {out} (File too large): make room, and repeat the command with --resume, "
        "which goes on from what is saved.",
    }.items():
        with files_of_most(size):
            assert hybrid_dip_command(*command) == (2, "", f"hybrid-dip: {said}\n")
    assert hybrid_dip_command(*command, "--resume") == (0, "", "")
    assert (out / "run.json").exists()

"""A restoration that is killed or interrupted goes on to the same bytes."""

import csv
import signal
from pathlib import Path

from tests.command import SMALL, Command, Started
from tests.waiting import wait_for

STEPS = 150


def options(files: Path, out: str) -> list[str]:
    return [
        "restore", str(files / "noisy.png"), "--task", "denoise", "--sigma", "38", *SMALL, "--steps", str(STEPS),
        "--checkpoint-every", "10", "--reference", str(files / "clean.png"), "--gif",
        "--stop", "wmv:window=5,patience=1000", "-o", str(files / out), "--quiet",
    ]  # fmt: skip


def stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def test_interrupted_or_killed_it_goes_on_to_the_same_bytes(files: Path, hybrid_dip_command: Command) -> None:
    """Ended in each of its parts: before the first saved state, by Ctrl-C, between two states, while results are written."""
    part, state = files / "part", files / "part" / "checkpoint" / "seed-0.pt"
    process = Started(files / "said", *options(files, "part"), "--resume")
    wait_for(state.parent.exists, process)
    process.end(signal.SIGKILL)

    process = Started(files / "said", *options(files, "part"), "--resume")
    wait_for(state.exists, process)
    assert process.end(signal.SIGINT) == 130
    assert "repeat the command with --resume" in (files / "said").read_text()
    assert not (part / "run.json").exists()

    process = Started(files / "said", *options(files, "part"), "--resume")
    for _ in range(2):
        before = stamp(state)
        wait_for(lambda before=before: stamp(state) != before, process)  # type: ignore[misc]
    process.end(signal.SIGKILL)

    process = Started(files / "said", *options(files, "part"), "--resume")
    wait_for((part / "restored.png").exists, process)
    process.end(signal.SIGKILL)
    assert not (part / "run.json").exists()

    assert hybrid_dip_command(*options(files, "part"), "--resume")[0] == 0
    assert hybrid_dip_command(*options(files, "whole"))[0] == 0
    for name in ("restored.png", "last.png", "fit.gif", "comparison.png"):
        assert (part / name).read_bytes() == (files / "whole" / name).read_bytes(), name
    histories = [list(csv.DictReader((files / run / "history.csv").open())) for run in ("part", "whole")]
    for row in (*histories[0], *histories[1]):
        row.pop("seconds")
    assert histories[0] == histories[1]
    assert not list(part.rglob("*.partial*")), "half-written files were left behind"

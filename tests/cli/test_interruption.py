"""A restoration that is killed or interrupted goes on to the same bytes."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.command import SMALL


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

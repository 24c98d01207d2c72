import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hybrid_dip.study.describe.settings import as_toml
from hybrid_dip.study.running import machine
from hybrid_dip.study.running.store import Store
from tests.studies import TINY, InNamespace, MakePlan, contents
from tests.waiting import HANG

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def study(content: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(as_toml(content))
    return path


def test_plan_run_status_report(study: Path, hybrid_dip_command: Command) -> None:
    """The way through, as a new user would go it; without -o all is in the study's own folder."""
    status, out, _ = hybrid_dip_command("study", "plan", study, "--device", "cpu", "--json")
    assert status == 0
    plan = json.loads(out)
    assert (plan["runs"], plan["finished"], plan["threads"], plan["device"]) == (2, 0, 1, "cpu")
    assert {arm["arm"] for arm in plan["arms"]} == {"dip", "dip+tv"}
    assert sorted(path.name for path in study.parent.iterdir()) == ["study.toml"], "a plan writes nothing"
    status, out, err = hybrid_dip_command("study", "run", study, "--device", "cpu")
    assert status == 0
    assert "2 of 2 runs done" in out
    assert "runs, " in err
    with (study.parent / "results.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [(row["image"], row["task"], row["arm"], row["seed"], row["error"]) for row in rows] == [
        ("astronaut", "denoise", "dip", "0", ""),
        ("astronaut", "denoise", "dip+tv", "0", ""),
    ]
    status, out, _ = hybrid_dip_command("study", "status", study.parent, "--json")
    assert (json.loads(out)["done"], json.loads(out)["left"]) == (2, 0)
    assert hybrid_dip_command("study", "status", study, "--json")[1] == out, "the file stands for its folder"
    status, out, _ = hybrid_dip_command("study", "report", study, "--device", "cpu", "--json")
    assert status == 0
    assert [row["arm"] for row in json.loads(out)["summary"] if row["metric"] == "psnr"] == ["dip", "dip+tv"]
    assert (study.parent / "report.md").is_file()
    status, out, _ = hybrid_dip_command("study", "plan", study, "--device", "cpu")
    assert "2 runs, 2 of them finished" in out


@pytest.mark.parametrize("good", [False, True])
def test_a_study_of_which_nothing_succeeds_ends_with_2(
    content: dict[str, Any], tmp_path: Path, hybrid_dip_command: Command, good: bool
) -> None:
    (tmp_path / "mine.py").write_text("def vector(x):\n    return x.mean(1)\n")
    arms = [{"name": "bad", **TINY, "steps": 2, "regularisers": ["mine.py:vector@1"]}]
    arms += [{"name": "good", **TINY, "steps": 2}] if good else []
    (tmp_path / "study.toml").write_text(as_toml({**content, "arms": arms}))
    status, out, err = hybrid_dip_command("study", "run", tmp_path / "study.toml", "--device", "cpu", "--workers", "1")
    assert status == (0 if good else 2)
    assert "1 failed (see results.csv" in out
    assert ("1 of 1 fits failed; the first, of astronaut by bad: FitError: The regulariser 'vector' must return" in err) == (
        not good
    )


def test_workers_keep_all_cores_busy(make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "core_count", lambda: 8)
    found = {threads: machine.worker_count(None, make_plan(threads=threads)) for threads in (1, 2, 3, 100)}
    assert found == {1: 8, 2: 4, 3: 2, 100: 1}
    assert machine.worker_count(3, make_plan()) == 3


def test_a_report_looks_at_the_runs_that_were_done(study: Path, hybrid_dip_command: Command, tmp_path: Path) -> None:
    """With other threads, or other images, they are other runs; a report knows which, and a good table is not overwritten."""
    hybrid_dip_command("study", "run", study, "--device", "cpu", "--threads", "2", "--images", "skimage:camera")
    before = (tmp_path / "results.csv").read_text()
    assert before.count("camera") == 2
    status, out, _ = hybrid_dip_command("study", "report", study)
    assert status == 0
    assert "2 of 2 runs, 0 failed" in out
    status, _, err = hybrid_dip_command("study", "report", study, "--threads", "1")
    assert status == 2
    assert "None of the runs in" in err
    assert "threads" in err
    assert (tmp_path / "results.csv").read_text() == before


WRONG: dict[str, tuple[list[str], str]] = {
    "no such file": (["study", "plan", "none.toml"], "There is no study file"),
    "no such executor": (
        ["study", "run", "study.toml", "--executor", "slurm"],
        "--executor is local, ray or ray:ADDRESS, got 'slurm'",
    ),
    "nobody at the address": (
        ["study", "run", "study.toml", "--executor", "ray:127.0.0.1:1"],
        "There is no Ray cluster at '127.0.0.1:1'",
    ),
    "no such device": (["study", "run", "study.toml", "--executor", "ray", "--device", "gpu"], "Unknown device 'gpu'"),
    "one of several GPUs": (["study", "run", "study.toml", "--device", "cuda:1"], "take --device cuda, not cuda:1"),
    "no workers": (["study", "run", "study.toml", "--workers", "0"], "--workers must be a whole number of at least 1"),
    "nothing to report": (
        ["study", "report", "study.toml", "-o", "empty"],
        "holds no finished runs; start with: hybrid-dip study run",
    ),
    "no study there": (["study", "status", "."], "is not a study's folder"),
    "a folder that cannot be made": (["study", "run", "study.toml", "-o", "study.toml/out"], "cannot be written"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_sentence(
    study: Path, hybrid_dip_command: Command, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.chdir(study.parent)
    arguments, sentence = WRONG[case]
    status, _, err = hybrid_dip_command(*arguments)
    assert status == 2
    assert sentence in err
    assert err.strip().count("\n") == 0


def test_ctrl_c_saves_and_the_same_command_goes_on(content: dict[str, Any], tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    arms = [{"name": "long", **TINY, "steps": 1000}]
    study.write_text(as_toml({**content, "arms": arms, "seeds": [0, 1]}))
    command = [sys.executable, "-m", "hybrid_dip.cli", "study", "run", str(study), "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    store = Store(tmp_path)
    while not any(progress.step > 5 for progress in store.in_progress().values()):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=HANG)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "Interrupted with 2 of 2 runs left; repeat the command to go on."
    assert store.in_progress() == {}
    assert subprocess.run(command, capture_output=True, env=environment).returncode == 0
    assert len(contents(store)) == 2


def test_a_full_or_read_only_disk_loses_nothing(content: dict[str, Any], tmp_path: Path, in_namespace: InNamespace) -> None:
    (tmp_path / "study.toml").write_text(as_toml({**content, "seeds": list(range(10))}))
    (tmp_path / "disk").mkdir()
    run = f"{sys.executable} -m hybrid_dip.cli study run study.toml -o disk --device cpu --quiet"
    script = f"""
mount -t tmpfs -o size=160k tmpfs disk
{run} || echo "ended with $?"
ls disk/runs | wc -l
find disk -name '*.partial*' | wc -l
mount -o remount,size=10m,ro tmpfs disk
{run} || echo "ended with $?"
mount -o remount,rw tmpfs disk
{run} && ls disk/runs | wc -l
"""
    done = in_namespace(script)
    lines = [str(done.returncode), *done.stdout.splitlines(), *done.stderr.splitlines()]
    assert lines[0] == "0", lines
    said = [line for line in lines if line.startswith("hybrid-dip:")]
    assert len(said) == 2
    assert "No space left on device" in said[0]
    assert "Read-only file system" in said[1]
    assert all("what is finished is safe" in line for line in said)
    counted = [line for line in lines[1:] if line not in said]
    assert counted[0] == counted[3] == "ended with 2"
    assert 0 < int(counted[1]) < 20
    assert counted[2] == "0", "nothing half-written is left"
    assert counted[4] == "20"

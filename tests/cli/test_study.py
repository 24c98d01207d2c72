import csv
import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hybrid_dip.study.describe.settings import as_toml
from hybrid_dip.study.running import machine
from hybrid_dip.study.running.store import Store
from tests.command import Started, run_here
from tests.copies import InCopy
from tests.studies import TINY, Inline, MakePlan, contents
from tests.waiting import wait_for

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


SLOW_AT_FIRST = """
import time
from pathlib import Path

def slow(x):
    if not (Path(__file__).parent / "fast").exists():
        time.sleep(0.2)
    return x.square().mean()
"""


@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_command_goes_on(
    content: dict[str, Any], tmp_path: Path, hybrid_dip_command: Command
) -> None:
    study, store = tmp_path / "study.toml", Store(tmp_path)
    (tmp_path / "mine.py").write_text(SLOW_AT_FIRST)
    arms = [{"name": "long", **TINY, "steps": 60, "regularisers": ["mine.py:slow@0.01"]}]
    study.write_text(as_toml({**content, "arms": arms, "seeds": [0, 1]}))
    command = ["study", "run", study, "--device", "cpu"]
    process = Started(tmp_path / "said", *command, "--workers", "2")
    wait_for(lambda: len(store.in_progress()) == 2 and all(run.step > 0 for run in store.in_progress().values()), process)
    assert process.end(signal.SIGINT) == 130
    said = (tmp_path / "said").read_text()
    assert said.splitlines()[-1] == "Interrupted with 2 of 2 runs left; repeat the command to go on."
    assert store.in_progress() == {}
    (tmp_path / "fast").touch()
    assert hybrid_dip_command(*command)[0] == 0
    assert len(contents(store)) == 2


def run_on_a_small_disk(study: Path, disk: Path) -> list[tuple[int, str, int, int]]:
    """Run a study on a disk that is full, read-only and large; status, stderr, finished runs, and files left half-written."""
    machine.Workers = lambda count, gpus: Inline()  # type: ignore[assignment, misc]
    ends = []
    for options in ("size=160k", "remount,size=10m,ro", "remount,rw"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], check=True)
        status, said = run_here("study", "run", study, "-o", disk, "--device", "cpu", "--quiet")
        ends.append((status, said, len(list((disk / "runs").iterdir())), len(list(disk.rglob("*.partial*")))))
    return ends


def test_a_full_or_read_only_disk_loses_nothing(content: dict[str, Any], tmp_path: Path, in_namespace: InCopy) -> None:
    study, disk = tmp_path / "study.toml", tmp_path / "disk"
    study.write_text(as_toml({**content, "seeds": list(range(10))}))
    disk.mkdir()
    full, read_only, large = in_namespace(run_on_a_small_disk, study, disk)
    for (status, said, _, _), reason in ((full, "No space left on device"), (read_only, "Read-only file system")):
        assert status == 2
        assert said.startswith("hybrid-dip:")
        assert len(said.splitlines()) == 1
        assert reason in said
        assert "what is finished is safe" in said
    assert 0 < full[2] < 20
    assert full[3] == 0, "nothing half-written is left"
    assert read_only[2] == full[2]
    assert large == (0, "", 20, 0)

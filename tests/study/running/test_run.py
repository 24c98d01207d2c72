import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from hybrid_dip.errors import HybridDIPError, StorageError
from hybrid_dip.study.describe.plan import Plan
from hybrid_dip.study.describe.settings import as_toml
from hybrid_dip.study.running import run as run_module
from hybrid_dip.study.running.executors import WorkerDiedError
from hybrid_dip.study.running.locks import RUNNER, take
from hybrid_dip.study.running.run import run_study
from hybrid_dip.study.running.store import Store
from tests.command import Started
from tests.copies import COPIES
from tests.studies import TINY, Inline, MakePlan, contents
from tests.waiting import HANG, wait_for


def test_any_executor_serves(make_plan: MakePlan, tmp_path: Path) -> None:
    plan = make_plan()
    stores = {}
    with ThreadPoolExecutor(2) as threads, ProcessPoolExecutor(1, mp_context=COPIES) as processes:
        for name, executor in {"inline": Inline(), "threads": threads, "processes": processes}.items():
            stores[name] = Store(tmp_path / name)
            found = run_study(plan, stores[name], executor)
            assert (found.total, found.done, found.failed, found.left, found.reason) == (2, 2, 0, 0, "complete")
    assert contents(stores["inline"]) == contents(stores["threads"]) == contents(stores["processes"])
    assert not (tmp_path / "inline" / "work").exists()


def test_what_is_finished_is_not_done_again(make_plan: MakePlan, store: Store) -> None:
    run_study(make_plan(), store, Inline())
    stamps = {key: (store.run(key) / "run.json").stat().st_mtime_ns for key in store.finished_keys()}
    plan = make_plan(seeds=[0, 1])
    assert run_study(plan, store, Inline()).done == 4
    for key, stamp in stamps.items():
        assert (store.run(key) / "run.json").stat().st_mtime_ns == stamp


def test_a_failure_leaves_the_rest_and_is_tried_again(make_plan: MakePlan, store: Store, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from pathlib import Path\n"
        "def picky(x):\n"
        f"    if not Path({str(tmp_path / 'fixed')!r}).exists():\n"
        "        raise RuntimeError('not today')\n"
        "    return x.square().mean()\n"
    )
    arms = [
        {"name": "bad", **TINY, "steps": 5, "regularisers": ["mine.py:picky@0.1"]},
        {"name": "good", **TINY, "steps": 5},
    ]
    plan = make_plan(arms=arms)
    found = run_study(plan, store, Inline())
    assert (found.done, found.failed) == (1, 1)
    (tmp_path / "fixed").touch()
    assert run_study(plan, store, Inline()).failed == 1, "a failure stays until it is asked for again"
    assert run_study(plan, store, Inline(), retry_failed=True).done == 2


class Mortal(Inline):
    """A worker that dies at some runs, so many times."""

    def __init__(self, deaths: dict[str, int]):
        self.deaths = deaths

    def submit(self, function: Callable[..., Any], /, *given: Any, **named: Any) -> "Future[Any]":
        key = given[0].key
        if self.deaths.get(key, 0) > 0:
            self.deaths[key] -= 1
            future: Future[Any] = Future()
            future.set_exception(WorkerDiedError("killed"))
            return future
        return super().submit(function, *given, **named)


def test_a_run_whose_worker_dies_is_tried_again(make_plan: MakePlan, store: Store) -> None:
    plan = make_plan()
    once, always = plan.runs[0].key, plan.runs[1].key
    found = run_study(plan, store, Mortal({once: 2, always: 100}))
    assert (found.done, found.failed) == (1, 1)
    record = store.record(always)
    assert record is not None
    assert record["error"] == "WorkerDiedError: killed (3 times)"


def test_a_broken_executor_is_said_to_be(make_plan: MakePlan, store: Store) -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.submit(os.getpid).result()
        pool.submit(os._exit, 1)
        with pytest.raises(HybridDIPError, match="The executor is broken"):
            run_study(make_plan(), store, pool)


def test_a_run_of_another_process_is_waited_for(make_plan: MakePlan, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "PATIENCE", 0.1)
    plan = make_plan()
    theirs = take(store.lock(plan.runs[0].key))
    assert theirs is not None
    threading.Timer(0.7, theirs.release).start()
    assert run_study(plan, store, Inline()).done == 2


def test_it_ends_on_request_and_when_the_time_is_up(make_plan: MakePlan, store: Store, executor: Executor) -> None:
    plan = make_plan(seeds=list(range(5)))
    found = run_study(plan, store, executor, at_once=1, halt=lambda: len(store.finished_keys()) >= 3)
    assert found.reason == "interrupted"
    assert 3 <= found.done < 10
    assert found.left == 10 - found.done
    short = make_plan(seeds=list(range(5)), budget={"hours": 1e-9})
    assert run_study(short, store, executor, at_once=1).reason == "budget"
    assert run_study(plan, store, executor).done == 10


def test_an_unwritable_folder_ends_the_study_with_one_sentence(make_plan: MakePlan, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match="what is finished is safe"):
        run_study(make_plan(), Store(tmp_path / "file" / "out"), Inline())


def test_a_success_is_not_forgotten_with_the_failures(
    make_plan: MakePlan, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runners are told to retry; one looks while the run has failed, and acts when the other has mended it."""
    plan = make_plan()
    run_study(plan, store, Inline())
    stale = {key: {**record, "error": "FitError: no"} for key, record in store.records(plan.unique).items()}
    stamps = {key: (store.run(key) / "run.json").stat().st_mtime_ns for key in plan.unique}
    with monkeypatch.context() as patched:
        patched.setattr(Store, "records", lambda self, keys: stale)
        run_module._forget_failures(plan, store)
    assert {key: (store.run(key) / "run.json").stat().st_mtime_ns for key in plan.unique} == stamps


def test_a_runner_whose_file_is_removed_says_so(make_plan: MakePlan, store: Store, executor: Executor) -> None:
    class Vandal:
        def note(self, run: Any, outcome: Any) -> None:
            shutil.rmtree(store.path / "work", ignore_errors=True)

        def tick(self, left: Any) -> None:
            pass

    with pytest.raises(HybridDIPError, match=r".* was removed: what is finished is safe"):
        run_study(make_plan(seeds=list(range(20))), store, executor, at_once=1, watcher=Vandal())


def test_two_machines_are_refused(make_plan: MakePlan, store: Store) -> None:
    plan = make_plan()
    theirs = take(store.path / "work" / f"{RUNNER}0123abcd.elsewhere")
    assert theirs is not None
    with pytest.raises(HybridDIPError, match=r"elsewhere is at work in .*: on several machines a study runs through Ray"):
        run_study(plan, store, Inline())
    theirs.release()
    assert run_study(plan, store, Inline()).done == 2, "one that was killed there is in nobody's way"


def start(study: Path, out: Path, workers: int = 2) -> Started:
    given = ["study", "run", study, "-o", out, "--workers", str(workers), "--device", "cpu"]
    return Started(study.with_suffix(".said"), *given)


def family(process: Started) -> list[psutil.Process]:
    try:
        parent = psutil.Process(process.pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def workers_at(store: Store) -> set[int]:
    """Numbers of the processes that are at a run."""
    return {progress.pid for progress in store.in_progress().values()}


def test_two_runners_share_the_work(content: dict[str, Any], tmp_path: Path) -> None:
    """Each run is begun by one of them only, and each of them does some."""
    study = tmp_path / "study.toml"
    arms = [{**arm, "steps": 40} for arm in content["arms"]]
    study.write_text(as_toml({**content, "arms": arms, "seeds": list(range(4))}))
    store = Store(tmp_path / "shared")
    runners = [start(study, store.path, workers=1) for _ in range(2)]
    held: dict[str, set[int]] = {}
    relatives: dict[int, set[int]] = {runner.pid: set() for runner in runners}
    while any(runner.poll() is None for runner in runners):
        for runner in runners:
            relatives[runner.pid] |= {process.pid for process in family(runner)}
        for key, progress in store.in_progress().items():
            held.setdefault(key, set()).add(progress.pid)
        time.sleep(0.05)
    assert [runner.poll() for runner in runners] == [0, 0]
    assert len(store.finished_keys()) == 8
    assert set(held) == store.finished_keys()
    assert all(len(pids) == 1 for pids in held.values())
    for pids in relatives.values():
        assert any(pids & by for by in held.values())


def assert_nothing_was_lost(shaken: Store, plan: Plan, quiet: Store) -> None:
    """A study that was killed is finished here, and is the same as one that nothing happened to."""
    assert run_study(plan, shaken, Inline()).left == 0
    run_study(plan, quiet, Inline())
    assert contents(shaken) == contents(quiet)
    assert [path.name for path in (shaken.path / "runs").iterdir() if path.name.startswith(".")] == []
    assert not (shaken.path / "work").exists()


def test_a_killed_study_goes_on_to_the_same_results(content: dict[str, Any], make_plan: MakePlan, tmp_path: Path) -> None:
    """SIGKILL of a worker, whose run is done again, and of the runner, with which its other workers end."""
    study, shaken = tmp_path / "study.toml", Store(tmp_path / "shaken")
    changed = {"seeds": list(range(4)), "arms": [{**arm, "steps": 12} for arm in content["arms"]]}
    study.write_text(as_toml({**content, **changed}))
    process = start(study, shaken.path)
    victim = wait_for(lambda: workers_at(shaken), process).pop()
    os.kill(victim, signal.SIGKILL)
    before = len(shaken.finished_keys())
    wait_for(lambda: len(shaken.finished_keys()) > before and workers_at(shaken), process)
    assert victim not in workers_at(shaken)
    rest = family(process)
    assert process.end(signal.SIGKILL) == -signal.SIGKILL
    assert not psutil.wait_procs(rest, timeout=HANG)[1], "workers end with their runner"
    assert len(shaken.finished_keys()) < 8
    assert_nothing_was_lost(shaken, make_plan(**changed), Store(tmp_path / "quiet"))


@pytest.mark.slow
def test_twenty_kills_in_two_hundred_runs(content: dict[str, Any], make_plan: MakePlan, tmp_path: Path) -> None:
    """SIGKILL of a worker or of the runner at random moments, resumed each time."""
    draw, kills, seeds = random.Random(0), 20, list(range(100))
    study, shaken = tmp_path / "study.toml", Store(tmp_path / "shaken")
    study.write_text(as_toml({**content, "seeds": seeds}))
    total, done = 200, 0
    seen: set[str] = set()
    while done < kills:
        process = start(study, shaken.path)
        before = len(shaken.finished_keys())
        # Kill only once something has begun, and not too late: each part of a study has to meet its end.
        aim = before + draw.uniform(0, 2 * (total - before) / (kills - done + 1))
        wait_for(lambda aim=aim, process=process: process.poll() is not None or len(shaken.finished_keys()) >= aim)  # type: ignore[misc]
        time.sleep(draw.uniform(0, 0.05))
        victims = family(process)
        workers = victims[1:]
        if workers and draw.random() < 0.4:  # a worker alone: the runner goes on
            with_luck = draw.choice(workers)
            if with_luck.is_running():
                with_luck.send_signal(signal.SIGKILL)
                done += 1
            time.sleep(draw.uniform(0, 0.5))
        if process.poll() is None and done < kills:
            process.end(signal.SIGKILL)
            done += 1
        assert not psutil.wait_procs(victims, timeout=HANG)[1], "workers end with their runner"
        assert seen <= shaken.finished_keys(), "what is finished stays"
        seen = shaken.finished_keys()
        if process.wait() == 0:
            break
    assert done > 0
    assert_nothing_was_lost(shaken, make_plan(seeds=seeds), Store(tmp_path / "quiet"))

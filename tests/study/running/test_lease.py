import json
import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from hybrid_dip.study.running import lease
from hybrid_dip.study.running.lease import acquire, holder


def rewrite(path: Path, **changed: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


def test_only_one_gets_it_and_the_next_one_after_a_release(tmp_path: Path) -> None:
    first = acquire(tmp_path / "run", {"run": "a"})
    assert first is not None
    assert acquire(tmp_path / "run", {}) is None
    held = holder(tmp_path / "run")
    assert held is not None
    assert (held.pid, held.about, held.alive) == (os.getpid(), {"run": "a"}, True)
    first.release()
    assert list((tmp_path / "run").iterdir()) == []
    assert acquire(tmp_path / "run", {}) is not None


def test_of_many_that_ask_at_once_one_gets_it(tmp_path: Path) -> None:
    for round_ in range(20):
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda _, number=round_: acquire(tmp_path / str(number), {}), range(8)))
        assert sum(one is not None for one in found) == 1


def test_the_lease_of_a_killed_process_is_taken_over_at_once(tmp_path: Path) -> None:
    code = (
        f"from hybrid_dip.study.running.lease import acquire; from pathlib import Path; acquire(Path({str(tmp_path)!r}), {{}})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    held = holder(tmp_path)
    assert held is not None
    assert not held.alive
    second = acquire(tmp_path, {})
    assert second is not None
    second.release()
    assert list(tmp_path.iterdir()) == []


def test_a_number_of_a_process_that_was_used_again_does_not_deceive(tmp_path: Path) -> None:
    first = acquire(tmp_path, {})
    assert first is not None
    rewrite(first.path, started=time.time() - 1e6)
    assert acquire(tmp_path, {}) is not None


def test_a_zombie_holds_nothing(tmp_path: Path) -> None:
    """Where nobody collects it, a dead process keeps its number."""
    code = (
        f"from hybrid_dip.study.running.lease import acquire; from pathlib import Path; acquire(Path({str(tmp_path)!r}), {{}})"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert acquire(tmp_path, {}) is not None
    process.wait()


def test_a_process_that_stands_still_is_given_up_in_the_end(tmp_path: Path) -> None:
    first = acquire(tmp_path, {})
    assert first is not None
    for age, free in ((lease.SILENCE + 1, False), (lease.STILLNESS + 1, True)):
        long_ago = time.time() - age
        os.utime(first.path, (long_ago, long_ago))
        assert (acquire(tmp_path, {}) is not None) == free


def test_a_lease_without_words_yet_is_alive_and_has_a_name(tmp_path: Path) -> None:
    (tmp_path / "lease.1").touch()
    found = holder(tmp_path)
    assert found is not None
    assert (found.host, found.alive) == ("?", True)


def test_a_long_label_in_any_script_is_cut_and_the_rest_stays(tmp_path: Path) -> None:
    first = acquire(tmp_path, {"run": "\u6a21" * 240, "step": 3})
    assert first is not None
    assert first.path.stat().st_size == 1024
    found = holder(tmp_path)
    assert found is not None
    assert (found.pid, found.about) == (os.getpid(), {"run": "\u6a21" * 120, "step": 3})


def test_a_holder_on_another_machine_is_dead_after_a_silence(tmp_path: Path) -> None:
    first = acquire(tmp_path, {})
    assert first is not None
    rewrite(first.path, host="elsewhere", pid=1)
    assert acquire(tmp_path, {}) is None, "it was heard of just now"
    long_ago = time.time() - lease.SILENCE - 1
    os.utime(first.path, (long_ago, long_ago))
    assert acquire(tmp_path, {}) is not None


def test_who_falls_silent_and_wakes_up_finds_the_lease_lost(tmp_path: Path) -> None:
    first = acquire(tmp_path, {})
    assert first is not None
    assert first.beat({"step": 1})
    rewrite(first.path, started=0.0)
    second = acquire(tmp_path, {})
    assert second is not None
    assert not first.beat({"step": 2})
    first.release()
    assert second.beat({"step": 3}), "the old holder does not take the new one's lease along"
    held = holder(tmp_path)
    assert held is not None
    assert held.about == {"step": 3}


def test_the_heart_beats_and_notices_a_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.01)
    first = acquire(tmp_path, {})
    assert first is not None
    with first.beating(lambda: {"step": 7}) as lost:
        deadline = time.monotonic() + 10
        while (held := holder(tmp_path)) is None or held.about != {"step": 7}:
            assert time.monotonic() < deadline
        assert not lost()
        first.path.unlink()
        while not lost():
            assert time.monotonic() < deadline


def test_a_sign_of_life_never_makes_the_file_longer(tmp_path: Path) -> None:
    first = acquire(tmp_path, {"run": "x" * 50})
    assert first is not None
    size = first.path.stat().st_size
    first.beat({"run": "x" * 500})
    assert first.path.stat().st_size == size


def test_forked_processes_have_names_of_their_own(tmp_path: Path) -> None:
    first = acquire(tmp_path, {})
    assert first is not None
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(acquire, (tmp_path, {})) is None

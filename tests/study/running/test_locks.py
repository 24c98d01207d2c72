import multiprocessing
import os
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hybrid_dip.study.running.locks import RUNNER, enlist, held, other_machines, remove_dead_runners, take
from tests.copies import InCopy
from tests.waiting import HANG, wait_for


def hold(mine: Path, parents: Path, there: Path) -> None:
    lock = take(mine)
    there.with_suffix(".new").write_text(f"{lock is not None} {held(parents)}")
    there.with_suffix(".new").replace(there)
    time.sleep(HANG)


def test_one_gets_it_and_the_next_after_a_release(tmp_path: Path) -> None:
    path = tmp_path / "run" / "lock"
    assert not held(path)
    first = take(path)
    assert first is not None
    assert take(path) is None
    assert held(path)
    first.release()
    assert not held(path)
    assert take(path) is not None


def test_of_many_that_ask_at_once_one_gets_it(tmp_path: Path) -> None:
    for round_ in range(20):
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda _, number=round_: take(tmp_path / str(number)), range(8)))
        assert sum(one is not None for one in found) == 1


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    """Also while the dead process is not collected, and keeps its number. It does not hold the lock of its parent."""
    path, parents, there = (tmp_path / name for name in ("lock", "parents", "there"))
    first = take(parents)
    assert first is not None
    process = multiprocessing.get_context("spawn").Process(target=hold, args=(path, parents, there))
    process.start()
    wait_for(there.exists)
    assert there.read_text() == "True True"
    first.release()
    assert not held(parents)
    assert held(path)
    assert take(path) is None
    process.kill()
    os.waitid(os.P_PID, process.pid or 0, os.WEXITED | os.WNOWAIT)
    assert not held(path)
    assert take(path) is not None
    process.join()


def test_a_file_that_was_removed_locks_nothing(tmp_path: Path) -> None:
    """A run's folder is removed when it is finished; whoever takes the next lock of that name looks again what is finished."""
    first = take(tmp_path / "run" / "lock")
    assert first is not None
    (tmp_path / "run" / "lock").unlink()
    (tmp_path / "run").rmdir()
    assert not held(tmp_path / "run" / "lock")
    assert take(tmp_path / "run" / "lock") is not None


def held_on_a_disk_that_is_read_only(disk: Path) -> bool:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], check=True)
    (disk / "lock").touch()
    subprocess.run(["mount", "-o", "remount,ro", "tmpfs", disk], check=True)
    return held(disk / "lock")


def test_a_lock_that_may_not_be_tried_counts_as_held(tmp_path: Path, in_namespace: InCopy) -> None:
    assert in_namespace(held_on_a_disk_that_is_read_only, tmp_path)


def test_a_runner_of_another_machine_is_seen_while_it_lives(tmp_path: Path) -> None:
    runner = enlist(tmp_path)
    assert Path(runner.lock_file).name.endswith(f".{socket.gethostname()}")
    assert other_machines(tmp_path) == set()
    theirs = take(tmp_path / f"{RUNNER}0123abcd.far.away.org")
    assert theirs is not None
    assert other_machines(tmp_path) == {"far.away.org"}
    theirs.release()
    assert other_machines(tmp_path) == set()


def test_files_of_killed_runners_of_this_machine_are_removed(tmp_path: Path) -> None:
    alive, dead = enlist(tmp_path), enlist(tmp_path)
    dead.release()
    (tmp_path / f"{RUNNER}0123abcd.elsewhere").touch()
    remove_dead_runners(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {Path(alive.lock_file).name, f"{RUNNER}0123abcd.elsewhere"}

import resource
import shutil
import subprocess
from pathlib import Path

import pytest

from hybrid_dip.errors import StorageError
from hybrid_dip.study.running.locks import enlist, take
from hybrid_dip.study.running.progress import Progress
from hybrid_dip.study.running.store import Store
from tests.copies import InCopy


def test_a_run_appears_whole_or_not_at_all(store: Store) -> None:
    def fail(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        store.publish("a", {"error": "", "metrics": {}}, fail)
    assert not store.has("a")
    assert list((store.path / "runs").iterdir()) == list(store.work("a").iterdir()) == []
    assert store.publish("a", {"error": "", "metrics": {"psnr": 1}})
    assert store.record("a") == {"error": "", "metrics": {"psnr": 1}}
    assert store.finished_keys() == {"a"}
    store.run("b").mkdir()
    assert store.finished_keys() == {"a"}, "an empty folder is no finished run"
    assert store.publish("b", {"error": "", "metrics": {}})
    assert store.finished_keys() == {"a", "b"}


def test_an_attempt_that_was_swept_away_is_dropped(store: Store) -> None:
    assert not store.publish("a", {"error": "", "metrics": {}}, lambda folder: shutil.rmtree(folder))
    assert not store.has("a")


def test_the_first_to_publish_stays(store: Store) -> None:
    store.publish("a", {"error": "", "metrics": {"a": 1}})
    store.publish("a", {"error": "", "metrics": {"a": 2}})
    assert store.records(["a", "b"]) == {"a": {"error": "", "metrics": {"a": 1}}}
    assert [path.name for path in (store.path / "runs").iterdir()] == ["a"]


def test_what_killed_workers_left_is_swept(store: Store) -> None:
    store.publish("b", {"error": "", "metrics": {}})
    for key in ("a", "b"):
        (store.work(key) / "12345678.partial").mkdir(parents=True)
        store.sweep(key)
    assert list(store.work("a").iterdir()) == [], "of a run that is not finished the folder stays, for its state"
    assert not store.work("b").exists()
    assert store.finished_keys() == {"b"}


def test_what_others_are_at_is_not_cleared(store: Store) -> None:
    theirs, runner, killed = take(store.lock("a")), enlist(store.path / "work"), enlist(store.path / "work")
    assert theirs is not None
    killed.release()
    store.publish("b", {"error": "", "metrics": {}})
    (store.work("b") / "12345678.partial").mkdir(parents=True)
    store.clear(["a", "b"])
    assert {path.name for path in (store.path / "work").iterdir()} == {Path(runner.lock_file).name, "a"}
    theirs.release()
    runner.release()
    shutil.rmtree(store.work("a"))
    store.clear()
    assert not (store.path / "work").exists()


def test_what_is_going_on_is_what_is_locked(store: Store) -> None:
    theirs = take(store.lock("a"))
    assert theirs is not None
    assert store.in_progress() == {}, "nothing is known of it yet"
    progress = Progress("run a", step=3)
    progress.write(store.progress("a"))
    store.work("b").mkdir()
    Progress("run b, whose worker was killed").write(store.progress("b"))
    enlist(store.path / "work")
    assert store.in_progress() == {"a": progress}
    theirs.release()
    assert store.in_progress() == {}


def test_a_discarded_run_is_gone_in_one_move(store: Store) -> None:
    store.publish("a", {"error": "x"})
    store.discard("a")
    store.discard("a")
    assert not store.has("a")
    assert list((store.path / "runs").iterdir()) == list(store.work("a").iterdir()) == []


def test_a_damaged_manifest_is_named(store: Store) -> None:
    store.publish("a", {"error": "", "metrics": {}})
    (store.run("a") / "run.json").write_text("{")
    with pytest.raises(StorageError, match=r"run\.json is missing or damaged; remove the folder"):
        store.record("a")


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match=r"cannot be written .*: what is finished is safe"):
        Store(tmp_path / "file" / "out").publish("a", {})


def fill(place: Path) -> tuple[str, list[str], int, list[Path]]:
    """Publish what fits and what does not; what was said, the runs that are there, a file's size, and what is left over."""
    store = Store(place / "out")
    store.publish("a", {"error": "", "metrics": {}}, lambda folder: (folder / "x").write_bytes(b"x" * 100_000))
    with pytest.raises(StorageError) as caught:
        store.publish("b", {"error": "", "metrics": {}}, lambda folder: (folder / "x").write_bytes(b"x" * 300_000))
    runs = sorted(path.name for path in (store.path / "runs").iterdir())
    return str(caught.value), runs, (store.run("a") / "x").stat().st_size, list(store.work("b").iterdir())


def fill_a_small_disk(place: Path) -> tuple[str, list[str], int, list[Path]]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], check=True)
    return fill(place)


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, in_namespace: InCopy) -> None:
    sentence, *rest = in_namespace(fill_a_small_disk, tmp_path)
    assert "cannot be written (No space left on device): what is finished is safe" in sentence
    assert rest == [["a"], 100_000, []]


def fill_with_small_files(place: Path) -> tuple[str, list[str], int, list[Path]]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    return fill(place)


def test_a_file_that_grows_too_large_leaves_nothing_half_written(tmp_path: Path, in_copy: InCopy) -> None:
    """The same where no file system may be mounted: a limit on the size of files stops the write in the middle."""
    sentence, *rest = in_copy(fill_with_small_files, tmp_path)
    assert "cannot be written (File too large): what is finished is safe" in sentence
    assert rest == [["a"], 100_000, []]


def test_outputs_and_histories_that_are_missing_or_damaged_are_named(store: Store) -> None:
    store.publish("a", {"error": "", "metrics": {}})
    for read, name in ((store.output, "output.npy"), (store.history, "history.csv")):
        with pytest.raises(StorageError, match=rf"{name} is missing or damaged; remove the folder"):
            read("a")
        (store.run("a") / name).write_bytes(b"step,seed\nx,y\n")
        with pytest.raises(StorageError, match=rf"{name} is missing or damaged"):
            read("a")
    for content in ("[]", "{}", '{"error": ""}'):
        (store.run("a") / "run.json").write_text(content)
        with pytest.raises(StorageError, match=r"run\.json is missing or damaged"):
            store.record("a")

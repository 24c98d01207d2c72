import os
import socket
from pathlib import Path

import pytest

from hybrid_dip.study.running import progress as progress_module
from hybrid_dip.study.running.progress import Progress, Watch, read_progress


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = Progress("a, denoise, dip, seed 0", step=3, steps=5)
    written.write(tmp_path / "progress.json")
    assert read_progress(tmp_path / "progress.json") == written
    assert written.worker == f"{socket.gethostname()}:{os.getpid()}"


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"other": 1}'])
def test_what_cannot_be_read_is_not_known(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "progress.json").write_text(content)
    assert read_progress(tmp_path / "progress.json") is None


def test_a_note_that_cannot_be_written_hinders_nothing(tmp_path: Path) -> None:
    Progress("a").write(tmp_path / "missing" / "progress.json")


def test_a_watch_says_how_far_it_is_and_stops_when_the_runner_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "LOOK", 0.0)
    runner, file = tmp_path / "runner", tmp_path / "progress.json"
    runner.touch()
    watch = Watch(Progress("a"), file, runner)
    assert read_progress(file) == watch.progress
    watch.progress.step = 7
    assert not watch()
    assert read_progress(file) == watch.progress
    runner.unlink()
    assert watch()
    assert not Watch(Progress("a"), file, None)(), "who has no runner is never asked to stop"


def test_a_watch_looks_only_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "LOOK", 1e9)
    assert not Watch(Progress("a"), tmp_path / "progress.json", tmp_path / "gone")()

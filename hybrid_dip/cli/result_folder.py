"""The result folder: when it may be used, what it was begun with, and what of it is ours."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hybrid_dip.errors import SettingsError, StorageError
from hybrid_dip.images.atomic import write_text
from hybrid_dip.restoring.manifest import HISTORY, MANIFEST

SETTINGS = "settings.json"
OWN_FILES = (
    "restored.png",
    "restored.npy",
    "restored-seed-*.png",
    "last.png",
    "last.npy",
    "deviation.png",
    "deviation.npy",
    HISTORY,
    "curves.png",
    "comparison.png",
    "fit.gif",
    "arm-*.png",
    "weights.png",
    "weights.npy",
    "weights-*.png",
)


class ResultFolder:
    """The folder of one restoration. It begins with ``checkpoint/settings.json`` and is complete with ``run.json``.

    Args:
        path: The folder. Its parents are made where needed.
    """

    def __init__(self, path: Path):
        self.path = path
        self._made = False

    @property
    def checkpoints(self) -> Path:
        """Where the states of unfinished fits are saved."""
        return self.path / "checkpoint"

    @property
    def logs(self) -> Path:
        """Where each fit has a folder of event files for TensorBoard."""
        return self.path / "tensorboard"

    @property
    def finished(self) -> bool:
        """Whether everything is written: the manifest comes last."""
        return (self.path / MANIFEST).exists()

    def check(self, settings: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Refuse a folder that cannot be used. Nothing is changed.

        Args:
            settings: Everything that the result depends on. A run can be resumed only with the same settings, or more steps.
            resume: Whether to go on where an earlier run stopped.
            overwrite: Whether to remove an earlier run.

        Raises:
            SettingsError: The folder holds results and neither was asked for; it is not a result folder; the settings differ.
        """
        if resume and overwrite:
            raise SettingsError("Choose one of --resume and --overwrite: the first goes on, the second starts anew.")
        if self.path.exists() and not self.path.is_dir():
            raise SettingsError(f"{self.path} is a file; a folder for the results was expected.")
        if not self.path.exists() or not any(self.path.iterdir()):
            return
        if not resume and not overwrite:
            raise SettingsError(f"{self.path} already holds results: add --resume to go on, or --overwrite to start anew.")
        if not self._has_settings and not self._is_abandoned:
            raise SettingsError(f"{self.path} is not a result folder of this program; it is left as it is.")
        if resume and self._has_settings and not self.fewer_steps(settings):
            self._check_settings(settings)

    def fewer_steps(self, settings: Mapping[str, Any]) -> int:
        """The steps that an earlier run was begun with, where it differs from the settings by having had fewer; else 0."""
        before, now = _flat(self.settings()), _flat(json.loads(_as_text(settings)))
        differing = {name for name in {**before, **now} if before.get(name) != now.get(name)}
        longer = differing == {"steps"} and "fuse" not in now and before.get("steps", 0) < now["steps"]
        return int(before["steps"]) if longer else 0

    def lengthen(self, settings: Mapping[str, Any], *, keep: str = "*") -> None:
        """Let a run that may be finished go on to more steps; its results stay until there are others.

        Args:
            settings: What it is begun with now.
            keep: Pattern of the names of states that go on; the others are removed.
        """
        (self.path / MANIFEST).unlink(missing_ok=True)
        kept = {*self.checkpoints.glob(f"{keep}.pt")}
        for state in {*self.checkpoints.glob("*.pt")} - kept:
            state.unlink()
        write_text(self.checkpoints / SETTINGS, _as_text(settings))

    def open(self, settings: Mapping[str, Any], *, overwrite: bool) -> None:
        """Make the folder, or take over the one that :meth:`check` allowed.

        Args:
            settings: Everything that the result depends on.
            overwrite: Whether to remove an earlier run.

        Raises:
            SettingsError: The folder cannot be written.
        """
        self._made = not self.path.exists()
        try:
            if overwrite and self._has_settings:
                self._remove_results()
            for leftover in (*self.checkpoints.glob(".*.partial*"), *self.path.glob(".*.partial*")):
                leftover.unlink()  # a run that was killed left it half written
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            if not self._has_settings:
                write_text(self.checkpoints / SETTINGS, _as_text(settings))
        except OSError as error:
            self.discard_if_empty()
            raise SettingsError(f"{self.path} cannot be written: {error.strerror or error}.") from None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around the writing of results: what hinders it becomes one sentence, which says how to go on.

        Raises:
            StorageError: The file system refused.
        """
        try:
            yield
        except OSError as error:
            reason = str(error.strerror or error).rstrip(".")
            raise StorageError(
                f"The results cannot be written to {self.path} ({reason}): make room, and repeat the command with --resume, "
                f"which goes on from what is saved."
            ) from None

    def _remove_results(self) -> None:
        """Remove what a run writes, the manifest first. What else lies beside it stays."""
        for pattern in (MANIFEST, *OWN_FILES):
            for path in self.path.glob(pattern):
                path.unlink()
        shutil.rmtree(self.logs, ignore_errors=True)
        shutil.rmtree(self.checkpoints)

    def discard_if_empty(self) -> None:
        """After a failure, remove what :meth:`open` made, unless a state was saved in it."""
        if any(self.checkpoints.glob("*.pt")) or self.finished:
            return
        shutil.rmtree(self.logs, ignore_errors=True)
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        if self._made and self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()

    @property
    def _has_settings(self) -> bool:
        return (self.checkpoints / SETTINGS).exists()

    @property
    def _is_abandoned(self) -> bool:
        """Whether a run was killed here before it had written its settings, and there is nothing else."""
        inside = list(self.checkpoints.iterdir()) if self.checkpoints.is_dir() else [self.path]
        alone = [path.name for path in self.path.iterdir()] == [self.checkpoints.name]
        return alone and all(path.name.startswith(f".{Path(SETTINGS).stem}.") for path in inside)

    def settings(self) -> dict[str, Any]:
        """The settings of the run in this folder; empty where there is no run.

        Raises:
            SettingsError: Their file is damaged.
        """
        if not self._has_settings:
            return {}
        try:
            before = json.loads((self.checkpoints / SETTINGS).read_text())
        except ValueError:
            before = None
        if not isinstance(before, dict):
            raise SettingsError(f"{self.checkpoints / SETTINGS} is damaged; start anew with --overwrite.")
        return before

    def _check_settings(self, settings: Mapping[str, Any]) -> None:
        before, now = _flat(self.settings()), _flat(json.loads(_as_text(settings)))
        names = [name for name in sorted({**before, **now}) if before.get(name) != now.get(name)]
        if names:
            error = SettingsError(f"{self.path} began with other settings; repeat them to --resume, or --overwrite:")
            for name in names:
                error.add_note(f"{name}: {_short(before.get(name))}, now {_short(now.get(name))}")
            raise error


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting by a name of its own; those of the recipe and the task by the names that users know them by."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            own = "" if name in ("recipe", "task_options") else f"{name}."
            flat |= {own + inner: one for inner, one in _flat(value).items()}
        else:
            flat.setdefault(name, value)
    return flat


def _short(value: Any) -> str:
    """A value as it is shown; of a hash the beginning tells two apart."""
    if value is None or value == "":
        return "none"
    text = ", ".join(map(_short, value)) or "none" if isinstance(value, list) else str(value)
    return text[:8] if re.fullmatch("[0-9a-f]{64}", text) else text


def _as_text(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, indent=2, sort_keys=True, default=str) + "\n"

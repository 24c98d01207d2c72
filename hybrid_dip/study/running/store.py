"""The study's folder: a folder for each finished run, named by the hash of all that the run depends on.

    runs/KEY/run.json      what was fitted, the metrics, or the error
    runs/KEY/output.npy    the network's kept output before finishing, float32 (H, W, C)
    runs/KEY/restored.png  what it looks like
    runs/KEY/history.csv   a row for each logged step
    runs/KEY/weights.npy   the weight of each arm of a stack as a map, float32 (H, W, K)
    work/KEY/              of a run that is going on: its lock, how far it is, the state to resume from

A run's folder is written under a temporary name and renamed, so it is either whole or absent.
"""

import contextlib
import csv
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hybrid_dip.errors import StorageError
from hybrid_dip.restoring.manifest import HISTORY, MANIFEST, write_manifest
from hybrid_dip.study.running.locks import held, remove_dead_runners
from hybrid_dip.study.running.progress import Progress, read_progress

OUTPUT = "output.npy"
RESTORED = "restored.png"
WEIGHTS = "weights.npy"


class UnwritableError(StorageError):
    """A study's folder cannot be written."""


def _damaged(path: Path) -> StorageError:
    return StorageError(f"{path} is missing or damaged; remove the folder {path.parent} and run the study again.")


class Store:
    """A study's folder.

    Args:
        path: Made at the first write.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def run(self, key: str) -> Path:
        """Folder of a finished run."""
        return self.path / "runs" / key

    def work(self, key: str) -> Path:
        """Folder of an unfinished run."""
        return self.path / "work" / key

    def lock(self, key: str) -> Path:
        """The file that the worker of a run holds locked."""
        return self.work(key) / "lock"

    def progress(self, key: str) -> Path:
        """The file that says how far an unfinished run is."""
        return self.work(key) / "progress.json"

    def has(self, key: str) -> bool:
        """Whether a run is finished, well or with an error."""
        return (self.run(key) / MANIFEST).exists()

    def record(self, key: str) -> dict[str, Any] | None:
        """What a finished run has to say.

        Args:
            key: Key of the run.

        Returns:
            The content of its run.json; None where the run is not finished.

        Raises:
            StorageError: The file is damaged.
        """
        path = self.run(key) / MANIFEST
        try:
            record = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            raise _damaged(path) from None
        if not isinstance(record, dict) or "error" not in record or (not record["error"] and "metrics" not in record):
            raise _damaged(path)
        return record

    def records(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """What those of the runs that are finished have to say."""
        there = self.finished_keys()
        records = {key: self.record(key) for key in keys if key in there}
        return {key: record for key, record in records.items() if record is not None}

    def output(self, key: str) -> Tensor:
        """What the network put out at the step that was kept, before finishing.

        Args:
            key: Key of a run that finished well.

        Returns:
            (1, C, H, W).

        Raises:
            StorageError: The file is missing or damaged.
        """
        path = self.run(key) / OUTPUT
        try:
            array = np.load(path)
        except (OSError, ValueError, EOFError):
            raise _damaged(path) from None
        return torch.from_numpy(array[..., None] if array.ndim == 2 else array).permute(2, 0, 1)[None].contiguous()

    def weights(self, key: str) -> Tensor | None:
        """The weights of a stack's arms as maps.

        Args:
            key: Key of a run that finished well.

        Returns:
            (K, H, W); None where it was no stack, or had one weight for the whole image.

        Raises:
            StorageError: The file is damaged.
        """
        path = self.run(key) / WEIGHTS
        if not path.exists():
            return None
        try:
            return torch.from_numpy(np.load(path)).permute(2, 0, 1).contiguous()
        except (OSError, ValueError, EOFError):
            raise _damaged(path) from None

    def history(self, key: str) -> list[dict[str, float]]:
        """The log of a run's fits.

        Args:
            key: Key of a run that finished well.

        Returns:
            A row for each logged step, with the seed and the PSNR of the finished image.

        Raises:
            StorageError: The file is missing or damaged.
        """
        path = self.run(key) / HISTORY
        try:
            with path.open(newline="") as handle:
                return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(handle)]
        except (OSError, ValueError, TypeError):
            raise _damaged(path) from None

    def finished_keys(self) -> set[str]:
        """Keys of all finished runs in the folder, also of other versions of the study."""
        folder = self.path / "runs"
        names = [entry.name for entry in os.scandir(folder)] if folder.is_dir() else []
        return {name for name in names if self.has(name)}

    def publish(self, key: str, manifest: Mapping[str, Any], write: Callable[[Path], None] = lambda folder: None) -> bool:
        """Make a run's folder appear, whole.

        Where another worker was faster, its folder stays and this one is dropped.

        Args:
            key: Key of the run.
            manifest: The content of run.json.
            write: Function that writes the other files into a folder.

        Returns:
            False where this attempt was removed meanwhile.

        Raises:
            UnwritableError: It cannot be written; nothing is left behind.
        """
        temporary = self.work(key) / f"{secrets.token_hex(4)}.partial"
        with self.writing():
            self.run(key).parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir(parents=True)
            try:
                write(temporary)
                write_manifest(temporary / MANIFEST, manifest)
                temporary.rename(self.run(key))
            except OSError:
                if self.has(key):
                    return True
                if not temporary.exists():
                    return False
                raise
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return True

    def sweep(self, key: str) -> None:
        """Remove what killed workers of a run have left; only the holder of its lock may.

        Args:
            key: Key of the run.
        """
        for leftover in self.work(key).glob("*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)
        if self.has(key):
            shutil.rmtree(self.work(key), ignore_errors=True)

    def clear(self, keys: Iterable[str] = ()) -> None:
        """Remove what killed workers and runners have left behind.

        Args:
            keys: Keys of finished runs.
        """
        folder = self.path / "work"
        there = {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()
        for key in there & set(keys):
            self.sweep(key)
        remove_dead_runners(folder)
        with contextlib.suppress(OSError):  # others are still at work, or there is nothing
            folder.rmdir()

    def discard(self, key: str) -> None:
        """Forget a finished run, so that it is done again; only the holder of its lock may.

        Args:
            key: Key of the run.

        Raises:
            UnwritableError: It cannot be removed.
        """
        hidden = self.work(key) / f"{secrets.token_hex(4)}.partial"
        with self.writing():
            hidden.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                self.run(key).rename(hidden)  # in one move: a half-removed run must not look finished
                shutil.rmtree(hidden)

    def in_progress(self) -> dict[str, Progress]:
        """What is being worked on at this moment, by the key of the run."""
        folder = self.path / "work"
        keys = [entry.name for entry in os.scandir(folder) if entry.is_dir()] if folder.is_dir() else []
        notes = {key: read_progress(self.progress(key)) for key in keys if held(self.lock(key))}
        return {key: progress for key, progress in notes.items() if progress is not None}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around a write: what hinders it becomes one sentence.

        Raises:
            UnwritableError: The file system refused.
        """
        try:
            yield
        except UnwritableError:
            raise
        except OSError as error:
            reason = str(error.strerror or error).rstrip(".")
            raise UnwritableError(
                f"The study's folder {self.path} cannot be written ({reason}): what is finished is safe; make room or name "
                f"another folder, and run the same command again."
            ) from None

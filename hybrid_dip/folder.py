"""The result folder: restored.png, last.png, history.csv, run.json, curves.png, comparison.png, checkpoint/."""

import csv
import io
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hybrid_dip.errors import SettingsError
from hybrid_dip.files import write_text

SETTINGS = "settings.json"
MANIFEST = "run.json"


class ResultFolder:
    """A folder that belongs to one restoration: begun with ``checkpoint/settings.json``, finished with ``run.json``.

    Args:
        path: The folder; its parents are made where needed.
    """

    def __init__(self, path: Path):
        self.path = path

    @property
    def checkpoints(self) -> Path:
        """Where the states of unfinished fits are."""
        return self.path / "checkpoint"

    @property
    def finished(self) -> bool:
        """True once everything is written: the manifest comes last."""
        return (self.path / MANIFEST).exists()

    def open(self, settings: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Make the folder, or take over the one that is there.

        Args:
            settings: Everything that the result depends on; a resumed run must have the same.
            resume: Go on where an earlier run stopped.
            overwrite: Remove an earlier run.

        Raises:
            SettingsError: The folder holds something and neither was asked for, it is not a result folder, the settings
                differ, or it cannot be written.
        """
        if resume and overwrite:
            raise SettingsError("Choose one of --resume and --overwrite: the first goes on, the second starts anew.")
        if self.path.exists() and not self.path.is_dir():
            raise SettingsError(f"{self.path} is a file; a folder for the results was expected.")
        text = json.dumps(settings, indent=2, sort_keys=True, default=str) + "\n"
        self._sweep()
        if self.path.exists() and any(self.path.iterdir()):
            ours = (self.checkpoints / SETTINGS).exists()
            if not ours and (resume or overwrite):
                raise SettingsError(f"{self.path} is not a result folder of this program; it is left as it is.")
            if not resume and not overwrite:
                raise SettingsError(f"{self.path} already holds results: add --resume to go on, or --overwrite to start anew.")
            if resume:
                self._check_settings(json.loads(text))
                return
            shutil.rmtree(self.path)
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            write_text(self.checkpoints / SETTINGS, text)
        except OSError as error:
            raise SettingsError(f"{self.path} cannot be written: {error.strerror or error}.") from None

    def _sweep(self) -> None:
        """Remove what a killed run of ours left half-written: temporary files, and a folder without settings yet."""
        for place in (self.checkpoints, self.path):
            for leftover in place.glob(".*.partial*"):
                leftover.unlink()
        if self.checkpoints.is_dir() and not any(self.checkpoints.iterdir()):
            self.checkpoints.rmdir()

    def _check_settings(self, settings: Mapping[str, Any]) -> None:
        before = json.loads((self.checkpoints / SETTINGS).read_text())
        differing = [key for key in {**before, **settings} if before.get(key) != settings.get(key)]
        if differing:
            key = sorted(differing)[0]
            raise SettingsError(
                f"{self.path} began with other settings ({key}: {before.get(key)}, now {settings.get(key)}): repeat these to "
                f"--resume, or --overwrite."
            )

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write history.csv; columns are the union of the rows' keys, "seconds" last."""
        columns = [*dict.fromkeys(key for row in rows for key in row if key != "seconds"), "seconds"]
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.path / "history.csv", buffer.getvalue())

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write run.json, the last file of a run."""
        write_text(self.path / MANIFEST, json.dumps(_plain(manifest), indent=2) + "\n")


def _plain(value: Any) -> Any:
    """JSON has no infinity: an exact match is written as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)

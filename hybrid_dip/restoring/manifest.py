"""The two files of text beside a restored image: history.csv and run.json."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hybrid_dip.images.atomic import write_text

try:
    __version__ = version("hybrid-dip")
except PackageNotFoundError:  # used from a folder without being installed
    __version__ = "0"

MANIFEST = "run.json"
HISTORY = "history.csv"


def write_history(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write the log of a fit as CSV. There is a column for each key of any row; "seconds" comes last.

    Args:
        path: The file to write.
        rows: A row for each logged step.
    """
    columns = [*dict.fromkeys(key for row in rows for key in row if key != "seconds"), "seconds"]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, buffer.getvalue())


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write what there is to say of a run as JSON.

    Args:
        path: The file to write.
        manifest: Any values; those that JSON does not know are written as text.
    """
    write_text(path, json.dumps(_plain(manifest), indent=2) + "\n")


def _plain(value: Any) -> Any:
    """Make plain JSON of a value. JSON has no infinity: the PSNR of an exact match is written as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)

"""The gallery's scripts, as they are or made small enough to be tried on every change.

Each script has one line ``steps, side = N, M``: the steps of each fit, and the side of its images in pixels.
"""

import re
import shutil
from pathlib import Path

SIZES = re.compile(r"^steps, side = \d+, \d+$", re.MULTILINE)
SMALL = "steps, side = 12, 32"


def shrink(script: str) -> str:
    """A script with few steps and small images.

    Args:
        script: The text of a script of the gallery.

    Returns:
        The same script with other numbers in its line of sizes.

    Raises:
        ValueError: It has no such line, or several.
    """
    text, count = SIZES.subn(SMALL, script)
    if count != 1:
        raise ValueError(f"A script of the gallery has one line 'steps, side = N, M'; {count} were found.")
    return text


def gallery(docs: Path, *, small: bool) -> str:
    """The folder that the gallery is built from.

    Args:
        docs: The folder of the pages.
        small: Whether the scripts are to be small; then copies are written into ``docs/_build``.

    Returns:
        The folder, relative to the repository.
    """
    if not small:
        return "docs/gallery"
    copies = docs / "_build/small"
    shutil.rmtree(copies, ignore_errors=True)
    shutil.copytree(docs / "gallery", copies, ignore=shutil.ignore_patterns("__pycache__"))
    for script in copies.glob("*.py"):
        script.write_text(shrink(script.read_text()))
    return "docs/_build/small"

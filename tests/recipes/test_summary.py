"""A part says what it is by its docstring, which is read without importing the part."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.recipes.summary import one_line, summary_of

SOURCE = '''
"""A module that must not be imported."""
raise AssertionError

from .other import Inner as Shown

def plain(x):
    """Mean of :func:`abs`, in ``x``'s units.

    More.
    """

class Wrapped:
    """One sentence
    on two lines."""

assigned = 3
"""Three."""
annotated: int = 4
"""Four."""
bare = 5
'''


@pytest.mark.parametrize(
    ("name", "summary"),
    [
        ("plain", "Mean of abs, in x's units"),
        ("Wrapped", "One sentence on two lines"),
        ("assigned", "Three"),
        ("annotated", "Four"),
        ("bare", ""),
        ("missing", ""),
        ("Shown", "From another file"),
    ],
)
def test_the_docstrings_first_paragraph_is_read_from_the_source(
    name: str, summary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / f"unimported_{name.lower()}"  # a package of its own for each case: sources are read once
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "parts.py").write_text(SOURCE)
    (package / "other.py").write_text('class Inner:\n    """From another file."""\n')
    monkeypatch.syspath_prepend(tmp_path)
    assert summary_of(f"{package.name}.parts:{name}") == summary


def test_a_module_that_is_missing_has_no_summary() -> None:
    assert summary_of("a_module_that_is_missing:thing") == ""
    assert summary_of("math:sqrt") == ""


@pytest.mark.parametrize("kind", ["regularisers", "presets", "networks", "stopping", "tasks"])
def test_a_summary_is_what_the_part_itself_says(kind: str) -> None:
    for entry in catalogue().entries(kind).values():
        assert entry.summary == one_line((inspect.getdoc(entry.load()) or "").partition("\n\n")[0])


LISTING = """
import sys
from hybrid_dip.recipes import listing
from hybrid_dip.recipes.catalogue import KINDS, catalogue
assert all(entry.summary for kind in KINDS for entry in catalogue().entries(kind).values())
assert all(listing.rows(kind) for kind in KINDS)
heavy = "cyclopts deepinv gradio lpips matplotlib ray skimage tensorboard timm torchmetrics wandb".split()
print(*(name for name in heavy if name in sys.modules))
"""


def test_listing_the_catalogue_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", LISTING], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")

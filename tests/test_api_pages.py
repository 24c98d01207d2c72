"""docs/api/ has every public name, and docs/index.md every page."""

import ast
import re
from pathlib import Path
from types import ModuleType

import pytest

import hybrid_dip as hd
import pretrained

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs/api"
ENTRY = re.compile(r"^(?:   ~?|\.\. auto(?:function|class|data):: )(?:\w+\.)*(\w+)$", re.MULTILINE)
EXPOSED = {name: part for name in hd.__all__ if isinstance(part := getattr(hd, name), ModuleType)}
SOURCES = {
    **{name: Path(str(module.__file__)) for name, module in EXPOSED.items()},
    "pretrained": Path(pretrained.__file__),
    "deepinv": ROOT / "hybrid_dip/restoring/deepinv/__init__.py",  # imported when it is asked for: an extra
}


def names_on(page: str) -> set[str]:
    return set(ENTRY.findall((PAGES / f"{page}.rst").read_text()))


def public_names(source: Path) -> set[str]:
    """What ``__all__`` lists; without one, all functions and classes whose names do not begin with a line."""
    tree = ast.parse(source.read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"}


def test_the_first_page_has_every_name_of_the_package() -> None:
    modules = re.findall(r"`hd\.(\w+)(?: <|``)", (PAGES / "index.rst").read_text())
    assert set(hd.__all__) - names_on("index") - set(modules) == set()


@pytest.mark.parametrize("page", SOURCES)
def test_a_page_has_every_name_of_its_module(page: str) -> None:
    assert public_names(SOURCES[page]) - names_on(page) == set(), f"docs/api/{page}.rst lacks them"


def test_every_page_is_in_a_list_of_pages() -> None:
    listed = (ROOT / "docs/index.md").read_text().split()
    assert [page.stem for page in (ROOT / "docs").glob("*.md") if page.stem not in [*listed, "index"]] == []
    listed = (PAGES / "index.rst").read_text().split()
    assert [page.stem for page in PAGES.glob("*.rst") if page.stem not in [*listed, "index"]] == []

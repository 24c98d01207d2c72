"""The one rule of the layout: a folder imports only folders above it in the list of docs/architecture.md."""

import ast
import re
from pathlib import Path

import pytest

import hybrid_dip

PACKAGE = Path(hybrid_dip.__file__).parent
ORDER = [
    "errors",
    "contracts",
    "images",
    "problem",
    "networks",
    "regularisers",
    "execution",
    "stopping",
    "fitting",
    "recipes",
    "restoring",
    "fusion",
    "study",
    "app",
    "cli",
]
STUDY = ["describe", "running", "reporting", "ready_made"]


def imported(path: Path) -> set[str]:
    """The modules of this package that a file imports, wherever in the file it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert node.level == 0, f"{path} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in ("hybrid_dip", "pretrained")}


def place(name: str, folder: str) -> str:
    """hybrid_dip.networks.skip -> networks."""
    return name.removeprefix(f"{folder}.").split(".")[0]


def upward(own: str, other: str, order: list[str]) -> bool:
    return order.index(other) > order.index(own)


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*/**/*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_folder_imports_only_folders_above_it(path: Path) -> None:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    for name in imported(path):
        assert not name.startswith("pretrained"), f"{path} imports {name}: the core knows no learned prior"
        assert not upward(parts[0], place(name, "hybrid_dip"), ORDER), f"{path} imports {name}, which is below it"
        if parts[0] == "study" and name.startswith("hybrid_dip.study."):
            assert not upward(parts[1], place(name, "hybrid_dip.study"), STUDY), f"{path} imports {name}, which is below it"


def test_the_package_holds_what_the_order_names() -> None:
    assert {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()} - {"__init__", "__pycache__"} == {
        *ORDER
    }
    assert {path.name for path in (PACKAGE / "study").iterdir() if path.is_dir()} - {"__pycache__"} == {*STUDY}


def test_the_documentation_prints_the_same_order() -> None:
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    listed = re.findall(r"^\| `(\w+)(?:/|\.py)` \|", text, re.MULTILINE)
    assert listed == ORDER

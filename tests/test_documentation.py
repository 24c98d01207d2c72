"""Every public function and class says what it takes, gives and raises."""

import ast
from pathlib import Path

import pytest

import hybrid_dip

PACKAGE = Path(hybrid_dip.__file__).parent


def public_functions(path: Path) -> list[ast.FunctionDef]:
    return [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"]


COMMANDS = ("app", "restore", "degrade", "noise", "study", "image_studies")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_docstrings_name_every_argument_the_result_and_the_errors(path: Path) -> None:
    if path.parent.name == "cli" and path.name in (
        "app.py",
        "restore.py",
        "degrade.py",
        "noise.py",
        "study.py",
        "image_studies.py",
    ):
        return  # its functions are commands; their help is the documentation
    for function in public_functions(path):
        text = ast.get_docstring(function) or ""
        assert text, f"{function.name} has no docstring"
        arguments = [a.arg for a in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
        one_line = "\n" not in text
        if one_line:
            assert len(arguments) <= 3, f"{function.name} needs an Args section"
            continue
        for name in arguments:
            assert f"{name}:" in text, f"{function.name} does not explain '{name}'"
        returns_nothing = isinstance(function.returns, ast.Constant) and function.returns.value is None
        assert returns_nothing or "Returns:" in text or "Yields:" in text, f"{function.name} does not say what it returns"
        raises = any(isinstance(node, ast.Raise) and node.exc is not None for node in ast.walk(function))
        assert not raises or "Raises:" in text, f"{function.name} does not say what it raises"

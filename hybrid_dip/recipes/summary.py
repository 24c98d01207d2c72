"""What a part is, in one line: the first paragraph of its docstring, read from the source without importing it."""

import ast
import re
import textwrap
from functools import cache
from importlib.util import resolve_name
from itertools import pairwise

from hybrid_dip.recipes.loading import source_of

_MARKUP = re.compile(r":\w+:`~?([^`]*)`|``([^`]*)``")


def summary_of(target: str) -> str:
    """Read the first paragraph of a docstring.

    The name may be imported into the module from another one. A name that is assigned is described by the string that follows.

    Args:
        target: "package.module:attribute".

    Returns:
        One line without reStructuredText and without a full stop at its end; "" where there is no docstring or no source.
    """
    module, _, name = target.partition(":")
    return one_line(_docstring(module, name).strip().partition("\n\n")[0])


def formula_of(target: str) -> str:
    """Read the formula in a docstring, without importing the part.

    Args:
        target: As for :func:`summary_of`.

    Returns:
        The first paragraph that is set in or begins with "R(", as lines without their indent; "" where there is none.
    """
    module, _, name = target.partition(":")
    set_in = (part for part in _docstring(module, name).split("\n\n") if part.startswith(("    ", "R(")))
    return textwrap.dedent(next(set_in, ""))


def one_line(paragraph: str) -> str:
    """A paragraph of a docstring as one line, without reStructuredText and without a full stop at its end."""
    return _MARKUP.sub(r"\1\2", " ".join(paragraph.split())).rstrip(".")


def _docstring(module: str, name: str) -> str:
    for node, following in pairwise([*_statements(module), None]):
        match node:
            case ast.FunctionDef() | ast.ClassDef() if node.name == name:
                return ast.get_docstring(node) or ""
            case ast.Assign(targets=[ast.Name(id=assigned)]) | ast.AnnAssign(target=ast.Name(id=assigned)) if assigned == name:
                return _text(following)
            case ast.ImportFrom():
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return _docstring(_imported_from(node, module), alias.name)
    return ""


@cache
def _statements(module: str) -> tuple[ast.stmt, ...]:
    """The statements at the top of a module; none where its source is not to be had."""
    path = source_of(module)
    if path is None or path.suffix != ".py" or not path.is_file():
        return ()
    return tuple(ast.parse(path.read_text(encoding="utf-8")).body)


def _text(node: ast.stmt | None) -> str:
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return text
    return ""


def _imported_from(node: ast.ImportFrom, module: str) -> str:
    """The full name of the module that a statement imports from."""
    path = source_of(module)
    package = module if path is not None and path.stem == "__init__" else module.rpartition(".")[0]
    return resolve_name("." * node.level + (node.module or ""), package)

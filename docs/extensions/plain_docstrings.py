"""Docstrings are plain text: what reStructuredText would take for markup, such as |x| or x*, is shown as it stands.

An indented block after an empty line is a formula or an example, and stays as it is typed.
"""

import re
from inspect import isfunction
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.typing import stringify_annotation

from hybrid_dip.images.kinds import AnyImage

LITERAL = re.compile(r"(``.+?``|:[a-z:]+:`[^`]+`|`[^`]+`_*)")
SPECIAL = re.compile(r"([|*]|_(?=\W|$))")
LETTER = re.compile(r"^( *(?:\w+: )?)([A-Za-z]\.)$")
"""A letter and a full stop, which would begin a list."""
SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Note|Example|Examples):$")
ANY_IMAGE = stringify_annotation(AnyImage, "smart")
"""The kinds of images, spelt out as autodoc does."""
NO_COLON = "\\"
"""Shows as nothing; as the first line it keeps napoleon from taking what is before a colon for a type."""


def escape(line: str) -> str:
    """A line whose special characters outside of literals and roles mean themselves."""
    parts = LITERAL.split(LETTER.sub(r"\1\\\2", line))
    return "".join(part if number % 2 else SPECIAL.sub(r"\\\1", part) for number, part in enumerate(parts))


def plain(lines: list[str]) -> list[str]:
    """Docstring lines in which only sections, literals and roles are markup.

    Args:
        lines: The lines of a docstring, without its common indentation.

    Returns:
        The lines for Sphinx.
    """
    shown: list[str] = []
    in_section = in_block = False
    for number, line in enumerate(lines):
        indented, example = line.startswith("    "), line.lstrip().startswith(">>>")
        if line and not indented:
            in_section, in_block = bool(SECTION.match(line)), False
        elif indented and not (in_section or in_block or example) and number and not lines[number - 1].strip():
            in_block = True
            shown += ["::", ""]
        shown.append(line if in_block or example else escape(line))
    return shown


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Change the lines of a docstring in place, before napoleon reads its sections."""
    lines[:] = [NO_COLON] * (what in ("attribute", "data", "property")) + plain(lines)


def skip(app: Sphinx, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """Skip a field of a dataclass whose default is a function: it is no method."""
    return True if what == "class" and isfunction(obj) and "." not in obj.__qualname__ else None


def signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, given: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Write a default that is a function as its name, one that is made anew as "...", and AnyImage by its name."""
    if given:
        given = re.sub(r"<function (\w+)[^>]*>", r"\1", given).replace("<factory>", "...").replace(ANY_IMAGE, "AnyImage")
    return given, returned


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("autodoc-process-docstring", process, priority=100)
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": True}

"""The page's template, style and script, put together."""

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined


def render(content: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Make the page.

    Args:
        content: What the template shows (hybrid_dip.study.reporting.page.content).
        data: What the script draws: arms, and tasks with images, pictures and curves.

    Returns:
        HTML that needs no other file.
    """
    parts = {name: (files(__package__) / name).read_text("utf-8") for name in ("page.html.j2", "page.css", "page.js")}
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    # "</script>" within a label would end the element, and "<!--" change how the rest is read.
    plain = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    return environment.from_string(parts["page.html.j2"]).render(
        **content, css=parts["page.css"], script=parts["page.js"], data=plain
    )

"""What is packaged elsewhere says the same as pyproject.toml."""

import re
import tomllib
from pathlib import Path

from rattler_build import Stage0Recipe

ROOT = Path(__file__).parents[1]
CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
"""Name on PyPI -> name on conda-forge, where they differ."""


def as_conda(requirement: str) -> str:
    name, bound = re.fullmatch(r"([\w-]+)(>=.*)", requirement).groups()  # type: ignore[union-attr]
    return f"{CONDA.get(name.lower(), name.lower())} {bound}"


def test_the_conda_recipe_renders_and_needs_what_the_wheel_needs() -> None:
    recipe = Stage0Recipe.from_file(ROOT / "packaging" / "recipe.yaml")
    assert len(recipe.render()) == 1
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    written = recipe.to_dict()
    assert written["context"]["version"] == project["version"]
    needed = {f"python {project['requires-python']}", *map(as_conda, project["dependencies"])}
    assert set(written["requirements"]["run"]) == needed


def test_the_image_of_docker_is_made_of_what_there_is() -> None:
    copied = re.findall(r"^COPY (.*) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert all((ROOT / name).exists() for line in copied for name in line.split())

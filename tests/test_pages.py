"""README and docs/ say what is so: their links lead somewhere, their code runs, their sentences are short."""

import re
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.restoring import one_call

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [page.stem for page in PAGES]
Command = Callable[..., tuple[int, str, str]]


def sentences(text: str) -> list[str]:
    """The prose of a page, without code, tables, headings, pictures and the addresses of links."""
    for block in (r"```.*?```", r"<!--.*?-->"):
        text = re.sub(block, "", text, flags=re.DOTALL)
    text = re.sub(r"^(\||#|!|    ).*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    blocks = [" ".join(block.split()) for block in re.split(r"\n\s*\n|\n\s*(?:-|\d\.) ", text)]
    return [sentence for block in blocks for sentence in re.split(r"(?<=[.:!?;])\s+", block)]


def code(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 800


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_no_sentence_is_longer_than_25_words(page: Path) -> None:
    assert [sentence for sentence in sentences(page.read_text()) if len(sentence.split()) > 25] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text()):
        place = (page.parent / target).resolve() if target else page
        assert place.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", place.read_text(), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert anchor in slugs, f"{page.name} links to {target}#{anchor}"


@pytest.mark.parametrize(
    "page", [page for page in PAGES if code(page, "python") and page.stem != "extending"], ids=lambda p: p.stem
)
def test_python_runs_as_it_stands(page: Path, photograph: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps for each fit; docs/extending.md has tests of its own."""
    monkeypatch.chdir(tmp_path)
    short = partial(hd.restore, steps=2, runs=1)
    monkeypatch.setattr(hd, "restore", short)
    monkeypatch.setattr(one_call, "restore", short)
    noise = torch.randn(photograph.shape, generator=torch.Generator().manual_seed(0))
    hd.save_image(photograph + 25 / 255 * noise, "photo.png")
    for block in code(page, "python"):
        exec(compile(re.sub(r"steps=\d+", "steps=2", block), str(page), "exec"), {"__name__": "page"})


def commands(page: Path) -> list[list[str]]:
    """Every call of the command in a page's shell blocks, as words."""
    lines = [line.split(" #")[0] for block in code(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line) for line in lines if line.startswith("hybrid-dip ")]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.stem)
def test_commands_have_the_options_that_pages_use(page: Path, hybrid_dip_command: Command) -> None:
    for words in commands(page):
        path = words[1:3] if words[1] in ("study", "weights") else words[1:2]
        status, said, _ = hybrid_dip_command(*path, "--help") if not path[0].startswith("-") else hybrid_dip_command("--help")
        assert status == 0
        for option in [word for word in words if word.startswith("-")]:
            assert re.search(rf"(?<!\S){option}(?![\w-])", said), f"{page.name}: {' '.join(path)} has no {option}"

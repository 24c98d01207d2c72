import json
import re
from collections.abc import Callable
from operator import attrgetter
from pkgutil import resolve_name

import pytest
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.errors import SettingsError
from hybrid_dip.recipes import listing
from hybrid_dip.recipes.catalogue import KINDS, catalogue

ENTRIES = catalogue().entries("regularisers")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_listed_and_is_plain_data(kind: str) -> None:
    rows = listing.rows(kind)
    assert {row["name"] for row in rows} == set(catalogue().entries(kind))
    assert json.loads(json.dumps(rows)) == rows
    listed = [line for line in listing.as_text(rows).splitlines() if not line.endswith(":")]
    assert len(listed) == len(rows)


def test_regularisers_come_by_family_with_their_options() -> None:
    rows = {row["name"]: row for row in listing.rows("regularisers")}
    assert rows["tv-weighted"]["family"] == "variation"
    assert rows["tv-weighted"]["options"] == {"window": 5, "every": 50, "epsilon": 1e-3}
    assert rows["red"]["options"]["denoiser"] == "nlm"
    assert "variation:\n" in listing.as_text(list(rows.values()))


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_every_regulariser_is_explained_with_its_formula_and_its_use(name: str) -> None:
    text = listing.explain(name)
    family = ENTRIES[name].family
    assert text.startswith(f"{name} (") or f"\n{name} (regularisers" in text
    assert any(sign in text for sign in (" R(x) = ", "R(theta) = ", "TV(x) = ")), "no formula"
    assert any(mark in text for mark in ("19", "20")) or family in ("reference", "generator"), "no source"
    assert f"-R {name}" in text
    assert ("RHO is on no common scale" in text) == (family == "generator")


def in_python(name: str, kind: str) -> str:
    """The line of an explanation that says how it is written in Python."""
    lines = listing.explain(name).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"{name} ({kind}"))
    return next(line for line in lines[start:] if line.startswith("Python: "))


@pytest.mark.parametrize(
    "kind", ["regularisers", "denoisers", "operators", "networks", "stopping", "tasks", "degradations", "metrics"]
)
def test_what_the_explanation_names_in_python_is_there(kind: str) -> None:
    for name, entry in catalogue().entries(kind).items():
        places = re.findall(r"[a-z_]\w*(?:[.]\w+)+", in_python(name, kind))
        found = [attrgetter(place[3:])(hd) if place.startswith("hd.") else resolve_name(place) for place in places]
        assert any(thing is entry.load() for thing in found), places


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if entry.source == "hybrid_dip"])
def test_every_regulariser_is_written_in_python_as_it_is_explained(name: str, photograph: Tensor) -> None:
    written = in_python(name, "regularisers").removeprefix("Python: hd.restore(task, regularisers=").removesuffix(")")
    term = eval(written, {"hd": hd, "guide": photograph})
    assert (term.weight, type(term.regulariser)) == (0.1, ENTRIES[name].load())


def test_learned_parts_say_where_their_weights_come_from() -> None:
    rows = listing.rows("regularisers")
    weights, own = next(row for row in rows if row["name"] == "deep-features")["weights"]
    assert own["here"] is True, "this package's own denoiser"
    assert weights["name"] == "efficientnet-lite0"
    assert "Apache-2.0" in weights["licence"]
    line = next(line for line in listing.as_text(rows).splitlines() if "deep-features" in line)
    assert ("NOT on this machine" in line) == (not weights["here"])
    assert ", on this machine, from this project" in line
    assert "from Google" in line
    assert "weights" not in next(row for row in rows if row["name"] == "tv")
    assert "Licence: GPL-3.0" in listing.explain("ffdnet-grey")


def test_tasks_come_with_the_options_that_they_need() -> None:
    rows = listing.rows("tasks")
    assert {row["name"]: row["required"] for row in rows if row["required"]} == {
        "inpaint": ["--mask"],
        "missing-pixels": ["--mask"],
        "deblur": ["--psf"],
        "flash": ["--guide"],
        "linear": ["--operator"],
    }
    assert any(line.startswith("inpaint") and line.endswith("(--mask)") for line in listing.as_text(rows).splitlines())


def test_a_name_of_two_kinds_is_explained_twice() -> None:
    text = listing.explain("wavelet")
    assert "wavelet (regularisers, sparsity)" in text
    assert "wavelet (denoisers)" in text


def test_what_is_unknown_comes_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="no 'tvv' to explain: did you mean 'tv'"):
        listing.explain("tvv")
    with pytest.raises(SettingsError, match="did you mean 'regularisers'"):
        listing.rows("regularizers")


def test_on_the_command_line(hybrid_dip_command: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = hybrid_dip_command("explain", "tgv")
    assert code == 0
    assert "Bredies, Kunisch & Pock 2010" in out
    code, _, err = hybrid_dip_command("explain", "nothing-like-it")
    assert code == 2
    assert len(err.strip().splitlines()) == 1

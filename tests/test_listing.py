import json
from collections.abc import Callable

import pytest

from hybrid_dip import listing
from hybrid_dip.catalogue import KINDS, catalogue
from hybrid_dip.errors import SettingsError


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


@pytest.mark.parametrize("name", sorted(catalogue().entries("regularisers")))
def test_every_regulariser_is_explained_with_its_formula_and_its_use(name: str) -> None:
    text = listing.explain(name)
    family = catalogue().entries("regularisers")[name].family
    assert text.startswith(f"{name} (") or f"\n{name} (regularisers" in text
    assert any(sign in text for sign in (" R(x) = ", "R(theta) = ", "TV(x) = ")), "no formula"
    assert any(mark in text for mark in ("19", "20")) or family in ("reference", "generator"), "no source"
    assert f"-R {name}" in text


def test_what_needs_weights_says_where_they_come_from_and_whether_they_are_here() -> None:
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

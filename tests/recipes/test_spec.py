import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import hybrid_dip as hd
from hybrid_dip import stopping
from hybrid_dip.errors import SettingsError
from hybrid_dip.recipes import spec, spec_files
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.recipes.schedule_spec import read_schedule
from hybrid_dip.regularisers import TV, schedules


def test_parts_of_a_spec() -> None:
    parsed = spec.parse("skip:down=16,32,64,upsample=nearest,sigmoid=False@cosine=0.1..0")
    assert parsed.name == "skip"
    assert parsed.options == {"down": (16, 32, 64), "upsample": "nearest", "sigmoid": False}
    assert parsed.weight == "cosine=0.1..0"
    parsed = spec.parse("folder/my.py:Prior:strength=2")
    assert (parsed.place, parsed.attribute, parsed.options) == ("folder/my.py", "Prior", {"strength": 2})
    parsed = spec.parse("my.package:prior")
    assert (parsed.place, parsed.attribute, parsed.label) == ("my.package", "prior", "prior")


def test_terms_from_the_catalogue() -> None:
    term = spec.term("tv:epsilon=0.01@0.05", catalogue())
    assert term.regulariser == TV(0.01)
    assert term.weight == 0.05
    assert term.name == "tv"
    assert spec.term("tv", catalogue()).weight == schedules.Balanced(0.5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.05", 0.05),
        ("1e-3", 1e-3),
        ("balance=0.3", schedules.Balanced(0.3)),
        ("linear=0.1..0", schedules.Linear(0.1, 0)),
        ("cosine=1..0.5", schedules.Cosine(1, 0.5)),
        ("warmup=0.05,200", schedules.WarmUp(0.05, 200)),
    ],
)
def test_weights(text: str, expected: object) -> None:
    assert read_schedule(text) == expected


def test_stopping_rules_take_their_options() -> None:
    assert spec.build("wmv:window=20,patience=50", "stopping", catalogue()) == stopping.WindowedVariance(20, 50)


USER_FILE = """
import torch

def brightness(x, level=0.5):
    return (x.mean() - level) ** 2

class Scaled:
    def __init__(self, factor=1.0):
        self.factor = factor
    def __call__(self, x):
        return self.factor * x.square().mean()

class Module(torch.nn.Module):
    def forward(self, x):
        return x.mean()

instance = Module()
"""


@pytest.mark.parametrize(
    ("name", "value"), [("brightness:level=0", 1.0), ("Scaled:factor=3", 3.0), ("Module", 1.0), ("instance", 1.0)]
)
def test_a_users_file(tmp_path: Path, name: str, value: float) -> None:
    path = tmp_path / "mine.py"
    path.write_text(USER_FILE)
    term = spec.term(f"{path}:{name}@0.1", catalogue())
    regulariser: Any = term.regulariser
    assert float(regulariser(torch.ones(1, 3, 4, 4))) == value
    assert term.weight == 0.1


@pytest.mark.parametrize(
    ("text", "expected"), [("hybrid_dip.regularisers:TV", TV()), ("hybrid_dip.presets:fast", hd.presets.fast)]
)
def test_a_module_or_what_a_package_shows_as_one(text: str, expected: object) -> None:
    assert spec.build(text, "", catalogue()) == expected
    assert spec_files.fingerprint(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tvv@0.1", "did you mean 'tv'"),
        ("tv:eps=1", "did you mean 'epsilon'"),
        ("tv:epsilon=-1", "above 0"),
        ("tv:epsilon", "cannot be loaded"),
        ("tv@-1", "at least 0"),
        ("tv@nonsense", "is not a weight"),
        ("tv@balanced=1", "did you mean 'balance'"),
        ("tv@linear=1", "is not a weight"),
        ("nothing.py:prior", "There is no file nothing.py"),
        ("no.such.package:prior", "cannot be loaded"),
        ("hybrid_dip.regularisers:Tv", "did you mean 'TV'"),
        ("", "not of the form"),
        ("tv@-0.1", "'tv@-0.1': The weight of a term must be a finite number of at least 0, got -0.1"),
        ("tv@nan", "'tv@nan': The weight .* got nan"),
        ("tv@abc", "'tv@abc': 'abc' is not a weight"),
        ("tv@balance=-1", "'tv@balance=-1': .* got -1.0"),
        ("tv@cosin=1..0", "'tv@cosin=1..0': There is no schedule 'cosin': did you mean 'cosine'"),
        ("tv@steps=0.1,500", "'tv@steps=0.1,500': A step schedule needs"),
        (
            "hybrid_dip.recipes.spec:DEFAULT_WEIGHT@1",
            "'hybrid_dip.recipes.spec:DEFAULT_WEIGHT@1': A term needs a callable .* got the text",
        ),
        ("non-local:candidates=1@1", "2 candidates"),
        ("non-local:neighbours=0@1", "'non-local:neighbours=0@1': NonLocal needs"),
    ],
)
def test_what_is_wrong_is_said(text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        spec.term(text, catalogue())


def test_a_syntax_error_is_named_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("x = 1\ndef prior(x:\n")
    with pytest.raises(SettingsError, match=r"broken\.py' cannot be loaded: SyntaxError.*line 2") as raised:
        spec.term(f"{path}:prior", catalogue())
    assert str(raised.value).count("line 2") == 1


def test_a_module_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The console script does not look there; nothing else that is imported later does either."""
    (tmp_path / "mine_in_this_folder.py").write_text(USER_FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    before = list(sys.path)
    assert spec.term("mine_in_this_folder:brightness@1", catalogue()).name == "brightness"
    assert spec_files.fingerprint("mine_in_this_folder:brightness@1")
    assert sys.path == before


def test_the_hint_about_options_needs_no_such_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_another.py").write_text("import no_such_package\n")
    monkeypatch.chdir(tmp_path)
    for text in ("needs_another.py:prior", "needs_another:prior"):
        with pytest.raises(SettingsError, match=r"No module named 'no_such_package'[.]$"):
            spec.term(text, catalogue())
    with pytest.raises(SettingsError, match=r"No module named 'tv'; an option is written .* mine.py:NAME[.]$"):
        spec.term("tv:epsilon", catalogue())


def test_a_switch_is_true_or_false(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def prior(x, wide: bool = False):\n    return x.mean()\n")
    with pytest.raises(SettingsError, match="'wide' of 'prior' must be True or False, got 'yes'"):
        spec.term(f"{path}:prior:wide=yes", catalogue())


def test_only_regularisers_have_weights() -> None:
    with pytest.raises(SettingsError, match="weight"):
        spec.build("wmv@0.1", "stopping", catalogue())


def test_a_term_has_the_name_of_the_catalogue() -> None:
    assert spec.term("TV@0.1", catalogue()).name == "tv"
    assert spec.term("Red:denoiser=NLM@0.1", catalogue()).name == "red"

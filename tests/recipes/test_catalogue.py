from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest

from hybrid_dip.errors import SettingsError
from hybrid_dip.recipes import catalogue as module
from hybrid_dip.recipes.catalogue import KINDS, Catalogue, catalogue


@pytest.mark.parametrize("kind", KINDS)
def test_every_entry_loads_and_has_a_summary(kind: str) -> None:
    for name, entry in catalogue().entries(kind).items():
        assert catalogue().get(kind, name) is not None
        assert entry.summary
        assert all(needed in catalogue().entries("weights") for needed in entry.needs)


def test_unknown_names_come_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean 'original'"):
        catalogue().get("presets", "orignal")
    with pytest.raises(SettingsError, match="Unknown kind"):
        Catalogue().add("regularizers", "x", "y:z")


def test_a_name_can_be_taken_once() -> None:
    names = Catalogue()
    names.add("metrics", "mine", "a:b")
    for same in ("mine", "MINE"):
        with pytest.raises(SettingsError, match="taken"):
            names.add("metrics", same, "c:d")


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_read_without_regard_to_capitals(kind: str) -> None:
    for name in catalogue().entries(kind):
        entry = catalogue().find(kind, name.upper())
        assert entry is not None
        assert entry.name == name


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    names = Catalogue()
    names.add("metrics", "lazy", "a_module_that_is_missing:thing")
    assert "lazy" in names.entries("metrics")
    with pytest.raises(SettingsError, match="'lazy' of hybrid_dip cannot be loaded"):
        names.get("metrics", "lazy")


def plugin(monkeypatch: pytest.MonkeyPatch, register: Any) -> None:
    import sys

    fake = ModuleType("a_plugin_for_this_test")
    fake.register = register  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    point = EntryPoint("a-plugin", f"{fake.__name__}:register", module.GROUP)
    monkeypatch.setattr(module, "entry_points", lambda group: [point] if group == module.GROUP else [])


def test_a_target_may_be_a_function_that_makes_it() -> None:
    names = Catalogue()
    names.add("metrics", "made", lambda: max)
    assert names.get("metrics", "made") is max


def test_a_plugin_registers_through_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(monkeypatch, lambda names: names.add("metrics", "theirs", "math:sqrt", "a root"))
    names = Catalogue()
    names.load_plugins()
    assert names.get("metrics", "theirs")(4) == 2
    assert names.entries("metrics")["theirs"].source == "a-plugin"
    assert names.entries("metrics")["theirs"].summary == "a root"


def test_a_plugin_that_fails_is_reported_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def register(names: Catalogue) -> None:
        raise RuntimeError("broken")

    plugin(monkeypatch, register)
    names = Catalogue()
    with pytest.warns(UserWarning, match="'a-plugin' failed to register"):
        names.load_plugins()

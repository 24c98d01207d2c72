import pytest

from hybrid_dip.app.priors import as_html, offered_presets, offered_priors, prior_spec
from hybrid_dip.errors import SettingsError


def test_each_prior_that_is_offered_has_its_formula() -> None:
    shown = {name: as_html(entry) for name, entry in offered_priors().items()}
    assert {"tv", "red", "lpips", "weight-decay"} <= shown.keys()
    assert [name for name, text in shown.items() if "R(" not in text and "TV(" not in text] == []
    assert not [name for name in shown if name.startswith("guide")], "they need an image"
    assert as_html(None) == ""


def test_the_default_preset_comes_first() -> None:
    assert offered_presets()[0] == "fast"


def test_a_weight_is_read_before_it_is_part_of_a_name() -> None:
    assert prior_spec("tv", " ") == "tv@balance=0.5"
    assert prior_spec("tv", "cosine=0.1..0") == "tv@cosine=0.1..0"
    with pytest.raises(SettingsError, match="not a weight"):
        prior_spec("tv", "evil.py:prior@1")

import re
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest

from hybrid_dip.errors import SettingsError
from hybrid_dip.study.describe import settings
from hybrid_dip.study.describe.sections import ArmEntry, AttributionEntry, Budget, ImageEntry, PriorEntry, Study, TaskEntry
from hybrid_dip.study.describe.settings import as_study, read_study


def test_the_example_of_the_module_is_a_study_file(tmp_path: Path) -> None:
    assert settings.__doc__ is not None
    example = textwrap.dedent(settings.__doc__.partition("\n\n")[2].rpartition("\n\n")[0])
    (tmp_path / "study.toml").write_text(example)
    study = read_study(tmp_path / "study.toml")
    assert study.name == tomllib.loads(example)["name"]
    assert [image.path for image in study.images] == ["skimage:astronaut", "photos/*.png"]
    assert [arm.regularisers for arm in study.arms] == [[], ["tv@0.05"]]
    assert study.tasks[0].options == {"sigma": 25}
    assert (study.seeds, study.threads, study.folder) == ([0, 1], 1, tmp_path)


def test_an_arm_s_rule_goes_by_short_or_full_name(content: dict[str, Any]) -> None:
    for key in ("stop", "stopping"):
        content["arms"] = [{"name": "a", key: "wmv"}]
        assert as_study(content).arms[0].stop == "wmv"


def test_an_attribution_makes_an_arm_of_every_subset(content: dict[str, Any]) -> None:
    priors = [
        {"name": "architecture", "off": {"network": "pixels", "lr": 0.02}, "on": {"jitter": 0.03}},
        {"name": "smooth", "regularisers": ["tv@0.1"]},
    ]
    common = {"preset": "quick", "steps": 7, "regularisers": ["tikhonov@0.01"]}
    study = as_study({**content, "arms": [], "attribution": {"priors": priors, "common": common}})
    assert study.arms == [
        ArmEntry(name="none", preset="baseline"),
        ArmEntry(name="architecture", preset="quick", steps=7, jitter=0.03, regularisers=["tikhonov@0.01"]),
        ArmEntry(name="smooth", preset="quick", steps=7, network="pixels", lr=0.02, regularisers=["tikhonov@0.01", "tv@0.1"]),
        ArmEntry(name="architecture + smooth", preset="quick", steps=7, jitter=0.03, regularisers=["tikhonov@0.01", "tv@0.1"]),
    ]
    both = as_study({**content, "attribution": {"priors": priors, "common": common}})
    assert [arm.name for arm in both.arms] == ["dip", "dip+tv", *(arm.name for arm in study.arms)]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "key of an arm": (
        {"arms": [{"name": "a"}, {"name": "b", "stepz": 3}]},
        "arm 2 ('b'): unknown key 'stepz': did you mean 'steps'",
    ),
    "key of the study": ({"imges": ["a.png"]}, "unknown key 'imges': did you mean 'images'"),
    "key of an image": (
        {"images": [{"path": "a.png", "cropp": 3}]},
        "image 1 ('a.png'): unknown key 'cropp': did you mean 'crop'",
    ),
    "key of a list": ({"images": [{"pth": "a.png"}]}, "image 1: unknown key 'pth': did you mean 'path'"),
    "key like a type": ({"interval": 3}, "unknown key 'interval'"),
    "a table for a list": ({"arm": [{"name": "a"}]}, "unknown key 'arm': did you mean 'arms'"),
    "no end": ({"budget": {"hours": float("inf")}}, "'hours' is wrong: input should be a finite number"),
    "key of the budget": ({"budget": {"hour": 3}}, "[budget]: unknown key 'hour': did you mean 'hours'"),
    "no path": ({"images": [{"name": "x"}]}, "image 1 ('x'): 'path' is missing"),
    "no kind": ({"tasks": [{"sigma": 25}]}, "task 1: 'kind' is missing"),
    "no arms": ({"arms": []}, "there is nothing to compare; it needs [[arms]], or an [attribution]"),
    "no such baseline": ({"baseline": "dib"}, "the baseline 'dib' is no arm: did you mean 'dip'"),
    "one prior": (
        {"attribution": {"priors": [{"name": "a"}]}},
        "[attribution]: 'priors' is wrong: list should have at least 2",
    ),
    "priors of one name": (
        {"attribution": {"priors": [{"name": "a"}, {"name": "a"}]}},
        "[attribution]: no prior, and no two of them, may be called 'a'",
    ),
    "key of a prior": (
        {"attribution": {"priors": [{"name": "a", "regulariser": []}, {"name": "b"}]}},
        "[attribution]: prior 1 ('a'): unknown key 'regulariser': did you mean 'regularisers'",
    ),
    "key of the arms of a prior": (
        {"attribution": {"priors": [{"name": "a", "off": {"netwrk": "pixels"}}, {"name": "b"}]}},
        "[attribution]: unknown key 'netwrk': did you mean 'network'",
    ),
    "steps in words": (
        {"arms": [{"name": "a", "steps": "many"}]},
        "arm 1 ('a'): 'steps' is wrong: input should be a valid integer, got 'many'",
    ),
    "no steps": (
        {"arms": [{"name": "a", "steps": 0}]},
        "arm 1 ('a'): 'steps' is wrong: input should be greater than or equal to 1, got 0",
    ),
    "what is optimised": (
        {"arms": [{"name": "a", "optimise": "all"}]},
        "'optimise' is wrong: input should be 'network', 'latent' or 'both'",
    ),
    "a number of seeds": ({"seeds": 3}, "'seeds' is wrong: input should be a valid list, got 3"),
    "a negative seed": ({"seeds": [0, -1]}, "seed 2 is wrong: input should be greater than or equal to 0, got -1"),
    "arms of one name": ({"arms": [{"name": "a"}, {"name": "a"}]}, "'a' occurs twice among the arms"),
    "a slash in a name": ({"arms": [{"name": "a/b"}]}, "'name' is wrong"),
    "a box of three": ({"images": [{"path": "a.png", "crop": [0, 0, 16]}]}, "image 1 ('a.png'): 'crop' is wrong"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_named_with_place_and_nearest_name(content: dict[str, Any], case: str) -> None:
    changed, sentence = WRONG[case]
    with pytest.raises(SettingsError) as error:
        as_study({**content, **changed}, Path("mine.toml"))
    assert str(error.value).startswith("mine.toml")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"There is no study file .*nothing\.toml"):
        read_study(tmp_path / "nothing.toml")
    with pytest.raises(SettingsError, match="is a folder"):
        read_study(tmp_path)
    (tmp_path / "bad.toml").write_text("name = \n")
    with pytest.raises(SettingsError, match=r"bad\.toml is not valid TOML: .*line 1"):
        read_study(tmp_path / "bad.toml")


@pytest.mark.parametrize("page", ["README.md", "docs/studies.md"])
def test_the_study_files_of_the_documentation_are_study_files(page: str) -> None:
    text = (Path(__file__).parents[3] / page).read_text()
    files = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert files
    for file in files:
        assert as_study(tomllib.loads(file)).name in ("tv-or-not", "which-prior")


def test_the_documentation_names_every_key() -> None:
    text = (Path(__file__).parents[3] / "docs" / "studies.md").read_text()
    for section in (Study, ImageEntry, TaskEntry, ArmEntry, AttributionEntry, PriorEntry, Budget):
        for key in section.model_fields:
            assert f"`{key}`" in text or f"`[[{key}]]`" in text or f"`[{key}]`" in text, f"{section.__name__}.{key}"

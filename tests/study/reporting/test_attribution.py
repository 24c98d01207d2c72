import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hybrid_dip.errors import SettingsError
from hybrid_dip.study.describe.settings import subset_label
from hybrid_dip.study.describe.subsets import subsets
from hybrid_dip.study.reporting.attribution import attribute, attribute_study, summarise
from hybrid_dip.study.reporting.report import report_study
from hybrid_dip.study.reporting.results import write_results
from hybrid_dip.study.running.run import run_study
from hybrid_dip.study.running.store import Store
from tests.studies import TINY, Inline, MakePlan

Command = Callable[..., tuple[int, str, str]]

PRIORS = ("architecture", "recurrence", "learned")
OWN = {"architecture": 4.0, "recurrence": 1.0, "learned": 5.0}
ATTRIBUTION = {
    "common": {**TINY, "steps": 4},
    "priors": [{"name": "architecture", "off": {"network": "pixels"}}, {"name": "smooth", "regularisers": ["tv@0.05"]}],
}


def invented(images: int, seeds: int = 2, tasks: tuple[str, ...] = ("denoise",)) -> pd.DataFrame:
    """PSNR of an additive game, in which architecture and learned share 3 dB; an image adds its number to what each brings."""
    rows = []
    for task in tasks:
        for number in range(images):
            for subset in subsets(PRIORS):
                value = 20 + sum(OWN[name] + number for name in subset) - 3 * ({"architecture", "learned"} <= subset)
                for seed in range(seeds):
                    rows.append([f"i{number}", task, subset_label(subset, PRIORS), seed, value + seed - (seeds - 1) / 2, ""])
    return pd.DataFrame(rows, columns=["image", "task", "arm", "seed", "psnr", "error"])


def test_the_values_of_an_invented_game_are_found_again() -> None:
    found = attribute(invented(3), PRIORS, "denoise", ["i0", "i1", "i2"], [0, 1])
    for name, expected in {"architecture": 2.5, "recurrence": 1.0, "learned": 3.5}.items():
        assert found.gains[name] == pytest.approx([expected, expected + 1, expected + 2], abs=1e-9)
    assert np.abs(sum(found.gains.values()) - found.total).max() < 1e-9, "they sum to what all bring"
    assert found.none == pytest.approx([20, 20, 20])
    assert {pair: float(values.mean()) for pair, values in found.pairs.items()} == pytest.approx(
        {("architecture", "recurrence"): 0, ("architecture", "learned"): -3, ("recurrence", "learned"): 0}, abs=1e-9
    )


def test_images_are_the_unit_of_attribution() -> None:
    table = invented(4, tasks=("a", "b"))
    table.loc[table["task"] == "b", "psnr"] = 30.0
    images = [f"i{n}" for n in range(4)]
    found = summarise([attribute(table, PRIORS, task, images, [0, 1]) for task in ("a", "b")])
    assert found["tasks"]["a"]["shapley_db"]["recurrence"]["mean"] == pytest.approx(2.5)
    assert found["tasks"]["b"]["total_db"] == pytest.approx(0)
    assert found["shapley_db"]["recurrence"]["mean"] == pytest.approx(1.25)
    assert found["total_db"] == pytest.approx(sum(value["mean"] for value in found["shapley_db"].values()))
    low, high = (found["shapley_db"]["recurrence"][end] for end in ("low", "high"))
    half = 3.1824 * np.std([0.5, 1, 1.5, 2], ddof=1) / 2  # of the four images, after a mean over the tasks
    assert (low, high) == pytest.approx((1.25 - half, 1.25 + half), abs=1e-4)
    assert found["notes"] == []


def test_one_image_has_values_without_intervals() -> None:
    found = summarise([attribute(invented(1), PRIORS, "denoise", ["i0"], [0, 1])])
    assert found["shapley_db"]["learned"] == {"mean": pytest.approx(3.5), "low": None, "high": None}
    assert found["notes"] == ["One image has no interval: it says nothing about others."]


def test_images_without_every_subset_and_seed_are_left_out() -> None:
    table = invented(3)
    table = table[~((table["image"] == "i1") & (table["arm"] == "recurrence + learned") & (table["seed"] == 1))]
    found = attribute(table, PRIORS, "denoise", ["i0", "i1", "i2"], [0, 1])
    assert (found.images, found.left_out) == (("i0", "i2"), ("i1",))
    assert summarise([found])["notes"] == ["Left out, because not every subset is finished there: i1."]
    table = table[table["arm"] != "learned"]
    with pytest.raises(SettingsError, match="the arm 'learned' is missing on 'i0', for instance"):
        attribute(table, PRIORS, "denoise", ["i0", "i1", "i2"], [0, 1])


def test_a_study_attributes_what_its_runs_measured(make_plan: MakePlan, store: Store) -> None:
    plan = make_plan(arms=[], attribution=ATTRIBUTION, images=["skimage:astronaut", "skimage:camera"])
    assert plan.arms == ["none", "architecture", "smooth", "architecture + smooth"]
    run_study(plan, store, Inline())
    table = write_results(plan, store)
    found = attribute_study(plan, store, table)
    means = table.groupby("arm")["psnr"].mean()
    assert found["total_db"] == pytest.approx(means["architecture + smooth"] - means["none"], abs=1e-9)
    by_hand = (means["architecture"] - means["none"] + means["architecture + smooth"] - means["smooth"]) / 2
    assert found["shapley_db"]["architecture"]["mean"] == pytest.approx(by_hand, abs=1e-9)
    rows = pd.read_csv(store.path / "attribution.csv")
    assert list(rows.columns) == ["task", "image", "none", "architecture", "smooth", "total", "architecture x smooth"]
    assert (rows["architecture"] + rows["smooth"]).to_numpy() == pytest.approx(rows["total"].to_numpy(), abs=1e-4)
    with Image.open(store.path / "attribution.png") as picture:
        assert picture.width > 300
    assert report_study(plan, store)["attribution"]["total_db"] == found["total_db"]
    assert "What each prior brought" in (store.path / "report.html").read_text()


def test_the_command_prints_json_or_a_table(content: dict[str, Any], tmp_path: Path, hybrid_dip_command: Command) -> None:
    file, out = tmp_path / "study.toml", tmp_path / "out"
    common = {name: content[name] for name in ("name", "images", "crop")}
    plain = "\n".join(f"{name} = {json.dumps(value)}" for name, value in common.items())
    task = '\n[[tasks]]\nkind = "denoise"\nsigma = 25\n'
    file.write_text(
        plain
        + task
        + '[attribution]\ncommon = { preset = "quick", steps = 4 }\n'
        + '[[attribution.priors]]\nname = "architecture"\noff = { network = "pixels" }\n'
        + '[[attribution.priors]]\nname = "smooth"\nregularisers = ["tv@0.05"]\n'
    )
    assert hybrid_dip_command("study", "run", file, "-o", out, "--device", "cpu", "--workers", "1", "--quiet")[0] == 0
    status, printed, _ = hybrid_dip_command("study", "attribute", file, "-o", out, "--json")
    found = json.loads(printed)
    assert status == 0
    assert set(found["shapley_db"]) == {"architecture", "smooth"}
    assert set(found["shapley_db"]["smooth"]) == {"mean", "low", "high"}
    assert math.isclose(found["total_db"], sum(value["mean"] for value in found["shapley_db"].values()), abs_tol=1e-9)
    status, printed, _ = hybrid_dip_command("study", "attribute", file, "-o", out)
    assert "One image has no interval" in printed
    assert "architecture x smooth" in printed
    file.write_text(plain + task + '[[arms]]\nname = "a"\npreset = "quick"\nsteps = 4\n')
    status, _, err = hybrid_dip_command("study", "attribute", file, "-o", out)
    assert status == 2
    assert "has no [attribution]" in err


def test_the_report_of_half_a_study_says_what_is_missing(make_plan: MakePlan, store: Store) -> None:
    run_study(make_plan(arms=[{"name": "none", "preset": "baseline"}]), store, Inline())
    plan = make_plan(arms=[], attribution=ATTRIBUTION)
    found = report_study(plan, store)
    assert "attribution" not in found
    assert found["notes"][1] == "Not a run is finished of: architecture, smooth, architecture + smooth."
    assert "the arm 'architecture' is missing on 'astronaut'" in found["notes"][2]


def test_without_psnr_nothing_is_attributed(make_plan: MakePlan, store: Store) -> None:
    plan = make_plan(arms=[], attribution=ATTRIBUTION, metrics=["ssim"])
    with pytest.raises(SettingsError, match="has to have 'psnr' among its metrics"):
        attribute_study(plan, store, pd.DataFrame())

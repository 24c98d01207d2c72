import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hybrid_dip.errors import SettingsError
from hybrid_dip.study.describe.plan import Plan, plan_study
from hybrid_dip.study.describe.settings import as_study, as_toml
from hybrid_dip.study.ready_made.impedance import area, impedance_content, report_impedance
from hybrid_dip.study.running.run import run_study
from hybrid_dip.study.running.store import Store
from tests.studies import Inline

Command = Callable[..., tuple[int, str, str]]
SMALL = "skip:down=8,8,up=8,8,skip=2,2"


def test_the_area_averages_over_log_steps() -> None:
    steps = np.geomspace(10, 1000, 500)
    flat = np.full(500, 0.7)
    assert area(steps, flat - 0.5, flat) == pytest.approx(0.5)
    assert area(steps, flat, flat) == 0
    half = np.where(steps < 100, 1.0, 0.0)  # over one of two decades
    assert area(steps, np.zeros(500), half) == pytest.approx(0.5, abs=0.01)


def planned(tmp_path: Path, *networks: str, steps: int = 60, **changed: Any) -> Plan:
    content = impedance_content(["skimage:astronaut"], networks, {"preset": "quick", "steps": steps})
    content |= {"crop": 24, **changed}
    assert as_study(tomllib.loads(as_toml(content))) == as_study(content)
    return plan_study(as_study(content, tmp_path / "impedance.toml"))


def test_pixels_have_none_and_a_network_has_some(tmp_path: Path, store: Store) -> None:
    """Without an architecture the arrangement of the pixels makes no difference: exactly so, by symmetry."""
    plan = planned(tmp_path, "pixels", SMALL)
    run_study(plan, store, Inline())
    found = report_impedance(plan, store)
    assert found["impedance"]["pixels"]["mean"] == pytest.approx(0, abs=1e-4)
    assert found["impedance"][SMALL]["mean"] > 0.02
    assert found["impedance"][SMALL]["low"] is None
    assert (found["from_step"], found["to_step"], found["images"]) == (10, 59, ["astronaut"])
    assert found["notes"] == ["One image has no interval: it says nothing about others."]
    table = pd.read_csv(store.path / "impedance.csv")
    assert list(table.columns) == ["arm", "image", "seed", "impedance"]
    assert len(table) == 2
    assert (store.path / "impedance.png").stat().st_size > 10000


def test_it_is_the_area_between_the_curves_in_the_histories(tmp_path: Path, store: Store) -> None:
    plan = planned(tmp_path, SMALL)
    run_study(plan, store, Inline())
    errors = {}
    for run in plan.runs:
        variance = float(run.preparation.build(run.source).task.observation.var(correction=0))
        errors[run.task] = {int(row["step"]): row["fidelity"] / variance for row in store.history(run.key)}
    steps = [step for step in errors["image"] if step >= 10]
    curves = [np.array([errors[target][step] for step in steps]) for target in ("image", "shuffled")]
    expected = area(np.array(steps, dtype=float), *curves)
    assert report_impedance(plan, store)["impedance"][SMALL]["mean"] == pytest.approx(expected, abs=2e-3)


def test_the_command_measures_networks_and_goes_on_where_it_stopped(tmp_path: Path, hybrid_dip_command: Command) -> None:
    given = ["impedance", "skimage:astronaut", "--crop", "16", "--preset", "quick", "--steps", "12", "--workers", "1"]
    out = tmp_path / "out"
    status, printed, err = hybrid_dip_command(*given, "--network", "pixels", "-o", out)
    assert status == 0, err
    assert "pixels" in printed
    assert "impedance.png" in printed
    assert "tile = 0" in (out / "impedance.toml").read_text(), "a fit of a tile is not one of the image"
    status, printed, err = hybrid_dip_command(*given, "--network", "pixels", "--network", SMALL, "-o", out, "--json", "--quiet")
    assert (status, err) == (0, "")
    assert list(json.loads(printed)["impedance"]) == ["pixels", SMALL]
    assert len(list((out / "runs").iterdir())) == 8, "four fits a network, none of them twice"
    status, again, _ = hybrid_dip_command("study", "impedance", out / "impedance.toml", "-o", out, "--json")
    assert json.loads(again)["impedance"] == json.loads(printed)["impedance"]


def test_what_is_wrong_is_said(tmp_path: Path, store: Store, hybrid_dip_command: Command) -> None:
    with pytest.raises(SettingsError, match="begins at step 10: make the fits longer"):
        report_impedance(planned(tmp_path, SMALL, steps=11), store)
    with pytest.raises(SettingsError, match="are finished: run the study to its end"):
        report_impedance(planned(tmp_path, SMALL), store)
    tasks = [{"kind": "impedance", "name": "image", "target": "image"}]
    with pytest.raises(SettingsError, match='with the targets "image" and "shuffled"'):
        report_impedance(planned(tmp_path, SMALL, tasks=tasks), store)
    status, _, err = hybrid_dip_command("impedance", "skimage:astronuat", "-o", tmp_path / "out")
    assert status == 2
    assert "did you mean 'astronaut'" in err
    tasks = [{"kind": "impedance", "target": "shufled"}]
    with pytest.raises(SettingsError, match="Unknown target 'shufled': did you mean 'shuffled'"):
        planned(tmp_path, SMALL, tasks=tasks)


def test_an_image_of_one_value_has_nothing_to_shuffle(tmp_path: Path, store: Store) -> None:
    np.save(tmp_path / "flat.npy", np.full((16, 16), 0.5, dtype=np.float32))
    plan = planned(tmp_path, "pixels", steps=20, images=["flat.npy"], crop=16)
    run_study(plan, store, Inline())
    with pytest.raises(SettingsError, match="flat has one value everywhere"):
        report_impedance(plan, store)

from concurrent.futures import Executor
from pathlib import Path

import pytest

from hybrid_dip.study.running import forecast as forecast_module
from hybrid_dip.study.running.forecast import Sample, forecast
from hybrid_dip.study.running.run import run_study
from hybrid_dip.study.running.store import Store
from tests.studies import Inline, MakePlan


def test_time_is_the_timed_steps_extrapolated(make_plan: MakePlan, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = {"dip": Sample(2.0, 1000, 16 * 16, 10), "dip+tv": Sample(3.0, 2000, 16 * 16, 20)}
    monkeypatch.setattr(forecast_module, "time_steps", lambda run: samples[run.arm])
    found = forecast(make_plan(seeds=[0, 1]), store, Inline(), workers=2)
    assert {arm.arm: (arm.runs, arm.seconds) for arm in found.arms} == {"dip": (2, 20.0), "dip+tv": (2, 30.0)}
    assert (found.runs, found.finished, found.seconds, found.wall_seconds) == (4, 0, 50.0, 25.0)
    assert found.memory_bytes == 2 * (2000 + forecast_module.PROCESS)
    assert forecast(make_plan(seeds=[0]), store, Inline(), workers=9).wall_seconds == 15.0, "no shorter than its longest run"
    limited = make_plan(seeds=[0], budget={"seconds_per_run": 4})
    assert forecast(limited, store, Inline(), workers=1).seconds == 8.0
    text = found.sentences()
    assert "4 runs, 0 of them finished" in text
    assert "25 s with 2 workers of 1 thread on cpu (from 3 timed steps of each arm on each task)" in text


def test_smaller_images_cost_less(make_plan: MakePlan, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []

    def time(run: forecast_module.Run) -> Sample:
        timed.append(run.image)
        return Sample(1.0, 1, 64 * 64, 1)

    monkeypatch.setattr(forecast_module, "time_steps", time)
    images = [{"path": "skimage:camera", "crop": 32}, {"path": "skimage:astronaut", "crop": 64}]
    found = forecast(make_plan(images=images), store, Inline(), workers=1)
    assert timed == ["astronaut", "astronaut"], "the largest one is timed"
    assert found.seconds == 2 * (5 + 5 / 4)


def test_an_image_in_tiles_costs_a_fit_for_each(make_plan: MakePlan, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast_module, "time_steps", lambda run: Sample(1.0, 1, run.pixels, 1))
    arms = [{"name": "whole", "preset": "quick", "steps": 5}, {"name": "tiled", "preset": "quick", "steps": 5, "tile": 48}]
    made = make_plan(crop=64, arms=arms)
    tiled = next(run for run in made.runs if run.arm == "tiled")
    assert (tiled.tiles, tiled.passes, tiled.pixels) == (4, 4, 48 * 48)
    found = forecast(made, store, Inline(), workers=1)
    assert {arm.arm: arm.seconds for arm in found.arms} == {"whole": 5.0, "tiled": 4 * 5.0}
    limited = make_plan(crop=64, arms=arms, budget={"seconds_per_run": 4})
    assert {arm.arm: arm.seconds for arm in forecast(limited, store, Inline(), workers=1).arms} == {"whole": 4.0, "tiled": 4.0}


def test_steps_are_really_timed_and_what_is_finished_costs_nothing(
    make_plan: MakePlan, store: Store, executor: Executor
) -> None:
    plan = make_plan()
    before = forecast(plan, store, executor, 1)
    assert all(0 < arm.seconds_per_step < 10 for arm in before.arms)
    assert before.memory_bytes > 1e5
    assert not store.path.exists(), "nothing is written"
    run_study(plan, store, executor)
    after = forecast(plan, store, executor, 1)
    assert (after.finished, after.seconds, after.disk_bytes) == (2, 0, 0)


def test_disk_is_about_what_is_written(make_plan: MakePlan, store: Store) -> None:
    plan = make_plan(crop=64, arms=[{"name": "a", "preset": "quick", "steps": 20}])
    states = forecast_module.time_steps(plan.runs[0]).state
    expected = forecast(plan, store, Inline(), 1).disk_bytes - states
    run_study(plan, store, Inline())
    written = sum(path.stat().st_size for path in store.run(plan.runs[0].key).iterdir())
    assert 0.7 * expected < written < 1.2 * expected


def test_a_broken_arm_is_reported_before_the_start(make_plan: MakePlan, store: Store, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def vector(x):\n    return x.flatten()\n")
    arms = [{"name": "bad", "preset": "quick", "steps": 5, "regularisers": ["mine.py:vector@0.1"]}]
    found = forecast(make_plan(arms=arms), store, Inline(), 1)
    assert any("bad on denoise does not work" in warning and "vector" in warning for warning in found.warnings)

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from hybrid_dip.study.reporting import results
from hybrid_dip.study.running.run import run_study
from hybrid_dip.study.running.store import Store
from tests.studies import Inline, MakePlan


def test_the_table_has_the_columns_that_scripts_read(make_plan: MakePlan, store: Store) -> None:
    plan = make_plan(seeds=[0, 1], metrics=["psnr", "ssim", "psnr_raw"])
    run_study(plan, store, Inline())
    table = results.load(plan, store)
    assert list(table.columns) == [
        *["image", "task", "arm", "seed", "psnr", "ssim", "psnr_raw", "seconds", "steps", "kept_at", "reason", "error"]
    ]
    assert list(zip(table["arm"], table["seed"], strict=True)) == [("dip", 0), ("dip+tv", 0), ("dip", 1), ("dip+tv", 1)]
    assert (table["steps"] == 5).all()
    assert table["psnr"].between(1, 40).all()


def test_a_new_metric_is_measured_on_saved_images(make_plan: MakePlan, store: Store) -> None:
    tasks = [{"kind": "missing-pixels"}]
    run_study(make_plan(metrics=["psnr"], tasks=tasks), store, Inline())
    later = results.load(make_plan(metrics=["ssim", "psnr_raw", "psnr_best", "psnr"], tasks=tasks), store)
    fresh = Store(store.path / "fresh")
    plan = make_plan(metrics=["ssim", "psnr_raw", "psnr_best", "psnr"], tasks=tasks)
    run_study(plan, fresh, Inline())
    again = results.load(plan, fresh)
    pd.testing.assert_frame_equal(later.drop(columns="seconds"), again.drop(columns="seconds"))


def test_a_metric_with_other_options_is_another_metric(make_plan: MakePlan, store: Store) -> None:
    plan = make_plan(metrics=["psnr_y:border=0"])
    run_study(plan, store, Inline())
    whole = results.load(plan, store)["psnr_y:border=0"]
    both = results.load(make_plan(metrics=["psnr_y:border=4", "psnr_y:border=0"]), store)
    assert both["psnr_y:border=0"].tolist() == whole.tolist()
    assert both["psnr_y:border=4"].tolist() != whole.tolist()


def test_a_metric_whose_file_has_changed_is_measured_again(make_plan: MakePlan, store: Store, tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        (tmp_path / "score.py").write_text(f"def mine(x, reference):\n    return {value}\n")
        plan = make_plan(metrics=["score.py:mine"])
        run_study(plan, store, Inline())
        assert set(results.load(plan, store)["mine"]) == {value}


def test_a_run_that_two_arms_share_took_its_time_once(make_plan: MakePlan, store: Store) -> None:
    plan = make_plan()
    run_study(plan, store, Inline())
    table = results.load(plan, store)
    whole = results.seconds(plan, table)
    assert whole == float(table["seconds"].sum()) > 0
    other = [replace(run, arm=f"{run.arm}, again") for run in plan.runs]
    twice = pd.concat([table, table.assign(arm=table["arm"] + ", again")], ignore_index=True)
    assert results.seconds(replace(plan, runs=(*plan.runs, *other)), twice) == whole


def test_seeds_are_averaged_before_images_are() -> None:
    rows = [
        ["a", "t", "x", 0, 10.0, ""],
        ["a", "t", "x", 1, 20.0, ""],
        ["a", "t", "x", 2, 30.0, ""],
        ["b", "t", "x", 0, 40.0, ""],
        ["b", "t", "x", 1, math.nan, "failed"],
    ]
    table = pd.DataFrame(rows, columns=["image", "task", "arm", "seed", "psnr", "error"])
    row = results.summarise(table, ["psnr"]).iloc[0]
    assert row["mean"] == 30.0, "20 of image a and 40 of image b, not 25 of four runs"
    assert (row["images"], row["runs"]) == (2, 4)
    half = 12.706 * 10  # Student's quantile of one degree, times the standard error of 20 and 40
    assert (row["low"], row["high"]) == pytest.approx((30 - half, 30 + half), abs=0.01)

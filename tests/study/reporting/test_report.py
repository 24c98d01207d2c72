import csv
import re
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from scipy.stats import wilcoxon

from hybrid_dip.study.reporting.report import report_study
from hybrid_dip.study.running.run import run_study
from hybrid_dip.study.running.store import Store
from tests.studies import TINY, Inline, MakePlan


def test_a_report_shows_tables_intervals_and_pictures(make_plan: MakePlan, store: Store) -> None:
    tasks = [{"kind": "denoise", "sigma": 25, "clip": True}, {"kind": "super-resolve", "factor": 2, "crop": 32}]
    plan = make_plan(images=["skimage:astronaut", "skimage:camera"], seeds=[0, 1], tasks=tasks, metrics=["psnr", "psnr_y"])
    run_study(plan, store, Inline())
    found = report_study(plan, store)
    assert (found["runs"], found["finished"], found["failed"]) == (16, 16, 0)
    assert len(found["summary"]) == 2 * 2 * 2
    text = (store.path / "report.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| dip+tv |"))
    assert re.match(r"\| dip\+tv \| \d+\.\d\d \[-?\d+\.\d\d, \d+\.\d\d\] \| .* \| 2 \| 4 \| 5 \| ", row)
    assert "`denoise`, sigma = 25, clip = True; noise clipped to [0, 1]." in text
    assert "made small by Pillow LANCZOS, 8 bit; the literature measures it on Y without a border of 2 pixels" in text
    assert "Incomplete" not in text
    shown = re.findall(r"\]\(([^)]*\.png)\)", text)
    assert shown == ["pictures/1-denoise.png", "pictures/2-super-resolve.png", "pictures/curves.png"]
    for name in shown:
        with Image.open(store.path / name) as picture:
            assert picture.width > picture.height > 300
    for file in found["files"]:
        assert Path(file).is_file()
    with (store.path / "results.csv").open() as handle:
        assert len(list(csv.DictReader(handle))) == 16


def test_a_report_of_half_a_study_names_failures(make_plan: MakePlan, store: Store) -> None:
    plan = make_plan(seeds=[0, 1])
    run_study(make_plan(), store, Inline())
    store.discard(plan.runs[1].key)
    store.publish(plan.runs[1].key, {"error": "FitError: a | b"})
    found = report_study(plan, store)
    assert (found["finished"], found["failed"]) == (2, 1)
    text = (store.path / "report.md").read_text()
    assert "These arms have not finished the same images and seeds" not in text, "the other arm has finished nothing"
    assert "Incomplete: 2 of 4 runs are finished" in text
    assert "| astronaut | denoise | dip+tv | 0 | FitError: a \\| b |" in text
    dip = next(line for line in text.splitlines() if line.startswith("| dip |"))
    assert "[" not in dip, "one image has no interval"
    assert found["summary"][0]["low"] is None


def test_arms_are_compared_on_images_that_all_have(make_plan: MakePlan, store: Store) -> None:
    arms = [{"name": "a|b", **TINY, "steps": 5}, {"name": "c", **TINY, "steps": 6}]
    plan = make_plan(images=["skimage:astronaut", "skimage:camera"], arms=arms)
    run_study(plan, store, Inline())
    failed = next(run for run in plan.runs if (run.image, run.arm) == ("camera", "c"))
    store.discard(failed.key)
    store.publish(failed.key, {"error": "FitError: no"})
    report_study(plan, store)
    before, after = (
        (store.path / "report.md").read_text().split("not finished the same images and seeds**; on those that all have:")
    )
    assert [line.split(" | ")[3] for line in before.splitlines() if line.startswith(("| a\\|b |", "| c |"))] == ["2", "1"]
    assert [line.split(" | ")[3] for line in after.splitlines() if line.startswith(("| a\\|b |", "| c |"))] == ["1", "1"]


def test_runs_of_another_version_are_left_out(make_plan: MakePlan, store: Store) -> None:
    plan = make_plan()
    run_study(plan, store, Inline())
    assert report_study(plan, store)["notes"] == []
    store.publish("0123", {"error": "", "metrics": {"psnr": 50.0}, "config": {"version": "0.0.9"}})
    found = report_study(plan, store)
    assert found["notes"] == [
        f"1 finished runs in {store.path} of hybrid_dip 0.0.9, not {plan.runs[0].version}, are no part of the study as it is, "
        "and are left out."
    ]
    assert found["notes"][0] in (store.path / "report.html").read_text()
    other = make_plan(arms=[{"name": "dip", **TINY, "steps": 5}])
    assert "2 finished runs" in report_study(other, store)["notes"][0]


def test_arms_are_tested_against_the_baseline_from_six_images_on(make_plan: MakePlan, store: Store) -> None:
    names = ["astronaut", "camera", "coffee", "chelsea", "rocket", "brick"]
    arms = [{"name": "y", "preset": "baseline"}, {"name": "median", "preset": "one-shot:denoiser=median"}]
    plan = make_plan(images=[f"skimage:{name}" for name in names], arms=arms, baseline="median")
    run_study(plan, store, Inline())
    found = report_study(plan, store)
    (row,) = [row for row in found["against"] if row["metric"] == "psnr"]
    table = pd.read_csv(store.path / "results.csv").pivot(index="image", columns="arm", values="psnr")
    differences = table["y"] - table["median"]
    assert (row["arm"], row["baseline"], row["images"]) == ("y", "median", 6)
    assert row["mean"] == pytest.approx(differences.mean(), abs=1e-4)
    assert row["p"] == pytest.approx(wilcoxon(differences).pvalue)
    few = make_plan(images=[f"skimage:{name}" for name in names[:5]], arms=arms, baseline="median")
    assert [row["p"] for row in report_study(few, store)["against"]] == [None, None]
    assert "With 5 images no test is possible: it takes at least 6." in (store.path / "report.html").read_text()


def test_the_latex_table_has_the_best_in_bold(make_plan: MakePlan, store: Store) -> None:
    arms = [{"name": "y_0 & 5%", "preset": "baseline"}, {"name": "median", "preset": "one-shot:denoiser=median"}]
    plan = make_plan(images=["skimage:astronaut", "skimage:camera"], arms=arms, metrics=["psnr"])
    run_study(plan, store, Inline())
    report_study(plan, store)
    lines = (store.path / "results.tex").read_text().splitlines()
    assert lines[1] == r"\begin{tabular}{lr}"
    first, second = (next(line for line in lines if line.startswith(name)) for name in (r"y\_0 \& 5\%", "median"))
    assert r"\textbf{" in second
    assert r"\textbf{" not in first
    assert re.search(r"\d\d\.\d\d.*\{\\scriptsize \[-?\d+\.\d\d, \d+\.\d\d\]\} \\\\$", second)

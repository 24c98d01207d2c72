import csv
import re
from pathlib import Path

from PIL import Image

from hybrid_dip.study.report import report_study
from hybrid_dip.study.run import run_study
from hybrid_dip.study.store import Store

from .conftest import MakePlan
from .test_run import Inline


def test_a_report_shows_tables_intervals_and_pictures(make_plan: MakePlan, store: Store) -> None:
    tasks = [{"kind": "denoise", "sigma": 25, "clip": True}, {"kind": "super-resolve", "factor": 2, "crop": 32}]
    plan = make_plan(images=["skimage:astronaut", "skimage:camera"], seeds=[0, 1], tasks=tasks, metrics=["psnr", "psnr_y"])
    run_study(plan, store, Inline())
    found = report_study(plan, store)
    assert (found["runs"], found["finished"], found["failed"]) == (16, 16, 0)
    assert len(found["summary"]) == 2 * 2 * 2
    text = (store.path / "report.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| dip+tv |"))
    assert re.match(r"\| dip\+tv \| \d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\] \| .* \| 2 \| 4 \| 5 \| ", row)
    assert "`denoise`, sigma = 25, clip = True; noise clipped to [0, 1]." in text
    assert "made small by Pillow LANCZOS, 8 bit; the literature measures it on Y" in text
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


def test_a_report_of_half_a_study_says_so_and_names_failures(make_plan: MakePlan, store: Store) -> None:
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


def test_arms_over_different_images_are_compared_on_those_that_all_have(make_plan: MakePlan, store: Store) -> None:
    arms = [{"name": "a|b", "preset": "quick", "steps": 5}, {"name": "c", "preset": "quick", "steps": 6}]
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

"""What the experiments claim is what their results say."""

import importlib
import re
import shutil
import tomllib
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
import torch

from hybrid_dip.networks.start import write_start
from hybrid_dip.problem import tasks
from hybrid_dip.recipes.override import override
from hybrid_dip.recipes.prepare import prepare
from hybrid_dip.restoring.plan import resolve
from hybrid_dip.study.describe.plan import Plan, plan_study
from hybrid_dip.study.describe.settings import read_study
from hybrid_dip.study.reporting import results
from hybrid_dip.study.reporting.markdown import task_table
from hybrid_dip.study.reporting.statistics import interval

ROOT = Path(__file__).parents[1] / "experiments"


def words(page: Path) -> str:
    """A page whose lines may break anywhere."""
    return " ".join(page.read_text().split())


EXPERIMENTS = sorted(path.parent for path in ROOT.rglob("study.toml"))


SHORT = {
    "002_regularisers": [["families"], ["denoising", "filling_in"]],
    "005_noise_impedance": [["."]],
    "006_prior_attribution": [["denoising", "missing_pixels", "super_resolving"]],
}
"""Experiment -> the studies of each short table in its README; their full tables are in report.md only."""


def text_of(folder: Path) -> tuple[str, Path]:
    """The README of an experiment, in the study's folder or the one above, and the folder of its links."""
    place = folder if (folder / "README.md").exists() else folder.parent
    return (place / "README.md").read_text(), place


def plan_without_images(folder: Path, place: Path) -> Plan:
    """The plan of a study whose images and learned starts are not here."""
    study = read_study(folder / "study.toml")
    if any(arm.start for arm in study.arms):
        task = tasks.denoise(torch.zeros(1, 3, 64, 64), sigma=0.1)
        for seed, arm in enumerate(study.arms):
            if arm.start:
                network, _ = prepare(task, override(resolve(arm.preset, task), **{**arm.overrides, "start": None}), seed)
                write_start(network, place / arm.start, {})
        study = read_study(shutil.copy(folder / "study.toml", place))
    return plan_study(study, images="skimage:astronaut")


@pytest.mark.parametrize("folder", EXPERIMENTS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_an_experiment_is_whole_and_its_text_quotes_its_results(folder: Path, tmp_path: Path) -> None:
    plan = plan_without_images(folder, tmp_path)
    study = plan.study
    empty = {name: [""] for name in results.columns(plan)}
    table = pd.read_csv(folder / "results.csv", keep_default_na=False, na_values=empty, dtype={"image": str})
    rows = set(zip(table["image"], table["task"], table["arm"], table["seed"], strict=True))
    images = [entry.name or Path(entry.path.removeprefix("skimage:")).stem for entry in study.images]
    assert rows == set(product(images, plan.tasks, plan.arms, study.seeds)), "a row for each run of the study"
    assert len(rows) == len(table)
    assert (table["error"] == "").all()
    text, place = text_of(folder)
    report = (folder / "report.md").read_text()
    for task in plan.tasks:
        for line in task_table(plan, task, table):
            assert line in report
            assert line in text or place.name in SHORT
    shown = re.findall(r"\]\(([^)]*pictures/[^)]*)\)", text)
    assert len(shown) >= 2
    for name in shown:
        assert (place / name).is_file()


@pytest.mark.parametrize("name", SHORT)
def test_a_short_table_quotes_its_results(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    short_table = importlib.import_module("short_table")
    text = (ROOT / name / "README.md").read_text()
    for studies in SHORT[name]:
        lines = short_table.short_table([ROOT / name / study for study in studies])
        assert len(lines) > 2
        for line in lines:
            assert line in text


def test_there_are_experiments() -> None:
    assert EXPERIMENTS


@pytest.mark.parametrize("name", ["families", "denoising", "filling_in"])
def test_the_weights_of_the_regularisers_are_those_chosen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ROOT / "002_regularisers"
    monkeypatch.syspath_prepend(folder)
    module = importlib.import_module("best_rho")
    best = module.best_rho(module.gains())
    text = (folder / "README.md").read_text()
    for line in module.by_rho(best):
        assert line in text
    arms, tried = (tomllib.loads((folder / f"{file}.toml").read_text())["arms"] for file in (f"{name}/study", "choose"))
    there = {arm["name"]: arm.get("regularisers") for arm in tried}
    for arm in arms[2:]:
        assert arm["regularisers"] == there[f"{arm['name']}@{best[arm['name']]}"]


def test_the_learned_start_saves_the_steps_that_its_readme_says(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ROOT / "008_learned_start"
    monkeypatch.syspath_prepend(folder)
    steps_saved = importlib.import_module("steps_saved")
    text = (folder / "README.md").read_text()
    for line in steps_saved.table(pd.read_csv(folder / "curves.csv")):
        assert line in text


def test_the_other_denoisers_gave_what_the_readme_says() -> None:
    folder = ROOT / "003_learned_and_single_image"
    means = pd.read_csv(folder / "filling_in" / "others" / "results.csv").groupby(["arm", "task"])["psnr"].mean()
    text = (folder / "README.md").read_text()
    for arm in means.index.unique("arm"):
        assert f"| {arm} | {means[arm, 'missing-pixels']:.2f} dB | {means[arm, 'super-resolve']:.2f} dB |" in text


def test_the_stopping_rules_did_what_their_readme_says(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ROOT / "009_stopping"
    monkeypatch.syspath_prepend(folder)
    compare = importlib.import_module("compare")
    table = pd.read_csv(folder / "results.csv")
    text = (folder / "README.md").read_text()
    for line in compare.table(table):
        assert line in text
    assert len(table[["image", "task", "seed"]].drop_duplicates()) == 24
    below = table.assign(below=table["oracle_psnr"] - table["psnr"]).groupby("rule")["below"].agg(["mean", "max"])
    for rule in ("bootstrap", "discrepancy", "whiteness", "held-out"):
        assert f"{below.loc[rule, 'mean']:.2f}" in text.split("```")[0]
        assert f"{below.loc[rule, 'max']:.2f}" in text.split("```")[0]


def test_the_page_of_the_original_quotes_the_first_experiment() -> None:
    folder = EXPERIMENTS[0]
    table = pd.read_csv(folder / "results.csv")
    means = table.groupby(["task", "arm"], sort=False)[["psnr", "psnr_best"]].mean()
    text = (ROOT.parent / "docs" / "original.md").read_text()
    rows = [line for line in text.splitlines() if re.match(r"\| .* \| \d+\.\d\d dB \|", line)]
    for task, row in zip(table["task"].unique(), rows, strict=True):
        expected = [f"{means.loc[(task, arm), name]:.2f} dB" for arm in ("original", "quick") for name in ("psnr", "psnr_best")]
        assert row.split(" | ")[1:5] == expected


def test_the_stack_of_priors_did_what_its_readme_says(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ROOT / "004_fusion"
    monkeypatch.syspath_prepend(folder)
    fuse = importlib.import_module("fuse")
    results = pd.read_csv(folder / "results.csv")
    psnr, fresh = fuse.pivot(results), fuse.pivot(pd.read_csv(folder / "fresh.csv"))
    text = (folder / "README.md").read_text()
    for line in [*fuse.summary(psnr), *fuse.failures(psnr), *fuse.cases(fresh, (*fuse.SINGLE, fuse.ALONE, "stack"))]:
        assert line in text
    assert (folder / "cases.md").read_text() == fuse.case_list(psnr, fresh)
    assert len(results[["image", "task"]].drop_duplicates()) == len(fuse.IMAGES) * len(fuse.TASKS)
    said = "\n".join(fuse.summary(psnr))
    count = re.search(r"\| all \| (\d+ of \d+) \|", said)
    gains = re.search(r"\| all but denoise \| \d+ of \d+ \| (.*) \| (.*) \|", said)
    assert count is not None
    assert gains is not None
    readme = words(ROOT.parent / "README.md")
    assert f"**{count[1]} cases**" in words(folder / "README.md")
    assert f"in {count[1]} cases" in readme
    assert gains[1] in readme
    assert gains[2] in readme


def test_the_index_shows_every_experiment_with_its_picture() -> None:
    text = (ROOT / "README.md").read_text()
    for readme in ROOT.glob("*/README.md"):
        assert f"({readme.parent.name}/README.md)" in text
    for name in re.findall(r'src="([^"]*)"', text):
        assert (ROOT / name).is_file()


def test_the_priors_brought_what_their_readme_says(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ROOT / "006_prior_attribution"
    monkeypatch.syspath_prepend(folder)
    shares = importlib.import_module("shares")
    studies = shares.attributions()
    text = (folder / "README.md").read_text()
    for line in [*shares.table(studies), *shares.by_image(studies)]:
        assert line in text
    readme = words(ROOT.parent / "README.md")
    for prior in studies[0].priors:
        assert shares.overall(studies, prior) in words(folder / "README.md")
        assert shares.overall(studies, prior) in readme


def test_the_weights_of_the_attribution_are_those_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ROOT / "006_prior_attribution"
    monkeypatch.syspath_prepend(folder)
    weights = importlib.import_module("best_weights")
    best = weights.best_weights(weights.means())
    text = (folder / "README.md").read_text()
    for line in weights.short_table(best):
        assert line in text
    for name in ("denoising", "missing_pixels", "super_resolving"):
        study = read_study(folder / name / "study.toml")
        assert study.attribution is not None
        own = [text for prior in study.attribution.priors for text in prior.regularisers]
        (task,) = study.tasks
        assert own == [f"non-local@{best[task.kind, 'non-local']:g}", f"red:denoiser=bundled@{best[task.kind, 'red']:g}"]


def test_the_networks_have_the_impedance_that_the_readme_says() -> None:
    folder = ROOT / "005_noise_impedance"
    table = pd.read_csv(folder / "impedance.csv")
    text = (folder / "README.md").read_text()
    assert len(table[["arm", "image"]].drop_duplicates()) == len(table) == 9 * 6
    for arm, values in table.groupby("arm")["impedance"]:
        low, high = interval(values)
        assert f"| {arm} | {values.mean():.3f} [{low:.3f}, {high:.3f}] |" in text


def test_more_images_brought_what_the_readme_says(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ROOT / "007_dose"
    monkeypatch.syspath_prepend(folder)
    dose = importlib.import_module("dose")
    text = (folder / "README.md").read_text()
    curves = pd.read_csv(folder / "curves.csv")
    for line in [*dose.table(curves), *dose.gains(curves)]:
        assert line in text
    priors = words(ROOT.parent / "docs" / "priors.md")
    assert dose.gains(curves)[-1].split("are ")[1].removesuffix("ahead of none.").strip() in priors

"""What the experiments claim is what their results say."""

import re
from pathlib import Path

import pandas as pd
import pytest

from hybrid_dip.study import results
from hybrid_dip.study.plan import plan_study
from hybrid_dip.study.report import task_table
from hybrid_dip.study.settings import read_study

EXPERIMENTS = sorted(path.parent for path in (Path(__file__).parents[1] / "experiments").glob("*/study.toml"))


@pytest.mark.parametrize("folder", EXPERIMENTS, ids=lambda folder: folder.name)
def test_an_experiment_is_whole_and_its_text_quotes_its_results(folder: Path) -> None:
    plan = plan_study(read_study(folder / "study.toml"))
    table = pd.read_csv(folder / "results.csv", keep_default_na=False, na_values={name: [""] for name in results.columns(plan)})
    rows = set(zip(table["image"], table["task"], table["arm"], table["seed"], strict=True))
    assert rows == {(run.image, run.task, run.arm, run.seed) for run in plan.runs}, "a row for each run of the study"
    assert (table["error"] == "").all()
    text = (folder / "README.md").read_text()
    for task in plan.tasks:
        for line in task_table(plan, task, table):
            assert line in text
    shown = re.findall(r"\]\((pictures/[^)]*)\)", text)
    assert len(shown) >= 2
    for name in shown:
        assert (folder / name).is_file()


def test_there_are_experiments() -> None:
    assert EXPERIMENTS


def test_the_readme_quotes_the_first_one() -> None:
    folder = EXPERIMENTS[0]
    table = pd.read_csv(folder / "results.csv")
    means = table.groupby(["task", "arm"], sort=False)[["psnr", "psnr_best"]].mean()
    text = (folder.parents[1] / "README.md").read_text()
    rows = [line for line in text.splitlines() if re.match(r"\| .* \| \d+\.\d\d dB \|", line)]
    for task, row in zip(table["task"].unique(), rows, strict=True):
        expected = [f"{means.loc[(task, arm), name]:.2f} dB" for arm in ("original", "quick") for name in ("psnr", "psnr_best")]
        assert row.split(" | ")[1:5] == expected

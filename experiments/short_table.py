"""Print the short table of one or more studies: the PSNR of each arm, one column for each task.

    python experiments/short_table.py experiments/002_regularisers/families

Each figure is the mean over images with its 95 % interval over images, as in the study's report.md, which has all
measures. Reads study.toml and results.csv; the images are not needed.
"""

import argparse
from pathlib import Path

import pandas as pd

from hybrid_dip.errors import one_sentence
from hybrid_dip.study.describe.settings import read_study
from hybrid_dip.study.reporting.statistics import interval


def short_table(folders: list[Path]) -> list[str]:
    """Lines of Markdown.

    Args:
        folders: Folders of studies with the same arms; each adds the columns of its tasks.

    Returns:
        A head, and one row for each arm.
    """
    runs = pd.concat(pd.read_csv(folder / "results.csv", dtype={"image": str}) for folder in folders)
    groups = dict(list(runs.groupby(["arm", "task"])))
    tasks = list(dict.fromkeys(runs["task"]))
    lines = ["| PSNR (dB) | " + " | ".join(tasks) + " |", "|---" * (1 + len(tasks)) + "|"]
    for arm in read_study(folders[0] / "study.toml").arms:
        lines.append(f"| {arm.name} | " + " | ".join(_cell(groups[arm.name, task]) for task in tasks) + " |")
    return lines


def _cell(runs: pd.DataFrame) -> str:
    scores = runs.groupby("image", sort=False)["psnr"].mean()
    low, high = interval(scores)
    return f"{scores.mean():.2f} [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    with one_sentence("short_table.py"):
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("folders", type=Path, nargs="+", help="folders of studies with the same arms")
        print("\n".join(short_table(parser.parse_args().folders)))

"""Print the mean PSNR of each weight that was tried for each prior, from choose.toml; the best of each task is bold.

    python experiments/006_prior_attribution/best_weights.py

The mean is over the images, and over a fit of a network and a fit of the pixels. A fit counts with its best step, because its
length is up to the stopping rule of the study.
"""

from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).parent / "choose" / "results.csv"


def means() -> pd.DataFrame:
    """Mean PSNR in dB at the best step: one row for each prior and weight, one column for each task."""
    runs = pd.read_csv(RESULTS)
    arms = runs["arm"].str.extract(r"(?P<of>network|pixels), (?P<prior>[\w-]+)@(?P<weight>[\d.]+)")
    mean = pd.concat([runs, arms.astype({"weight": float})], axis=1).groupby(["prior", "weight", "task"])["psnr_best"].mean()
    return mean.unstack()


def best_weights(means: pd.DataFrame) -> dict[tuple[str, str], float]:
    """(Task, prior) -> its best weight."""
    priors = means.index.unique("prior")
    return {(task, prior): float(means.loc[prior, task].idxmax()) for task in means.columns for prior in priors}


def table(means: pd.DataFrame) -> list[str]:
    """Lines of Markdown; the best weight of each task is bold."""
    best = best_weights(means)
    lines = ["| prior | weight | " + " | ".join(means.columns) + " |", "|---" * (len(means.columns) + 2) + "|"]
    for (prior, weight), row in means.iterrows():
        cells = [f"**{row[task]:.2f} dB**" if best[task, prior] == weight else f"{row[task]:.2f} dB" for task in means.columns]
        lines.append(f"| `{prior}` | {weight:g} | " + " | ".join(cells) + " |")
    return lines


def short_table(best: dict[tuple[str, str], float]) -> list[str]:
    """Lines of Markdown: the best weight of each prior in each task."""
    tasks, priors = (list(dict.fromkeys(names)) for names in zip(*best, strict=True))
    lines = ["| weight | " + " | ".join(tasks) + " |", "|---" * (len(tasks) + 1) + "|"]
    return [*lines, *(f"| `{prior}` | " + " | ".join(f"{best[task, prior]:g}" for task in tasks) + " |" for prior in priors)]


if __name__ == "__main__":
    tried = means()
    print("\n".join([*table(tried), "", *short_table(best_weights(tried))]))

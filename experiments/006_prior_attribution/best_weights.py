"""Which weight? For each prior and task the one with the best mean of a network's fit and a fit of pixels, from choose.toml.

    python experiments/006_prior_attribution/chosen_weights.py

Of a fit its best step counts: how long it goes on is the business of the study's rule. Prints the means of all weights.
"""

from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).parent / "choose" / "results.csv"


def means() -> pd.DataFrame:
    """Mean PSNR at the best step over images, and over network and pixels: a row a prior and weight, a column a task."""
    found = pd.read_csv(RESULTS)
    arms = found["arm"].str.extract(r"(?P<of>network|pixels), (?P<prior>[\w-]+)@(?P<weight>[\d.]+)")
    mean = pd.concat([found, arms.astype({"weight": float})], axis=1).groupby(["prior", "weight", "task"])["psnr_best"].mean()
    return mean.unstack()


def chosen(found: pd.DataFrame) -> dict[tuple[str, str], float]:
    """(Task, prior) -> weight."""
    priors = found.index.unique("prior")
    return {(task, prior): float(found.loc[prior, task].idxmax()) for task in found.columns for prior in priors}


def table(found: pd.DataFrame) -> list[str]:
    """Lines of Markdown; what is taken in bold."""
    best = chosen(found)
    lines = ["| prior | weight | " + " | ".join(found.columns) + " |", "|---" * (len(found.columns) + 2) + "|"]
    for (prior, weight), row in found.iterrows():
        cells = [f"**{row[task]:.2f} dB**" if best[task, prior] == weight else f"{row[task]:.2f} dB" for task in found.columns]
        lines.append(f"| `{prior}` | {weight:g} | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    print("\n".join(table(means())))

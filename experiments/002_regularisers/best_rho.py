"""Which rho? For each prior the one with the highest PSNR, a mean over the tasks and images of choose.toml.

    python experiments/002_regularisers/chosen.py

Prints each prior's gain over the plain fit at its best rho, by task, the best mean first.
"""

from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).parent / "choose" / "results.csv"


def gains() -> pd.DataFrame:
    """A row for each prior@rho, a column for each task: dB above the plain fit, a mean over the images."""
    mean = pd.read_csv(RESULTS).groupby(["arm", "task"], sort=False)["psnr"].mean().unstack()
    return (mean - mean.loc["plain"]).drop("plain")


def chosen(found: pd.DataFrame) -> dict[str, str]:
    """Prior -> its rho, as it is written in choose.toml."""
    best: dict[str, str] = {}
    for arm in found.mean(axis=1).sort_values(ascending=False).index:
        prior, rho = arm.split("@")
        best.setdefault(prior, rho)
    return best


def table(found: pd.DataFrame) -> list[str]:
    """Lines of Markdown, the best mean first."""
    lines = ["| prior | rho | " + " | ".join(found.columns) + " | mean |", "|---" * (len(found.columns) + 3) + "|"]
    for prior, rho in chosen(found).items():
        row = found.loc[f"{prior}@{rho}"]
        lines.append(f"| `{prior}` | {rho} | " + " | ".join(f"{gain:+.2f} dB" for gain in [*row, row.mean()]) + " |")
    return lines


if __name__ == "__main__":
    print("\n".join(table(gains())))

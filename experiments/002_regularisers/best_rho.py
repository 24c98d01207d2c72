"""Print the best rho of each prior, with its gain over the plain fit in each task.

    python experiments/002_regularisers/best_rho.py

The best rho has the highest mean PSNR over the tasks and images of choose.toml. The prior with the best mean comes first.
"""

from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).parent / "choose" / "results.csv"


def gains() -> pd.DataFrame:
    """Mean gain over the plain fit in dB: one row for each ``prior@rho``, one column for each task."""
    mean = pd.read_csv(RESULTS).groupby(["arm", "task"], sort=False)["psnr"].mean().unstack()
    return (mean - mean.loc["plain"]).drop("plain")


def best_rho(gains: pd.DataFrame) -> dict[str, str]:
    """Prior -> its best rho, as choose.toml writes it."""
    best: dict[str, str] = {}
    for arm in gains.mean(axis=1).sort_values(ascending=False).index:
        prior, rho = arm.split("@")
        best.setdefault(prior, rho)
    return best


def table(gains: pd.DataFrame) -> list[str]:
    """Lines of Markdown, the best mean first."""
    lines = ["| prior | rho | " + " | ".join(gains.columns) + " | mean |", "|---" * (len(gains.columns) + 3) + "|"]
    for prior, rho in best_rho(gains).items():
        row = gains.loc[f"{prior}@{rho}"]
        lines.append(f"| `{prior}` | {rho} | " + " | ".join(f"{gain:+.2f} dB" for gain in [*row, row.mean()]) + " |")
    return lines


def by_rho(best: dict[str, str]) -> list[str]:
    """Lines of Markdown: each rho with its priors."""
    lines = ["| rho | priors |", "|---|---|"]
    for rho in sorted(set(best.values()), key=float):
        lines.append(f"| {rho} | {', '.join(f'`{prior}`' for prior, own in best.items() if own == rho)} |")
    return lines


if __name__ == "__main__":
    print("\n".join([*table(gains()), "", *by_rho(best_rho(gains()))]))

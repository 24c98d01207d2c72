"""How many steps does a learned start save?

    python experiments/008_learned_start/steps_saved.py FOLDER     # the one with the study's images

Writes curves.csv, the mean PSNR over images and seeds at each logged step of the finished fits, and prints, for the quality
that the random start has after so many steps, after how many the learned one of the same latent has it.
"""

import argparse
from collections import defaultdict
from itertools import product
from pathlib import Path

import pandas as pd

from hybrid_dip.errors import one_sentence
from hybrid_dip.study.describe.plan import plan_study
from hybrid_dip.study.describe.settings import read_study
from hybrid_dip.study.running.store import Store

HERE = Path(__file__).parent
CURVES = HERE / "curves.csv"
ASKED = (50, 100, 200, 300)
"""Steps of the random start."""
LATENTS = {"drawn": "", "meshgrid": ", meshgrid"}
"""Latent -> how the names of its arms end."""


def curves(images: str) -> pd.DataFrame:
    """Columns task, arm, step, psnr (mean over images and seeds), fits."""
    plan, store = plan_study(read_study(HERE / "fits.toml"), images=images), Store(HERE)
    found: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for run in plan.runs:
        for row in store.history(run.key) if store.has(run.key) else []:
            found[run.task, run.arm, int(row["step"])].append(row["psnr"])
    rows = [(*key, sum(values) / len(values), len(values)) for key, values in found.items()]
    return pd.DataFrame(rows, columns=["task", "arm", "step", "psnr", "fits"])


def table(found: pd.DataFrame) -> list[str]:
    """Lines of Markdown: each learned start beside the random one of the same latent."""
    lines = [
        "| task | latent | random start | reaches | learned start has it after | and its best |",
        "|---|---|---|---|---|---|",
    ]
    for (task, arms), (latent, suffix) in product(found.groupby("task", sort=False), LATENTS.items()):
        random, learned = (
            arms[arms["arm"] == f"{start} start{suffix}"].set_index("step")["psnr"] for start in ("random", "learned")
        )
        best = f"{learned.max():.2f} dB after {learned.idxmax()} steps"
        for steps in (*ASKED, int(random.idxmax())):
            near = min(random.index, key=lambda step: abs(step - steps))
            level = random[near]
            reached = learned[learned >= level]
            when = f"{reached.index[0]} steps" if len(reached) else "never"
            mark = ", its best" if near == random.idxmax() else ""
            lines.append(f"| {task} | {latent} | {near} steps{mark} | {level:.2f} dB | {when} | {best} |")
    return lines


if __name__ == "__main__":
    with one_sentence("steps_saved.py"):
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("folder", help="the one with the study's images")
        curves(parser.parse_args().folder).to_csv(CURVES, index=False, float_format="%.4f", lineterminator="\n")
        print("\n".join(table(pd.read_csv(CURVES))))

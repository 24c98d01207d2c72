"""How many steps does a learned start save?

    python experiments/008_learned_start/steps_saved.py FOLDER     # FOLDER holds the images of the study

Writes curves.csv: the mean PSNR over images and seeds at each logged step of the finished fits. Then prints the table: the PSNR
that the random start reaches after a number of steps, and after how many the learned start of the same latent reaches it.
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
"""Steps of the random start that the table shows."""
LATENTS = {"drawn": "", "meshgrid": ", meshgrid"}
"""Latent -> ending of its arms' names."""


def curves(images: str) -> pd.DataFrame:
    """Columns task, arm, step, psnr (mean over images and seeds), fits."""
    plan, store = plan_study(read_study(HERE / "fits.toml"), images=images), Store(HERE)
    scores: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for run in plan.runs:
        for row in store.history(run.key) if store.has(run.key) else []:
            scores[run.task, run.arm, int(row["step"])].append(row["psnr"])
    rows = [(*key, sum(values) / len(values), len(values)) for key, values in scores.items()]
    return pd.DataFrame(rows, columns=["task", "arm", "step", "psnr", "fits"])


def table(curves: pd.DataFrame) -> list[str]:
    """Lines of Markdown: each learned start against the random start of the same latent.

    A cell has the PSNR of the random start after a number of steps, behind the steps that the learned start takes to reach it.
    """
    heads = ["task", "latent", *(f"{steps} steps" for steps in ASKED), "best of the random start", "best of the learned start"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for (task, arms), (latent, suffix) in product(curves.groupby("task", sort=False), LATENTS.items()):
        random, learned = (
            arms[arms["arm"] == f"{start} start{suffix}"].set_index("step")["psnr"] for start in ("random", "learned")
        )
        cells = []
        for steps in (*ASKED, int(random.idxmax())):
            near = min(random.index, key=lambda step: abs(step - steps))
            reached = learned[learned >= random[near]]
            when = reached.index[0] if len(reached) else "never"
            at = "" if near in ASKED else f" after {near}"
            cells.append(f"{when} ({random[near]:.2f} dB{at})")
        lines.append(f"| {task} | {latent} | {' | '.join(cells)} | {learned.max():.2f} dB after {learned.idxmax()} |")
    return lines


if __name__ == "__main__":
    with one_sentence("steps_saved.py"):
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("folder", help="folder of the study's images")
        curves(parser.parse_args().folder).to_csv(CURVES, index=False, float_format="%.4f", lineterminator="\n")
        print("\n".join(table(pd.read_csv(CURVES))))

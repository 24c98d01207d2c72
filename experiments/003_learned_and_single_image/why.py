"""How alike are the errors of the fit and of the learned prior, and how much could their mean gain?

    python experiments/003_learned_and_single_image/why.py FOLDER     # FOLDER holds the images of the studies

If the errors of two estimates have the same size and the correlation c, their mean is better by -10 log10((1 + c) / 2) dB.
Prints a table with one row for each task, means over images and seeds, from the finished runs of the four studies.
"""

import argparse
import math
from collections import defaultdict
from pathlib import Path
from statistics import mean

from torch import Tensor

from hybrid_dip.errors import one_sentence
from hybrid_dip.images import metrics
from hybrid_dip.study.describe.plan import Plan, Run, plan_study
from hybrid_dip.study.describe.settings import read_study
from hybrid_dip.study.running.store import Store

HERE = Path(__file__).parent


def cells(plan: Plan) -> dict[tuple[str, str, int], dict[str, Run]]:
    """(task, image, seed) -> arm -> run."""
    runs: dict[tuple[str, str, int], dict[str, Run]] = defaultdict(dict)
    for run in plan.runs:
        runs[run.task, run.image, run.seed][run.arm] = run
    return runs


def measure(arms: dict[str, Run], store: Store) -> dict[str, float]:
    """PSNR of each arm and of the mean of ``dip`` and ``learned``, and the correlation of the errors of these two."""
    subject = arms["dip"].subject()
    clean = subject.reference
    assert clean is not None

    def psnr(x: Tensor) -> float:
        return metrics.psnr(subject.task.finish(x), clean)

    outputs = {name: store.output(run.key) for name, run in arms.items()}
    errors = [(subject.task.finish(outputs[name]) - clean).flatten() for name in ("dip", "learned")]
    correlation = float(errors[0] @ errors[1] / (errors[0].norm() * errors[1].norm()))
    average = psnr((outputs["dip"] + outputs["learned"]) / 2)
    return {name: psnr(x) for name, x in outputs.items()} | {"mean of the two": average, "correlation": correlation}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="folder of the studies' images")
    images = parser.parse_args().folder
    print("| task | dip | learned | both | mean of dip and learned | correlation of the errors | gain at equal size |")
    print("|---|---|---|---|---|---|---|")
    for study in ("denoising", "filling_in", "super_resolving", "deblurring"):
        folder = HERE / study
        plan = plan_study(read_study(folder / "study.toml"), images=images)
        store = Store(folder)
        rows: dict[str, list[dict[str, float]]] = defaultdict(list)
        for (task, _, _), arms in cells(plan).items():
            if all(store.has(run.key) for run in arms.values()):
                rows[task].append(measure(arms, store))
        for task, measured in rows.items():
            means = {name: mean(row[name] for row in measured) for name in measured[0]}
            levels = " | ".join(f"{means[name]:.2f} dB" for name in ("dip", "learned", "both", "mean of the two"))
            gain = -10 * math.log10((1 + means["correlation"]) / 2)
            print(f"| {task} ({len(measured)}) | {levels} | {means['correlation']:.2f} | {gain:.2f} dB |")


if __name__ == "__main__":
    with one_sentence("why.py"):
        main()

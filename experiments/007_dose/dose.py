"""How much do data bring, and how much is the architecture's? PSNR against the number of images that a start was learnt from.

    python experiments/007_dose/dose.py learn BSDS500/train        # theta_0 from 1, 4, 16 and 64 photographs
    hybrid-dip study run experiments/007_dose/study.toml           # fits from each, and from random parameters
    python experiments/007_dose/dose.py table                      # curves.csv, the table and dose.png, from the study's folder

The start is that of experiment 008 (Reptile over fits, one fixed latent for the learning and all fits): parameters from which
an image is near. How far ahead of a random start is it after so many steps, and does that grow with the number of photographs?
"""

import argparse
import subprocess
import sys
from pathlib import Path

import pandas as pd

from hybrid_dip.errors import one_sentence
from hybrid_dip.images.figures import save_figure, subplots
from hybrid_dip.study.describe.plan import plan_study
from hybrid_dip.study.describe.settings import read_study
from hybrid_dip.study.reporting.statistics import interval
from hybrid_dip.study.running.store import Store

HERE = Path(__file__).parent
DOSES = (1, 4, 16, 64)
SHOWN = (30, 60, 120, 300)
"""Steps of a fit, of which a line each is drawn."""


def learn(folder: Path) -> None:
    """theta-N.safetensors for each dose; the images of a smaller one are among those of a larger one."""
    images = sorted(folder.glob("*.jpg"))
    spread = images[:: max(1, len(images) // max(DOSES))]
    for dose in DOSES:
        out = HERE / f"theta-{dose}.safetensors"
        if out.exists():
            continue
        # Of every so many, so that four photographs are not four of one series.
        chosen = [str(image) for image in spread[:: max(DOSES) // dose]][:dose]
        command = ["pretrain-network", *chosen, "--task", "denoise", "--sigma", "25", "--side", "64", "--latent", "meshgrid"]
        subprocess.run([Path(sys.executable).parent / "hybrid-dip", *command, "-o", str(out)], check=True)


def curves() -> pd.DataFrame:
    """Columns dose, image, step, psnr (means over seeds)."""
    plan, store = plan_study(read_study(HERE / "study.toml")), Store(HERE)
    rows = [
        (int(run.arm.split()[0]), run.image, int(row["step"]), row["psnr"])
        for run in plan.runs
        if store.has(run.key)
        for row in store.history(run.key)
    ]
    found = pd.DataFrame(rows, columns=["dose", "image", "step", "psnr"])
    return found.groupby(["dose", "image", "step"], as_index=False)["psnr"].mean()


def table(found: pd.DataFrame) -> list[str]:
    """Mean PSNR with its interval over images: a row a dose, a column so many steps, and the best on the way (an oracle)."""
    lines = [
        "| images | " + " | ".join(f"{step} steps" for step in SHOWN) + " | best on the way |",
        "|---" * (len(SHOWN) + 2) + "|",
    ]
    for dose, own in found.groupby("dose"):
        cells = [_cell(own[own["step"] == step]["psnr"]) for step in SHOWN]
        best = own.groupby("image")["psnr"].max()
        lines.append(f"| {dose} | " + " | ".join([*cells, _cell(best)]) + " |")
    return lines


def gains(found: pd.DataFrame) -> list[str]:
    """A sentence a number of steps: how far the start from most images is ahead of a random one, with its interval."""
    lines = []
    for step in SHOWN:
        wide = found[found["step"] == step].pivot(index="image", columns="dose", values="psnr")
        ahead = wide[max(DOSES)] - wide[0]
        low, high = interval(ahead)
        lines.append(
            f"After {step} steps {max(DOSES)} images are {ahead.mean():+.2f} dB [{low:+.2f}, {high:+.2f}] ahead of none."
        )
    return lines


def _cell(values: pd.Series) -> str:
    low, high = interval(values)
    return f"{values.mean():.2f} [{low:.2f}, {high:.2f}]"


def draw(found: pd.DataFrame) -> None:
    """PSNR against the dose, a line a number of steps; a random start stands at the left."""
    doses = sorted(found["dose"].unique())
    figure, axes = subplots(1, 1, (6.4, 4.2))
    axis = axes[0, 0]
    for number, step in enumerate(SHOWN):
        own = found[found["step"] == step]
        cells = [own[own["dose"] == dose]["psnr"] for dose in doses]
        axis.plot(range(len(doses)), [cell.mean() for cell in cells], "o-", color=f"C{number}", label=f"after {step} steps")
        axis.fill_between(range(len(doses)), *zip(*map(interval, cells), strict=True), color=f"C{number}", alpha=0.1)
    axis.set_xticks(range(len(doses)), [str(dose) for dose in doses])
    axis.set(xlabel="training images of the start", ylabel="PSNR (dB)")
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small")
    (HERE / "pictures").mkdir(exist_ok=True)
    save_figure(figure, HERE / "pictures" / "dose.png")


def main() -> None:
    """Learn, or print the table and draw the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("learn").add_argument("folder", type=Path)
    commands.add_parser("table")
    asked = parser.parse_args()
    if asked.command == "learn":
        learn(asked.folder)
        return
    if (HERE / "runs").exists():
        curves().to_csv(HERE / "curves.csv", index=False, float_format="%.4f", lineterminator="\n")
    found = pd.read_csv(HERE / "curves.csv")
    draw(found)
    print("\n".join([*table(found), "", *gains(found)]))


if __name__ == "__main__":
    with one_sentence("dose.py"):
        main()

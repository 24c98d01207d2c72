"""From how many photographs on is a learned start of the network ahead of a random one?

    python experiments/007_dose/dose.py learn BSDS500/train        # starts from 1, 4, 16 and 64 photographs
    hybrid-dip study run experiments/007_dose/study.toml           # fits from each of them, and from random parameters
    python experiments/007_dose/dose.py table                      # curves.csv, the table and dose.png

The start is learnt as in experiment 008: Reptile over fits, with one fixed latent for the learning and for all fits.
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
"""Steps of a fit that the table and the figure show."""


def learn(folder: Path) -> None:
    """Write theta-N.safetensors for each dose; the images of a smaller dose are among those of a larger one."""
    photographs = sorted(folder.glob("*.jpg"))
    spread = photographs[:: max(1, len(photographs) // max(DOSES))]
    for dose in DOSES:
        out = HERE / f"theta-{dose}.safetensors"
        if out.exists():
            continue
        # Spread over the folder: neighbours may show the same scene.
        learning_images = [str(image) for image in spread[:: max(DOSES) // dose]][:dose]
        command = [
            "pretrain-network",
            *learning_images,
            "--task",
            "denoise",
            "--sigma",
            "25",
            "--side",
            "64",
            "--latent",
            "meshgrid",
        ]
        subprocess.run([Path(sys.executable).parent / "hybrid-dip", *command, "-o", str(out)], check=True)


def curves() -> pd.DataFrame:
    """Columns dose, image, step, psnr (mean over the seeds)."""
    plan, store = plan_study(read_study(HERE / "study.toml")), Store(HERE)
    rows = [
        (int(run.arm.split()[0]), run.image, int(row["step"]), row["psnr"])
        for run in plan.runs
        if store.has(run.key)
        for row in store.history(run.key)
    ]
    logged = pd.DataFrame(rows, columns=["dose", "image", "step", "psnr"])
    return logged.groupby(["dose", "image", "step"], as_index=False)["psnr"].mean()


def table(curves: pd.DataFrame) -> list[str]:
    """Mean PSNR with its interval over images, one row for each dose; the last column is the best step, an oracle."""
    lines = [
        "| images | " + " | ".join(f"{step} steps" for step in SHOWN) + " | best on the way |",
        "|---" * (len(SHOWN) + 2) + "|",
    ]
    for dose, own in curves.groupby("dose"):
        cells = [_cell(own[own["step"] == step]["psnr"]) for step in SHOWN]
        best = own.groupby("image")["psnr"].max()
        lines.append(f"| {dose} | " + " | ".join([*cells, _cell(best)]) + " |")
    return lines


def gains(curves: pd.DataFrame) -> list[str]:
    """Sentences: how far the start from the most images is ahead of a random one after each number of steps."""
    lines = []
    for step in SHOWN:
        wide = curves[curves["step"] == step].pivot(index="image", columns="dose", values="psnr")
        ahead = wide[max(DOSES)] - wide[0]
        low, high = interval(ahead)
        lines.append(
            f"After {step} steps {max(DOSES)} images are {ahead.mean():+.2f} dB [{low:+.2f}, {high:+.2f}] ahead of none."
        )
    return lines


def _cell(values: pd.Series) -> str:
    low, high = interval(values)
    return f"{values.mean():.2f} [{low:.2f}, {high:.2f}]"


def draw(curves: pd.DataFrame) -> None:
    """Draw PSNR against the dose, one line for each number of steps; the random start is on the left."""
    doses = sorted(curves["dose"].unique())
    figure, axes = subplots(1, 1, (6.4, 4.2))
    axis = axes[0, 0]
    for number, step in enumerate(SHOWN):
        own = curves[curves["step"] == step]
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
    """Learn the starts, or print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    learning = commands.add_parser("learn", help="learn a start from each number of photographs")
    learning.add_argument("folder", type=Path, help="folder of training photographs (*.jpg)")
    commands.add_parser("table", help="print the table and draw the figure")
    arguments = parser.parse_args()
    if arguments.command == "learn":
        learn(arguments.folder)
        return
    if (HERE / "runs").exists():
        curves().to_csv(HERE / "curves.csv", index=False, float_format="%.4f", lineterminator="\n")
    known = pd.read_csv(HERE / "curves.csv")
    draw(known)
    print("\n".join([*table(known), "", *gains(known)]))


if __name__ == "__main__":
    with one_sentence("dose.py"):
        main()

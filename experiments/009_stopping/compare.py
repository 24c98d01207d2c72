"""How far below the best step does each stopping rule stop, without the clean image?

    python experiments/009_stopping/compare.py fit IMAGES... [--seeds 0 1] [--steps 2000]   # resumes after an interruption
    python experiments/009_stopping/compare.py table                                        # from results.csv

For each image, task and seed the even network of the preset `fast` is fitted once for all steps, far beyond its best. Every
rule follows that one fit (hybrid_dip.stopping.Following). The best step is an oracle: it is read off the clean image. The
selections need a fit to held-out data as well; it names a step. The refit to all data starts from the same seed, so up to that
step it is the first fit, whose PSNR is known.
"""

import argparse
import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.contracts import Case, Rule, Step, Task
from hybrid_dip.errors import SettingsError, one_sentence
from hybrid_dip.images import metrics
from hybrid_dip.images.atomic import write_text
from hybrid_dip.images.figures import save_figure, subplots
from hybrid_dip.images.files import crop_to_centre
from hybrid_dip.problem import degradations
from hybrid_dip.recipes.presets import fast
from hybrid_dip.restoring.hooks import FitHooks
from hybrid_dip.stopping import Discrepancy, Following, MaxSteps, MovingVariance, Whiteness, WindowedVariance
from hybrid_dip.stopping.selection import Bootstrap, HeldOut, Scores, Selection

HERE = Path(__file__).parent
RESULTS = HERE / "results.csv"
COLUMNS = ("image", "task", "seed", "rule", "kept_at", "psnr", "oracle_at", "oracle_psnr", "steps")
SIDE, STEPS = 128, 2000

TASKS: dict[str, Callable[[Tensor], Case]] = {
    "denoise": lambda clean: degradations.noisy(clean, sigma=25 / 255),
    "missing-pixels": lambda clean: degradations.scattered(clean, share=0.5, sigma=10 / 255),
    "super-resolve": lambda clean: degradations.downsampled(clean, factor=4, sigma=10 / 255),
}
RULES: dict[str, Rule] = {
    "all steps": MaxSteps(),
    "wmv": WindowedVariance(),
    "emv": MovingVariance(),
    "discrepancy": Discrepancy(),
    "whiteness": Whiteness(),
}
SELECTIONS: dict[str, dict[str, Selection]] = {
    "held-out": {"held-out": HeldOut()},
    "bootstrap": {"bootstrap": Bootstrap(), "bootstrap (projected)": Bootstrap(projected=True)},
}


def fit_once(task: Task, seed: int, steps: int, observers: list[Any], halt: Callable[[], bool] | None = None) -> None:
    """Fit once, with the observers looking on."""
    recipe = replace(fast(task), runs=1, rule=MaxSteps(), steps=steps)
    hooks = FitHooks(observers=observers, halt=halt)
    hd.restore(task, preset=recipe, seed=seed, device="cpu", progress=False, hooks=lambda _: hooks)


def step_kept(scores: Tensor, patience: int) -> int:
    """The step with the best score at the time when no better one had come for ``patience`` steps."""
    best = torch.tensor([int(scores[: step + 1].argmin()) for step in range(len(scores))])
    waited = (torch.arange(len(scores)) - best >= patience).nonzero()
    return int(best[waited[0]]) if len(waited) else int(best[-1])


def rows_of(case: Case, seed: int, steps: int) -> list[dict[str, Any]]:
    """The rows of one case, one for each rule."""
    task = case.task
    quality: list[float] = []

    def measure(step: Step) -> None:
        quality.append(metrics.psnr(task.finish(step.candidate), case.reference))

    followed = {}
    for name, rule in RULES.items():
        try:
            followed[name] = Following(rule, task)
        except SettingsError:
            continue
    fit_once(task, seed, steps, [measure, *followed.values()])
    kept = {name: following.kept_at for name, following in followed.items()}
    for names in SELECTIONS.values():
        # The selections of a group have the same replicate, so one fit serves them all.
        applying = [name for name in names if "projected" not in name or task.name == "super-resolve"]
        replicates = {name: names[name].replicates(task)[0] for name in applying}
        curves = {name: Scores(replicate.score) for name, replicate in replicates.items()}
        patience = max(names[name].patience for name in applying)

        def waited(curves: dict[str, Scores] = curves, patience: int = patience) -> bool:
            """Whether every curve is past its patience."""
            return all(len(curve.values) - int(torch.stack(curve.values).argmin()) > patience + 1 for curve in curves.values())

        fit_once(next(iter(replicates.values())).task, seed, steps, list(curves.values()), waited)
        kept |= {name: step_kept(torch.stack(curve.values), names[name].patience) for name, curve in curves.items()}
    oracle = max(range(len(quality)), key=quality.__getitem__)
    return [
        {
            "rule": name,
            "kept_at": at,
            "psnr": round(quality[at], 4),
            "oracle_at": oracle,
            "oracle_psnr": round(quality[oracle], 4),
        }
        for name, at in kept.items()
    ]


def fit(images: list[Path], seeds: list[int], steps: int) -> None:
    """Fit every case that is not in results.csv yet."""
    there: list[dict[str, Any]] = list(csv.DictReader(RESULTS.open())) if RESULTS.exists() else []
    done = {(row["image"], row["task"], int(row["seed"]), int(row["steps"])) for row in there}
    for seed in seeds:
        for path in images:
            for name, degrade in TASKS.items():
                if (path.stem, name, seed, steps) in done:
                    continue
                case = degrade(crop_to_centre(hd.load_image(path)[:, :3], SIDE))
                labels = {"image": path.stem, "task": name, "seed": seed, "steps": steps}
                there += [{**labels, **row} for row in rows_of(case, seed, steps)]
                lines = [",".join(COLUMNS), *(",".join(str(row[column]) for column in COLUMNS) for row in there)]
                write_text(RESULTS, "\n".join(lines) + "\n")
                print(json.dumps(labels), flush=True)


def table(results: pd.DataFrame) -> list[str]:
    """Lines of Markdown: how far each rule is below the best step, on average and at worst."""
    tasks = [task for task in TASKS if task in set(results["task"])]
    lines = [
        "| rule | " + " | ".join(f"{task}: mean, worst" for task in tasks) + " | all: mean, worst |",
        "|---" * (len(tasks) + 2) + "|",
    ]
    below = results.assign(below=results["oracle_psnr"] - results["psnr"])
    for rule in dict.fromkeys(below["rule"]):
        own = below[below["rule"] == rule]
        cells = [own[own["task"] == task]["below"] for task in tasks] + [own["below"]]
        lines.append(f"| {rule} | " + " | ".join(f"{c.mean():.2f}, {c.max():.2f} dB" if len(c) else "" for c in cells) + " |")
    return lines


def draw(results: pd.DataFrame) -> None:
    """Draw how far each rule is below the best step: a dot for each case, a line for their mean."""
    below = results.assign(below=results["oracle_psnr"] - results["psnr"])
    rules = list(dict.fromkeys(below["rule"]))
    figure, axes = subplots(1, 1, (7.5, 3.8))
    axis = axes[0, 0]
    for number, task in enumerate(TASKS):
        own = below[below["task"] == task]
        places = [rules.index(rule) + 0.2 * (number - 1) for rule in own["rule"]]
        axis.plot(places, own["below"], "o", color=f"C{number}", markersize=4, alpha=0.7, label=task)
    for place, rule in enumerate(rules):
        mean = below[below["rule"] == rule]["below"].mean()
        axis.plot([place - 0.35, place + 0.35], [mean, mean], color="black", linewidth=1.5)
    axis.set_xticks(range(len(rules)), rules, rotation=25, ha="right")
    axis.set(ylabel="below the best step (dB)", ylim=(-0.05, None))
    axis.grid(alpha=0.3, axis="y")
    axis.legend(fontsize="small")
    (HERE / "pictures").mkdir(exist_ok=True)
    save_figure(figure, HERE / "pictures" / "rules.png")


def main() -> None:
    """Fit, then print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("fit", help="fit the cases that are not in results.csv yet")
    first.add_argument("images", type=Path, nargs="+", help="clean photographs")
    first.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="seeds of the fits")
    first.add_argument("--steps", type=int, default=STEPS, help="steps of each fit")
    commands.add_parser("table", help="print the table and draw the figure")
    arguments = parser.parse_args()
    if arguments.command == "fit":
        fit(arguments.images, arguments.seeds, arguments.steps)
    results = pd.read_csv(RESULTS)
    draw(results)
    print("\n".join(table(results)))


if __name__ == "__main__":
    with one_sentence("compare.py"):
        main()

"""How many dB each prior brought: Shapley values of the three studies as tables and as one figure.

    python experiments/006_prior_attribution/shares.py

Reads results.csv of each study. ``hybrid-dip study attribute`` prints the values of one study.
"""

from pathlib import Path

import pandas as pd

from hybrid_dip.errors import one_sentence
from hybrid_dip.study.describe.plan import plan_study
from hybrid_dip.study.describe.settings import read_study
from hybrid_dip.study.reporting import results
from hybrid_dip.study.reporting.attribution import Attribution, attribute, priors_of, summarise, waterfall_of
from hybrid_dip.study.reporting.statistics import interval
from hybrid_dip.study.reporting.waterfall import save_waterfalls

HERE = Path(__file__).parent
STUDIES = ("denoising", "missing_pixels", "super_resolving")


def attributions() -> list[Attribution]:
    """The attribution of each study."""
    attributions = []
    for name in STUDIES:
        # The photographs themselves are not needed.
        plan = plan_study(read_study(HERE / name / "study.toml"), images="skimage:astronaut")
        empty = {column: [""] for column in results.columns(plan)}
        table = pd.read_csv(HERE / name / "results.csv", keep_default_na=False, na_values=empty)
        (task,) = plan.tasks
        attributions.append(attribute(table, priors_of(plan), task, list(table["image"].unique()), plan.study.seeds))
    return attributions


def table(attributions: list[Attribution]) -> list[str]:
    """One row for each task: no prior, what each prior brought, all three, and what pairs bring beyond their sum."""
    summary = summarise(attributions)
    priors, pairs = attributions[0].priors, [f"{first} x {second}" for first, second in attributions[0].pairs]
    lines = ["| task | no prior | " + " | ".join(priors) + " | all | " + " | ".join(pairs) + " |"]
    lines.append("|---" * (3 + len(priors) + len(pairs)) + "|")
    for name, own in {**summary["tasks"], "mean": summary}.items():
        cells = [_cell(own["none_db"], ""), *(_cell(own["shapley_db"][prior], "+") for prior in priors)]
        cells += [_cell(own["total_interval_db"], "+"), *(_cell(own["interactions_db"][pair], "+") for pair in pairs)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def by_image(attributions: list[Attribution]) -> list[str]:
    """One row for each image: what each prior brought in each task."""
    priors = attributions[0].priors
    heads = [f"{one.task}: {', '.join(priors)}" for one in attributions]
    lines = ["| image | " + " | ".join(heads) + " |", "|---" * (1 + len(attributions)) + "|"]
    for place, image in enumerate(attributions[0].images):
        cells = [", ".join(f"{one.gains[prior][place]:+.2f}" for prior in priors) for one in attributions]
        lines.append(f"| {image} | " + " | ".join(cells) + " |")
    return lines


def overall(attributions: list[Attribution], prior: str) -> str:
    """What a prior brought, as a mean over tasks and images with its interval over images."""
    value = summarise(attributions)["shapley_db"][prior]
    return f"{value['mean']:+.2f} dB [{value['low']:+.2f}, {value['high']:+.2f}]"


def difference(attributions: list[Attribution], first: str, second: str) -> str:
    """How much more one prior brought than another, as a mean over tasks and images with its interval over images."""
    values = sum(one.gains[first] - one.gains[second] for one in attributions) / len(attributions)
    low, high = interval(values)
    return f"{first} - {second}: {values.mean():+.2f} dB [{low:+.2f}, {high:+.2f}]"


def _cell(value: dict[str, float], sign: str) -> str:
    return f"{value['mean']:{sign}.2f} [{value['low']:{sign}.2f}, {value['high']:{sign}.2f}]"


def main() -> None:
    """Print the tables and draw the figure."""
    studies = attributions()
    save_waterfalls(HERE / "pictures" / "attribution.png", [waterfall_of(one) for one in studies])
    lines = [*table(studies), "", *by_image(studies), ""]
    lines += [difference(studies, "architecture", "learned"), difference(studies, "architecture", "recurrence")]
    print("\n".join(lines))


if __name__ == "__main__":
    with one_sentence("shares.py"):
        (HERE / "pictures").mkdir(exist_ok=True)
        main()

"""How many dB each prior brought: Shapley values from the results of the three studies, and their waterfalls side by side.

    python experiments/006_prior_attribution/shares.py

Reads */results.csv; `hybrid-dip study attribute` says the same of one study.
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
    """One a study."""
    found = []
    for name in STUDIES:
        # The images themselves need not be here.
        plan = plan_study(read_study(HERE / name / "study.toml"), images="skimage:astronaut")
        empty = {column: [""] for column in results.columns(plan)}
        table = pd.read_csv(HERE / name / "results.csv", keep_default_na=False, na_values=empty)
        (task,) = plan.tasks
        found.append(attribute(table, priors_of(plan), task, list(table["image"].unique()), plan.study.seeds))
    return found


def table(found: list[Attribution]) -> list[str]:
    """A row a task: without any prior, what each brought, all together, and what pairs bring beyond the sum."""
    said = summarise(found)
    priors, pairs = found[0].priors, [f"{first} x {second}" for first, second in found[0].together]
    lines = ["| task | no prior | " + " | ".join(priors) + " | all | " + " | ".join(pairs) + " |"]
    lines.append("|---" * (3 + len(priors) + len(pairs)) + "|")
    for name, own in {**said["tasks"], "mean": said}.items():
        cells = [_cell(own["none_db"], ""), *(_cell(own["shapley_db"][prior], "+") for prior in priors)]
        cells += [_cell(own["total_interval_db"], "+"), *(_cell(own["interactions_db"][pair], "+") for pair in pairs)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def by_image(found: list[Attribution]) -> list[str]:
    """A row an image: what each prior brought in each task."""
    priors = found[0].priors
    heads = [f"{one.task}: {', '.join(priors)}" for one in found]
    lines = ["| image | " + " | ".join(heads) + " |", "|---" * (1 + len(found)) + "|"]
    for place, image in enumerate(found[0].images):
        cells = [", ".join(f"{one.brought[prior][place]:+.2f}" for prior in priors) for one in found]
        lines.append(f"| {image} | " + " | ".join(cells) + " |")
    return lines


def overall(found: list[Attribution], prior: str) -> str:
    """What a prior brought, over the images, after a mean over the tasks."""
    value = summarise(found)["shapley_db"][prior]
    return f"{value['mean']:+.2f} dB [{value['low']:+.2f}, {value['high']:+.2f}]"


def difference(found: list[Attribution], first: str, second: str) -> str:
    """How much more one prior brought than another, over the images, after a mean over the tasks."""
    values = sum(one.brought[first] - one.brought[second] for one in found) / len(found)
    low, high = interval(values)
    return f"{first} - {second}: {values.mean():+.2f} dB [{low:+.2f}, {high:+.2f}]"


def _cell(value: dict[str, float], sign: str) -> str:
    return f"{value['mean']:{sign}.2f} [{value['low']:{sign}.2f}, {value['high']:{sign}.2f}]"


def main() -> None:
    """Print the tables and draw the figure."""
    found = attributions()
    save_waterfalls(HERE / "pictures" / "attribution.png", [waterfall_of(one) for one in found])
    lines = [*table(found), "", *by_image(found), ""]
    lines += [difference(found, "architecture", "learned"), difference(found, "architecture", "recurrence")]
    print("\n".join(lines))


if __name__ == "__main__":
    with one_sentence("shares.py"):
        (HERE / "pictures").mkdir(exist_ok=True)
        main()

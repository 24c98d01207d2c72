"""What the page shows, as plain data: tables, pictures and curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hybrid_dip.images.figures import PsnrCurve
from hybrid_dip.restoring.estimate import duration
from hybrid_dip.study.describe.plan import Plan
from hybrid_dip.study.reporting import results
from hybrid_dip.study.reporting.gallery import Gallery
from hybrid_dip.study.reporting.page.pictures import as_png
from hybrid_dip.study.reporting.page.tables import (
    explanation,
    leaderboard,
    table_of_attribution,
    table_of_failures,
    table_of_images,
)

MOST_POINTS = 160
"""Points of a curve that are drawn."""


def page_content(
    plan: Plan,
    table: pd.DataFrame,
    gallery: Gallery,
    protocols: Mapping[str, str],
    provenance: Sequence[str],
    notes: Sequence[str],
    attribution: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Everything on the page.

    Args:
        plan: The study.
        table: Its finished runs.
        gallery: Pictures, curves and maps of the first images.
        protocols: Task -> how the images were degraded.
        provenance: Versions and machines.
        notes: What the reader should know first.
        attribution: What :func:`hybrid_dip.study.reporting.attribution.attribute_study` gave, or None.

    Returns:
        What the template shows, and what the script draws.
    """
    shown = [task for task in plan.tasks if gallery.pictures.get(task)]
    failed = table[table["error"] != ""]
    seeds = ", ".join(str(seed) for seed in plan.study.seeds)
    content = {
        "name": plan.study.name,
        "summary": f"{len(plan.images)} images, {len(plan.tasks)} tasks, {len(plan.arms)} arms, seeds {seeds}: "
        f"{len(table)} of {len(plan.runs)} runs are finished, {len(failed)} of them failed; "
        f"{duration(results.seconds(plan, table))} of fitting.",
        "notes": list(notes),
        "tasks": [
            {
                "name": task,
                "protocol": _plainly(protocols[task]),
                "number": shown.index(task) if task in shown else None,
                "board": leaderboard(plan, table, task),
                "said": explanation(plan, table, task),
                "images": [table_of_images(plan, table, task, name) for name in results.columns(plan)],
            }
            for task in plan.tasks
        ],
        "attribution": None if attribution is None else table_of_attribution(attribution),
        "failed": table_of_failures(failed) if len(failed) else None,
        "provenance": [_plainly(line) for line in provenance],
        "settings": plan.study.path.read_text("utf-8") if plan.study.path.is_file() else "",
    }
    data = {
        "arms": plan.arms,
        "tasks": [
            {
                "name": task,
                "images": [
                    {
                        "name": image,
                        "pictures": [
                            {"arm": arm, "caption": caption, "src": as_png(x)} for arm, (caption, x) in columns.items()
                        ],
                        "curves": {arm: _points(curve) for arm, curve in gallery.curves.get(task, {}).get(image, {}).items()},
                        "maps": [
                            {"arm": f"{arm}: weight of {name}", "caption": f"{float(weight.mean()):.2f}", "src": as_png(weight)}
                            for arm, weights in gallery.maps.get(task, {}).get(image, {}).items()
                            for name, weight in weights.items()
                        ],
                    }
                    for image, columns in gallery.pictures[task].items()
                ],
            }
            for task in shown
        ],
    }
    return content, data


def _plainly(markdown: str) -> str:
    return markdown.replace("`", "")


def _points(curve: PsnrCurve) -> dict[str, Any]:
    """A curve with as many points as a screen shows."""
    chosen = np.unique(np.linspace(0, len(curve.steps) - 1, MOST_POINTS).round().astype(int))
    known = [i for i in chosen if np.isfinite(curve.psnr[i])]
    return {
        "steps": [int(curve.steps[i]) for i in known],
        "psnr": [round(float(curve.psnr[i]), 3) for i in known],
        "kept": curve.kept_at,
    }

"""The results as a LaTeX table for a paper; it needs the package booktabs."""

import pandas as pd

from hybrid_dip.study.describe.plan import Plan
from hybrid_dip.study.reporting import results
from hybrid_dip.study.reporting.numbers import direction, interval_text, number
from hybrid_dip.study.reporting.statistics import ABOUT_INTERVALS

_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {c: f"\\{c}" for c in "&%$#_{}"}


def escape(text: str) -> str:
    """A text as LaTeX is to read it."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def latex_table(plan: Plan, table: pd.DataFrame) -> str:
    """A row for each arm, a column for each task and metric: mean and 95 % interval over images, the best mean in bold.

    Args:
        plan: The study.
        table: Its finished runs.

    Returns:
        LaTeX, with a comment that says what is needed.
    """
    names, tasks = results.columns(plan), plan.tasks
    summary = results.summarise(table, names)
    means = {(row.task, row.arm, row.metric): row for row in summary.itertuples()}
    lines = ["% needs \\usepackage{booktabs}", f"\\begin{{tabular}}{{l{'r' * len(tasks) * len(names)}}}", "\\toprule"]
    lines.append(" & ".join(["", *(f"\\multicolumn{{{len(names)}}}{{c}}{{{escape(task)}}}" for task in tasks)]) + r" \\")
    lines.append(" & ".join(["arm", *(escape(name) for _ in tasks for name in names)]) + r" \\")
    lines.append("\\midrule")
    for arm in plan.arms:
        cells = [escape(arm)]
        for task in tasks:
            for name in names:
                row = means.get((task, arm, name))
                others = [other.mean for key, other in means.items() if key[0] == task and key[2] == name]
                cells.append("" if row is None else _cell(row, name, direction(name), others))
        lines.append(" & ".join(cells) + r" \\")
    images = summary["images"].max() if len(summary) else 0
    lines += ["\\bottomrule", "\\end{tabular}"]
    lines.append(f"% means over {images} images (over seeds first), with the {ABOUT_INTERVALS}")
    return "\n".join(lines) + "\n"


def _cell(row: object, name: str, sign: float, others: list[float]) -> str:
    mean, low, high = (getattr(row, part) for part in ("mean", "low", "high"))
    text, spread = number(mean, name), interval_text(low, high, name)
    if sign and sign * mean >= max(sign * other for other in others if other == other):
        text = f"\\textbf{{{text}}}"
    return f"{text} {{\\scriptsize {spread}}}" if spread else text

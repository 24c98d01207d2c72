"""The results as a LaTeX table (package booktabs), to be put into a paper."""

import pandas as pd

from hybrid_dip.study.describe.plan import Plan
from hybrid_dip.study.reporting import results
from hybrid_dip.study.reporting.page.content import better, number

_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {c: f"\\{c}" for c in "&%$#_{}"}


def escaped(text: str) -> str:
    """As LaTeX prints it."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def latex_table(plan: Plan, table: pd.DataFrame) -> str:
    """A row an arm, a column a task and metric: mean and 95 % interval over images, the best mean in bold.

    Args:
        plan: The study.
        table: From :func:`hybrid_dip.study.reporting.results.load`.

    Returns:
        LaTeX, with a comment that says what is needed.
    """
    names, tasks = results.columns(plan), plan.tasks
    summary = results.summarise(table, names)
    means = {(row.task, row.arm, row.metric): row for row in summary.itertuples()}
    lines = ["% needs \\usepackage{booktabs}", f"\\begin{{tabular}}{{l{'r' * len(tasks) * len(names)}}}", "\\toprule"]
    lines.append(" & ".join(["", *(f"\\multicolumn{{{len(names)}}}{{c}}{{{escaped(task)}}}" for task in tasks)]) + r" \\")
    lines.append(" & ".join(["arm", *(escaped(name) for _ in tasks for name in names)]) + r" \\")
    lines.append("\\midrule")
    for arm in plan.arms:
        cells = [escaped(arm)]
        for task in tasks:
            for name in names:
                row = means.get((task, arm, name))
                others = [other.mean for key, other in means.items() if key[0] == task and key[2] == name]
                cells.append("" if row is None else _cell(row, name, better(name), others))
        lines.append(" & ".join(cells) + r" \\")
    images = summary["images"].max() if len(summary) else 0
    lines += ["\\bottomrule", "\\end{tabular}"]
    lines.append(f"% means over {images} images (over seeds first), with 95 % bootstrap intervals over images")
    return "\n".join(lines) + "\n"


def _cell(row: object, name: str, sign: float, others: list[float]) -> str:
    mean, low, high = (getattr(row, part) for part in ("mean", "low", "high"))
    text = number(mean, name)
    if sign and sign * mean >= max(sign * other for other in others if other == other):
        text = f"\\textbf{{{text}}}"
    return text if low != low else f"{text} {{\\scriptsize [{number(low, name)}, {number(high, name)}]}}"

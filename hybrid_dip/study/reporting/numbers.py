"""How a report writes numbers, and which way of them is better: the same in the page, in Markdown and in LaTeX."""

from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.study.describe.measures import BEST, HELD_OUT, RAW


def number(value: float, metric: str, sign: str = "") -> str:
    """A metric's value as text: two digits for dB, three for the rest.

    Args:
        value: The value; may be NaN.
        metric: Column of the results.
        sign: "+" shows the sign always.

    Returns:
        The text; "-" for NaN.
    """
    return "-" if value != value else f"{value:{sign}.{2 if metric.startswith('psnr') else 3}f}"


def interval_text(low: float, high: float, metric: str, sign: str = "") -> str:
    """An interval as text.

    Args:
        low: Its lower end; may be NaN.
        high: Its upper end.
        metric: Column of the results.
        sign: "+" shows the signs always.

    Returns:
        The text; "" for NaN.
    """
    return "" if low != low else f"[{number(low, metric, sign)}, {number(high, metric, sign)}]"


def title(metric: str) -> str:
    """A metric as the title of a column, with its unit."""
    return f"{metric} (oracle, dB)" if metric == BEST else f"{metric} (dB)" if metric.startswith("psnr") else metric


def direction(metric: str) -> float:
    """1 where a larger value is better, -1 where a smaller one is, 0 where it is not known."""
    name = metric.partition(":")[0].removesuffix(RAW)
    known = catalogue().entries("metrics")
    if metric == HELD_OUT or (name in known and "lower is better" in known[name].summary):
        return -1.0
    return 1.0 if metric == BEST or name in known else 0.0

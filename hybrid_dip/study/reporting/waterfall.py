"""The waterfall of an attribution: the steps in dB from no prior to all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybrid_dip.images.figures import save_figure, subplots

GREY, UP, DOWN = "0.55", "tab:blue", "tab:red"


@dataclass(frozen=True)
class Waterfall:
    """One panel.

    Attributes:
        title: The panel's title.
        start: PSNR without any prior.
        gains: Prior -> dB that it brought, in the order of the steps.
        spread: Prior -> lower and upper end of its interval; NaN where there is none.
    """

    title: str
    start: float
    gains: Mapping[str, float]
    spread: Mapping[str, tuple[float, float]]


def save_waterfalls(path: Path, panels: Sequence[Waterfall]) -> None:
    """Draw a panel for each task, with a scale of its own: bars from PSNR to PSNR, the interval of each step as a line.

    Args:
        path: PNG file to write.
        panels: At least one.
    """
    bars = max(len(panel.gains) for panel in panels) + 2
    figure, axes = subplots(1, len(panels), (max(3.2, 0.95 * bars) * len(panels), 4))
    for axis, panel in zip(axes[0], panels, strict=True):
        _draw(axis, panel)
    save_figure(figure, path)


def _draw(axis: Any, panel: Waterfall) -> None:
    level = panel.start
    reached = [level]  # by bars and intervals
    axis.bar(0, level, color=GREY, width=0.7)
    axis.annotate(f"{level:.2f}", (0, level), (0, 3), textcoords="offset points", ha="center", fontsize="small")
    for place, (name, gain) in enumerate(panel.gains.items(), start=1):
        axis.bar(place, gain, bottom=level, color=UP if gain >= 0 else DOWN, width=0.7)
        ends = [end for end in panel.spread[name] if end == end]
        axis.plot([place] * len(ends), [level + end for end in ends], color="black", linewidth=1.5)
        top = level + max(gain, 0.0, *ends)
        axis.annotate(f"{gain:+.2f}", (place, top), (0, 3), textcoords="offset points", ha="center", fontsize="small")
        axis.plot([place - 1, place + 1], [level, level], color=GREY, linewidth=0.8, linestyle=":")
        reached += [level + gain, *(level + end for end in ends)]
        level += gain
    end = len(panel.gains) + 1
    axis.bar(end, level, color=GREY, width=0.7)
    axis.annotate(f"{level:.2f}", (end, level), (0, 3), textcoords="offset points", ha="center", fontsize="small")
    axis.set_xticks(range(end + 1), ["none", *panel.gains, "all"], rotation=30, ha="right")
    room = max(1.0, max(reached) - min(reached))
    # Bars begin below the smallest value: PSNR has no zero that means anything.
    axis.set_ylim(min(reached) - 0.15 * room, max(reached) + 0.15 * room)
    axis.set(title=panel.title, ylabel="PSNR (dB)")
    axis.spines[["top", "right"]].set_visible(False)

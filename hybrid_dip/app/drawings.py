"""How a restoration goes, drawn as HTML: a bar for each seed, and curves along the iterates."""

import html
import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from hybrid_dip.app.run import Queue, Run
from hybrid_dip.restoring.estimate import duration

WIDTH, HEIGHT = 600, 90
"""Units of a curve's drawing, which is stretched to the width of the page."""


def progress(run: Run | None, queue: Queue) -> str:
    """State, time left, a bar for each seed, and what the user should read; "" for none."""
    if run is None:
        return ""
    job, state = run.job, run.state
    if run.state == "waiting":
        before = queue.before(run)
        state = f"waiting for {before} other{'s' * (before > 1)}" if before else "about to begin"
    left = run.seconds_left()
    if left is not None:
        state = f"running, at most {duration(left)} left"
    if run.result is not None:
        mean = f", the mean of {len(run.result.fits)} fits" if len(run.result.fits) > 1 else ""
        state = f"finished in {duration(run.result.seconds)}{mean}"
    bars = "".join(
        f'<div class="bar">seed {seed}<div class="track"><div style="width: {100 * run.share(seed):.1f}%"></div></div>'
        f"<span>{_steps(run, seed)}</span></div>"
        for seed in run.seeds
    )
    tiles = f"<p>An image in {len(job.tiles.boxes)} tiles shows its newest picture only.</p>" if job.tiles is not None else ""
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in run.notes)
    error = f'<p class="wrong">{html.escape(run.error)}</p>' if run.error else ""
    return f'<div class="progress" data-state="{run.state}"><b>{html.escape(state)}</b>{bars}{error}{tiles}{notes}</div>'


def _steps(run: Run, seed: int) -> str:
    fits = [(name, fit) for name, fit in list(run.fits.items()) if name.seed == seed]
    if not fits:
        return "not begun"
    name, fit = fits[-1]
    where = "" if name.tile is None or run.job.tiles is None else f", tile {name.tile + 1} of {len(run.job.tiles.boxes)}"
    part = f", {name.replicate}" if name.replicate else ""
    return f"{'ended after' if fit.over else 'step'} {fit.done} of {run.job.recipe.steps}{where}{part}"


def curves(run: Run | None, at: int) -> str:
    """The loss and, with a clean image, the PSNR of all iterates, over the slider's scale; ``at`` is marked."""
    if run is None or len(run.iterates) < 2:
        return ""
    rows = list(run.iterates)
    last = len(rows) - (run.result is None)
    starts = [i for i in range(1, len(rows)) if rows[i].seed != rows[i - 1].seed]
    loss = [math.log10(max(row.loss, 1e-12)) for row in rows]
    drawn = [_curve("PSNR in dB", [row.psnr for row in rows if row.psnr is not None], "{:.1f}".format, starts, at, last)]
    drawn.append(_curve("loss", loss, lambda value: f"{10**value:.2g}", starts, at, last))
    return f'<div class="curves">{"".join(drawn)}</div>'


def _curve(
    name: str, values: Sequence[float], written: Callable[[float], str], starts: Sequence[int], at: int, last: int
) -> str:
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    scale = (HEIGHT - 10) / ((high - low) or 1)

    def x(index: float) -> float:
        return WIDTH * index / max(last, 1)

    bounds = [0, *starts, len(values)]
    lines = "".join(
        '<polyline points="' + " ".join(f"{x(i):.1f},{HEIGHT - 5 - scale * (values[i] - low):.1f}" for i in range(a, b)) + '"/>'
        for a, b in pairwise(bounds)
    )
    borders = "".join(f'<line class="seed" x1="{x(i - 0.5):.1f}" x2="{x(i - 0.5):.1f}" y2="{HEIGHT}"/>' for i in starts)
    mark = f'<line class="at" x1="{x(at):.1f}" x2="{x(at):.1f}" y2="{HEIGHT}"/>'
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{name}">'
    ends = f"<div><span>{written(high)}</span><span>{written(low)}</span></div>"
    return f"<figure><figcaption>{name}</figcaption>{ends}{svg}{borders}{lines}{mark}</svg></figure>"

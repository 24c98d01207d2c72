"""Pictures of a fit: its curves, and images side by side. Matplotlib is imported when one is drawn."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from hybrid_dip.images.atomic import replacement
from hybrid_dip.images.picture import quantise

Rows = Sequence[Mapping[str, float]]


def visible_channels(x: Tensor) -> Tensor:
    """Channels that show an image with any number of them: the first three, or the first.

    Args:
        x: (1, C, H, W).

    Returns:
        (1, 3, H, W) or (1, 1, H, W).
    """
    return x[:, :3] if x.shape[1] >= 3 else x[:, :1]


def subplots(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """A figure and its axes.

    Args:
        rows: Number of rows of axes.
        columns: Number of columns of axes.
        size: (width, height) in inches.

    Returns:
        The figure, and the axes as an array (rows, columns).
    """
    from matplotlib.figure import Figure

    # Without pyplot there is no global state, and no display is looked for.
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as PNG, whole or not at all.

    Args:
        figure: A figure of :func:`subplots`.
        path: The file to write.
    """
    with replacement(path) as temporary:
        _write(figure, temporary)


def as_png(figure: Any) -> bytes:
    """A figure of :func:`subplots` as the content of a PNG file."""
    buffer = io.BytesIO()
    _write(figure, buffer)
    return buffer.getvalue()


def _write(figure: Any, where: Path | io.BytesIO) -> None:
    figure.savefig(where, dpi=110, bbox_inches="tight", format="png", metadata={"Software": None})


def draw_curves(rows: Rows, terms: Sequence[str], kept_at: int) -> Any:
    """Draw loss, gradient norms and, where there was a reference, PSNR against the step.

    Gradients are taken at the image, and for a term of the network at its parameters.

    Args:
        rows: The history.
        terms: Names of the regularisers.
        kept_at: Step of the kept image, marked by a line.

    Returns:
        The figure.
    """
    steps = [row["step"] for row in rows]
    with_psnr = any("psnr" in row for row in rows)
    figure, axes = subplots(1, 3 if with_psnr else 2, (13 if with_psnr else 9, 3.6))
    losses, pulls = axes[0, 0], axes[0, 1]
    losses.plot(steps, [row["loss"] for row in rows], label="total", color="black")
    for name in ("fidelity", *terms):
        if terms:
            losses.plot(steps, [row.get(f"weight_{name}", 1.0) * row[name] for row in rows], label=name, linewidth=1)
        pulls.plot(steps, [row[f"gradient_{name}"] for row in rows], label=name)
    losses.set(title="loss (weighted)", xlabel="step")
    pulls.set(title="norm of the gradient, by part", xlabel="step")
    panels = [losses, pulls]
    if with_psnr:
        known = [row for row in rows if "psnr" in row]
        axes[0, 2].plot([row["step"] for row in known], [row["psnr"] for row in known], color="tab:green", label="PSNR")
        axes[0, 2].set(title="PSNR against the reference (dB)", xlabel="step")
        panels.append(axes[0, 2])
    for axis in panels:
        if axis is not panels[-1] or not with_psnr:
            values = [value for line in axis.get_lines() for value in line.get_ydata()]
            if values and min(values) > 0:
                axis.set_yscale("log")
        axis.axvline(kept_at, color="grey", linestyle=":", label=f"kept ({kept_at})")
        axis.legend(fontsize="small")
        axis.grid(alpha=0.3)
    return figure


def draw_comparison(panels: Mapping[str, Tensor]) -> Any:
    """Draw images side by side at one size, without smoothing.

    Args:
        panels: Title -> (1, C, H, W); smaller ones are enlarged pixel by pixel.

    Returns:
        The figure.
    """
    widest = max(image.shape[-1] / image.shape[-2] for image in panels.values())
    height = 4.2
    figure, axes = subplots(1, len(panels), (height * widest * len(panels), height + 0.4))
    for axis, (title, image) in zip(axes[0], panels.items(), strict=True):
        _draw(axis, image, title)
    return figure


def save_grid(path: Path, rows: Sequence[Mapping[str, tuple[str, Tensor]]]) -> None:
    """Draw a table of images without smoothing.

    Args:
        path: PNG file to write.
        rows: Column -> caption and (1, C, H, W); a column that a row lacks stays empty.
    """
    columns = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "clean"]
    columns += ["clean"] if any("clean" in row for row in rows) else []
    side = 2.4
    figure, axes = subplots(len(rows), len(columns), (side * len(columns), (side + 0.3) * len(rows)))
    for line, row in zip(axes, rows, strict=True):
        for axis, name in zip(line, columns, strict=True):
            if name not in row:
                axis.axis("off")
                continue
            caption, image = row[name]
            _draw(axis, image, f"{name}\n{caption}" if caption else name)
    save_figure(figure, path)


@dataclass(frozen=True)
class PsnrCurve:
    """PSNR along one fit.

    Attributes:
        steps: The steps at which it was taken.
        psnr: PSNR in dB at each of them.
        kept_at: Step of the kept image.
    """

    steps: Sequence[float]
    psnr: Sequence[float]
    kept_at: int


LINES = ("-", "--", ":", "-.")
"""Line styles; the next one is taken when the ten colours are used up."""


def save_psnr_curves(path: Path, panels: Mapping[str, Mapping[str, Sequence[PsnrCurve]]]) -> None:
    """Draw PSNR against the step.

    Each task has a panel, each arm a colour, each image a line, with a dot where it was kept.

    Args:
        path: PNG file to write.
        panels: Task -> arm -> a curve for each image.
    """
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    arms = list(dict.fromkeys(arm for panel in panels.values() for arm in panel))
    # A long list of arms stands beside its panel, so that it hides no curve.
    beside = len(arms) > 5
    size = (7.4, max(3.6, 0.24 * len(arms))) if beside else (5.4, 3.6)
    figure, axes = subplots(rows, columns, (size[0] * columns, size[1] * rows))
    for axis, (task, panel) in zip(axes.flat, panels.items(), strict=False):
        for arm, curves in panel.items():
            colour, style = f"C{arms.index(arm) % 10}", LINES[arms.index(arm) // 10 % len(LINES)]
            for number, curve in enumerate(curves):
                axis.plot(
                    curve.steps, curve.psnr, color=colour, linestyle=style, linewidth=1, label=arm if number == 0 else None
                )
                nearest = min(range(len(curve.steps)), key=lambda i: abs(curve.steps[i] - curve.kept_at))
                axis.plot(curve.steps[nearest], curve.psnr[nearest], "o", color=colour, markersize=4)
        axis.set(title=task, xlabel="step", ylabel="PSNR (dB)")
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small", **({"loc": "upper left", "bbox_to_anchor": (1.02, 1)} if beside else {}))
    for axis in list(axes.flat)[len(panels) :]:
        axis.axis("off")
    save_figure(figure, path)


@dataclass(frozen=True)
class SweepPanel:
    """A quantity against the weights of priors.

    Attributes:
        title: Name of the quantity.
        lines: Prior -> weight, and a value for each seed.
        without: A value for each seed, without any prior.
        lower_is_better: Whether the best value is the lowest.
    """

    title: str
    lines: Mapping[str, Sequence[tuple[float, Sequence[float]]]]
    without: Sequence[float]
    lower_is_better: bool


def save_sweep(path: Path, panels: Sequence[SweepPanel]) -> None:
    """Draw quantities against the weight: a line for each prior, a dot for each seed, dashed without a prior.

    A star marks the best mean of a line, where it is better than without the prior.

    Args:
        path: PNG file to write.
        panels: A panel for each quantity.
    """
    figure, axes = subplots(1, len(panels), (5.4 * len(panels), 4))
    for axis, panel in zip(axes[0], panels, strict=True):
        without = sum(panel.without) / max(1, len(panel.without))
        for number, (name, points) in enumerate(panel.lines.items()):
            known = sorted((weight, values) for weight, values in points if values)
            if not known:
                continue  # all its fits have failed
            means = [(weight, sum(values) / len(values)) for weight, values in known]
            best = (min if panel.lower_is_better else max)(means, key=lambda point: point[1])
            colour = f"C{number % 10}"
            axis.plot(*zip(*means, strict=True), color=colour, label=name)
            axis.plot(
                *zip(*((weight, value) for weight, values in known for value in values), strict=True),
                "o",
                color=colour,
                markersize=4,
            )
            if not panel.without or (best[1] < without if panel.lower_is_better else best[1] > without):
                axis.plot(*best, "*", color=colour, markersize=13)
            axis.set_xscale("log")
        if panel.without:
            axis.axhline(without, color="grey", linestyle="--", label="without")
        axis.set(xlabel="weight", ylabel=panel.title)
        axis.grid(alpha=0.3, which="both")
        axis.legend(fontsize="small")
    save_figure(figure, path)


def _draw(axis: Any, image: Tensor, title: str) -> None:
    values = quantise(visible_channels(image))
    grey = values.shape[-1] == 1
    axis.imshow(values[..., 0] if grey else values, cmap="gray" if grey else None, vmin=0, vmax=255, interpolation="nearest")
    axis.set_title(title, fontsize="medium")
    axis.axis("off")


def save_animation(path: Path, frames: Sequence[Tensor]) -> None:
    """Write an animated GIF of equal-sized frames, about four seconds long.

    Args:
        path: GIF file to write.
        frames: Bytes, each (1, C, H, W).
    """
    pictures = []
    for frame in frames:
        values = visible_channels(frame)[0].permute(1, 2, 0).numpy().astype(np.uint8)
        pictures.append(Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values))
    pace = max(20, 4000 // max(1, len(pictures)))
    # The last frame stays for a moment before the loop starts again.
    paces = [pace] * (len(pictures) - 1) + [1500]
    with replacement(path) as temporary:
        pictures[0].save(temporary, save_all=True, append_images=pictures[1:], duration=paces, loop=0)


def save_maps(path: Path, maps: Mapping[str, Tensor]) -> None:
    """Draw weights between 0 and 1 as maps side by side, with one scale for all.

    Args:
        path: PNG file to write.
        maps: Title -> (H, W).
    """
    height, width = next(iter(maps.values())).shape
    side = 3.2
    figure, axes = subplots(1, len(maps), (side * max(0.5, width / height) * len(maps) + 0.8, side + 0.4))
    for axis, (title, values) in zip(axes[0], maps.items(), strict=True):
        drawn = axis.imshow(values.cpu().numpy(), vmin=0, vmax=1, cmap="viridis", interpolation="nearest")
        axis.set_title(title, fontsize="medium")
        axis.axis("off")
    figure.colorbar(drawn, ax=axes[0].tolist(), label="weight")
    save_figure(figure, path)

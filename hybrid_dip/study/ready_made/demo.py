"""The demo: one noisy photograph restored by the image's own prior, by a learned one, and by both, as a study of three arms."""

from typing import Any

import pandas as pd

from hybrid_dip.errors import SettingsError
from hybrid_dip.images import figures
from hybrid_dip.recipes import listing
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.study.describe.plan import Plan
from hybrid_dip.study.reporting import results
from hybrid_dip.study.reporting.gallery import panels
from hybrid_dip.study.reporting.results import write_results
from hybrid_dip.study.running.store import Store

ALONE = "DIP alone"
PICTURE = "comparison.png"
LEARNED = "bundled"
"""The denoiser of the demo."""
PERCEPTUAL = "stlpips-alex"
"""Measured where its weights are on this machine."""
TITLES = {"psnr": "PSNR (dB)", "ssim": "SSIM", PERCEPTUAL: "LPIPS (shift-tolerant)"}
STEPS_GUIDED = 500
"""Steps of each fit by both; see experiments/003_learned_and_single_image."""
WHY = (
    "In plain Gaussian denoising both need not be better than the learned prior alone: it was trained for just this noise, and "
    "knows already what the fit adds; experiments/003_learned_and_single_image has other tasks, and why."
)
CENTRE = (128, 224)
"""Middle of the astronaut's face, (row, column)."""


def demo_content(size: int, steps: int | None = None) -> dict[str, Any]:
    """The demo's study: the face of scikit-image's astronaut with noise of sigma 25.

    Args:
        size: Side of the crop, 16 to 256.
        steps: Steps of each fit, instead of the preset's number.

    Returns:
        The study's content; without the learned arms where the plug-in with the denoiser is missing.

    Raises:
        SettingsError: A size out of range.
    """
    if not 16 <= size <= 256:
        raise SettingsError(f"--size must be 16 to 256, got {size}.")
    top, left = (middle - size // 2 for middle in CENTRE)
    fitted = {"preset": "fast"} if steps is None else {"preset": "fast", "steps": steps}
    arms: list[dict[str, Any]] = [{"name": ALONE, **fitted}]
    if LEARNED in catalogue().entries("denoisers"):
        arms += [
            {"name": "learned alone", "preset": f"one-shot:denoiser={LEARNED}"},
            {
                "name": "both",
                "preset": f"guided:preset=fast,denoiser={LEARNED}",
                "steps": steps or STEPS_GUIDED,
                "stop": "max_steps",
                "regularisers": [f"denoised-observation:denoiser={LEARNED}@10"],
            },
        ]
    return {
        "name": "demo",
        "images": [{"path": "skimage:astronaut", "crop": [top, left, size, size]}],
        "metrics": ["psnr", "ssim", *([PERCEPTUAL] if listing.ready("metrics", PERCEPTUAL) else [])],
        "tasks": [{"kind": "denoise", "sigma": 25}],
        "arms": arms,
    }


def report_demo(plan: Plan, store: Store) -> pd.DataFrame:
    """Write results.csv and comparison.png.

    Args:
        plan: The demo's study, all of whose runs are done.
        store: Its folder.

    Returns:
        The table.

    Raises:
        StorageError: It cannot be written.
    """
    table = write_results(plan, store)
    images = panels(plan.runs, store)
    shown = {name if name == "clean" else f"{name}\n{caption}": image for name, (caption, image) in images.items()}
    with store.writing():
        figures.save_figure(figures.draw_comparison(shown), store.path / PICTURE)
    return table


def sentences(plan: Plan, table: pd.DataFrame) -> str:
    """The result for a terminal.

    Args:
        plan: The demo's study.
        table: What :func:`report_demo` gave.

    Returns:
        A row for each arm; and why both need not be better than the learned prior alone, where they are there.
    """
    shown = ["arm", *results.columns(plan), "seconds"]
    formats = {title: ("{:.3f}" if name != "psnr" else "{:.2f}").format for name, title in TITLES.items()}
    formats["seconds"] = "{:.0f}".format
    text: str = table[shown].rename(columns=TITLES).to_string(index=False, formatters=formats)
    return f"{text}\n{WHY}" if "both" in set(table["arm"]) else text

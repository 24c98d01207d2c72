"""JPEG artefacts as papers measure them: PSNR of brightness, before and after, beside published figures.

    python benchmarks/jpeg.py --images DIR --json FILE      # plug-and-play; goes on where it stopped
    python benchmarks/jpeg.py --images DIR --json FILE --arms fast --crop 128
    python benchmarks/jpeg.py --json FILE                   # the table of what is there

The brightness of each picture (ITU-R BT.601 from 16 to 235, MATLAB's rgb2ycbcr, rounded to 8 bits) is compressed as a grey
image with the tables of the Independent JPEG Group, by Pillow.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

import hybrid_dip as hd
from hybrid_dip.images import metrics
from hybrid_dip.images.atomic import write_text
from hybrid_dip.images.files import crop_to_centre
from hybrid_dip.problem import degradations

ARMS = {"plug-and-play": "plug-and-play:denoiser=bundled", "fast": "fast", "quick": "quick", "original": "original"}
"""Arm -> preset."""
PUBLISHED = {
    "ARCNN (Dong et al. 2015)": {"LIVE1": (28.96, 32.67), "Classic5": (29.03, 32.51)},
    "DnCNN-3 (Zhang et al. 2017)": {"LIVE1": (29.19, 32.98), "Classic5": (29.40, 32.91)},
    "SwinIR (Liang et al. 2021)": {"LIVE1": (29.86, 33.69), "Classic5": (30.27, 33.73)},
}
"""Method -> images -> PSNR at quality 10 and 30, as table 4 of Liang et al. 2021 has them (SwinIR, ICCV workshops)."""


def measure(path: Path, quality: int, arms: Sequence[str], crop: int | None) -> list[dict[str, Any]]:
    """Compress one picture, and restore it by each arm.

    Args:
        path: The clean picture.
        quality: Quality of the JPEG file.
        arms: Names of :data:`ARMS`.
        crop: Side of the centre that is used, or None for the whole.

    Returns:
        A row for each arm.
    """
    picture = hd.load_image(path)
    clean = (255 * metrics.luma(picture if crop is None else crop_to_centre(picture, crop))).round() / 255
    task = degradations.jpeg_compressed(clean, quality=quality).task
    place = {"image": path.name, "quality": quality, "crop": crop, "jpeg_psnr": metrics.psnr(task.observation, clean)}
    rows = []
    for arm in arms:
        result = hd.restore(task, preset=ARMS[arm], device="cpu", progress=False)
        eight_bits = (255 * result.image).round() / 255
        rows.append({**place, "arm": arm, "psnr": metrics.psnr(eight_bits, clean), "seconds": round(result.seconds, 1)})
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """What was measured, as a table in Markdown, with the published figures below it."""
    lines = ["| arm | crop | quality | images | JPEG | restored | gain |", "|---|---|---|---|---|---|---|"]
    for arm, crop, quality in dict.fromkeys((row["arm"], row["crop"], row["quality"]) for row in rows):
        own = [row for row in rows if (row["arm"], row["crop"], row["quality"]) == (arm, crop, quality)]
        before, after = fmean(row["jpeg_psnr"] for row in own), fmean(row["psnr"] for row in own)
        side = "whole" if crop is None else crop
        lines.append(
            f"| {arm} | {side} | {quality} | {len(own)} | {before:.2f} dB | {after:.2f} dB | {after - before:+.2f} dB |"
        )
    lines += ["", "| published | images | quality 10 | quality 30 |", "|---|---|---|---|"]
    for method, found in PUBLISHED.items():
        lines += [f"| {method} | {images} | {low:.2f} dB | {high:.2f} dB |" for images, (low, high) in found.items()]
    return "\n".join(lines)


def main() -> None:
    """Measure what is not in the file yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of clean pictures; none: print what is in the file")
    parser.add_argument("--json", type=Path, required=True, help="file of the rows")
    parser.add_argument("--arms", nargs="+", choices=sorted(ARMS), default=["plug-and-play"])
    parser.add_argument("--qualities", nargs="+", type=int, default=[10, 30])
    parser.add_argument("--crop", type=int, help="use only the centre, this many pixels a side")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows = json.loads(given.json.read_text()) if given.json.exists() else []
    done = {(row["image"], row["quality"], row["crop"], row["arm"]) for row in rows}
    for path in [] if given.images is None else sorted(path for path in given.images.iterdir() if path.is_file()):
        for quality in given.qualities:
            arms = [arm for arm in given.arms if (path.name, quality, given.crop, arm) not in done]
            if arms:
                rows += measure(path, quality, arms, given.crop)
                write_text(given.json, json.dumps(rows, indent=1))
    print(table(rows))


if __name__ == "__main__":
    main()

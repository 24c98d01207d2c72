"""PSNR and time of the presets on 128x128 crops of the original paper's images.

    python benchmarks/crops.py fit  --images DIR     fits what crops.json lacks; interrupt and repeat at will
    python benchmarks/crops.py time --images DIR     seconds a step, on a quiet machine
    python benchmarks/crops.py table                 the table of the README

DIR is the folder ``data`` of the original implementation's public repository (denoising/F16_GT.png, inpainting/kate.png,
inpainting/kate_mask.png, restoration/barbara.png, sr/zebra_GT.png). The two measurements are apart so that fits may run in
the background while something else works; the time in the table is seconds a step times steps.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

import hybrid_dip as hd
from hybrid_dip import devices
from hybrid_dip.contracts import Case, Step
from hybrid_dip.images import crop_to_centre
from hybrid_dip.restore import RunHooks

HERE = Path(__file__).parent
SIZE = 128
SEED = 0


def _image(folder: Path, name: str) -> torch.Tensor:
    return crop_to_centre(hd.load_image(folder / name), SIZE)


CASES: dict[str, Callable[[Path], Case]] = {
    "denoise, sigma 25 (F16)": lambda d: hd.degradations.noisy(_image(d, "denoising/F16_GT.png"), clip=True),
    "super-resolve x4 (zebra)": lambda d: hd.degradations.downsampled(_image(d, "sr/zebra_GT.png"), factor=4),
    "JPEG, quality 10 (F16)": lambda d: hd.degradations.jpeg_compressed(_image(d, "denoising/F16_GT.png")),
    "inpaint text (kate)": lambda d: hd.degradations.masked(
        _image(d, "inpainting/kate.png"), crop_to_centre(hd.load_mask(d / "inpainting/kate_mask.png"), SIZE)
    ),
    "50 % missing (barbara)": lambda d: hd.degradations.scattered(_image(d, "restoration/barbara.png")),
}
PRESETS = ("quick", "original")


def score(case: Case, finished: torch.Tensor) -> float:
    """PSNR by the case's protocol."""
    if case.protocol.channel == "y":
        return hd.metrics.psnr_y(finished, case.reference, case.protocol.border)
    return hd.metrics.psnr(finished, case.reference)


class PeakWatch:
    """Scores of the finished candidate at logged steps; survives an interruption."""

    def __init__(self, case: Case):
        self.case = case
        self.scores: dict[int, float] = {}

    def __call__(self, step: Step) -> None:
        """Look at a step."""
        if step.logged:
            self.scores[step.index] = score(self.case, self.case.task.finish(step.candidate))

    def state_dict(self) -> dict[str, Any]:
        """The scores so far."""
        return {"scores": self.scores}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.scores = dict(state["scores"])


def fit_one(case: Case, preset: str, folder: Path) -> dict[str, Any]:
    """The whole recipe; resumes where it was stopped."""
    watch = PeakWatch(case)
    hooks = RunHooks(observers=(watch,), checkpoint=hd.Checkpoint(folder / "state.pt", every=500))
    result = hd.restore(case.task, preset=preset, seed=SEED, device="cpu", hooks=lambda seed: hooks)
    hd.save_image(result.image, folder / "restored.png")
    hd.save_image(case.reference, folder / "reference.png")
    return {
        "psnr": score(case, result.image),
        "psnr_raw": score(case, result.raw),
        "ssim": hd.metrics.ssim(result.image, case.reference),
        "peak_psnr": max(watch.scores.values()),
        "peak_step": max(watch.scores, key=watch.scores.__getitem__),
        "steps": result.fits[0].steps,
    }


def time_one(case: Case, preset: str) -> float:
    """Median seconds of a step, over 20 after 5 to warm up."""
    stamps: list[float] = []
    hooks = RunHooks(observers=(lambda step: stamps.append(time.perf_counter()),))
    hd.restore(case.task, preset=preset, seed=SEED, device="cpu", steps=26, hooks=lambda seed: hooks)
    return statistics.median(b - a for a, b in pairwise(stamps[5:]))


def table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown: one row a task and preset; a preset that was not run is said to be so."""
    lines = ["| task (128x128 crop) | preset | PSNR | best on the way (step) | SSIM | steps | seconds a step | time |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for name in CASES:
        for preset in PRESETS:
            row = results.get(f"{name} / {preset}", {})
            if "psnr" not in row:
                lines.append(f"| {name} | `{preset}` | not run | | | | | |")
                continue
            seconds = row.get("seconds_per_step", float("nan"))
            best = f"{row['peak_psnr']:.2f} dB ({row['peak_step']:.0f})"
            lines.append(
                f"| {name} | `{preset}` | {row['psnr']:.2f} dB | {best} | {row['ssim']:.3f} | {row['steps']} | {seconds:.3f} "
                f"| {seconds * row['steps'] / 60:.1f} min |"
            )
    machine = results.get("machine", {})
    lines.append(f"\nSeed {SEED}; {machine.get('platform')}, {machine.get('threads')} threads, torch {machine.get('torch')}.")
    return "\n".join(lines)


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["fit", "time", "table"])
    parser.add_argument("--images", type=Path, help="the original's folder 'data'")
    parser.add_argument("--results", type=Path, default=HERE / "crops.json")
    parser.add_argument("--preset", nargs="*", default=list(PRESETS))
    parser.add_argument("--case", nargs="*", default=list(CASES), help="some of: " + "; ".join(CASES).replace("%", "%%"))
    arguments = parser.parse_args()
    results: dict[str, Any] = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
    if arguments.what == "table":
        print(table(results))
        return
    if arguments.images is None:
        parser.error("--images DIR is needed")
    for preset in arguments.preset:
        for name, make in ((case, CASES[case]) for case in arguments.case):
            key = f"{name} / {preset}"
            row = results.setdefault(key, {})
            if ("psnr" if arguments.what == "fit" else "seconds_per_step") in row:
                continue
            case = make(arguments.images)
            if arguments.what == "fit":
                row |= fit_one(case, preset, HERE / "runs" / key.replace(" / ", "_").replace(" ", "_"))
            else:
                row["seconds_per_step"] = time_one(case, preset)
            results["machine"] = devices.describe(torch.device("cpu"))
            arguments.results.write_text(json.dumps(results, indent=2) + "\n")
            print(key, row, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

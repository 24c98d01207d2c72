"""The options that several commands share, declared once: type, help and panel, no defaults."""

import os
from pathlib import Path
from typing import Annotated

import typer

WRONG = "What is wrong with the image"
HOW = "How it is fitted"
WHERE = "Where, and how long"

Image = Annotated[Path, typer.Argument(help="An image file: PNG, JPEG, TIFF (8 or 16 bit), or .npy (H, W[, C]) in [0, 1].")]
Crop = Annotated[int | None, typer.Option(help="Use only the centre of so many pixels a side.")]
QUIET = "HYBRID_DIP_QUIET"
"""In the environment while a command is quiet, for downloads, which are begun deep below, and for worker processes."""


def _quieten(quiet: bool) -> bool:
    os.environ.pop(QUIET, None)
    if quiet:
        os.environ[QUIET] = "1"
    return quiet


Quiet = Annotated[bool, typer.Option("--quiet", callback=_quieten, help="No progress, no messages.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the results that are there.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]

TaskName = Annotated[str, typer.Option(help="What is wrong with it; see `hybrid-dip list tasks`.")]
Sigma = Annotated[
    float | None,
    typer.Option(rich_help_panel=WRONG, help="Level of Gaussian noise, 0..255; denoise estimates it if left out."),
]
Mask = Annotated[
    Path | None, typer.Option(rich_help_panel=WRONG, help="Mask file: 255 (white) = known pixel, 0 (black) = to fill in.")
]
Factor = Annotated[int | None, typer.Option(rich_help_panel=WRONG, help="Super-resolution: whole number, default 4.")]
Kernel = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=WRONG, help="Super-resolution: lanczos2 (default), lanczos3, gauss12, gauss1sq2, box, bicubic."
    ),
]
Psf = Annotated[
    str | None, typer.Option(rich_help_panel=WRONG, help="Deblurring: a grey image or .npy file, or gaussian:SIGMA in pixels.")
]
Pattern = Annotated[str | None, typer.Option(rich_help_panel=WRONG, help="Demosaicing: RGGB (default), BGGR, GRBG or GBRG.")]
Noise = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=WRONG, help="Noise model: gaussian (default), poisson, l1 (salt and pepper, outliers), or speckle."
    ),
]
Guide = Annotated[Path | None, typer.Option(rich_help_panel=WRONG, help="Flash/no-flash: the photograph with flash.")]
Operator = Annotated[
    str | None,
    typer.Option(rich_help_panel=WRONG, help="linear: what measured it, NAME, file.py:name or module:name, with options."),
]
Shape = Annotated[
    str | None, typer.Option(rich_help_panel=WRONG, help="linear: H,W or C,H,W of the image to restore, by default its own.")
]

Network = Annotated[
    str | None, typer.Option(rich_help_panel=HOW, help="Another network: SPEC, such as unet or skip:upsample=nearest.")
]
Latent = Annotated[
    str | None, typer.Option(rich_help_panel=HOW, help="Another latent: SPEC, such as meshgrid or uniform:channels=32.")
]
Start = Annotated[
    Path | None,
    typer.Option(rich_help_panel=HOW, help="File of parameters to begin at, which `hybrid-dip pretrain-network` makes."),
]
Optimise = Annotated[str | None, typer.Option(rich_help_panel=HOW, help="network, latent or both.")]
Optimizer = Annotated[str | None, typer.Option(rich_help_panel=HOW, help="adam, muon or lbfgs.")]
LearningRate = Annotated[float | None, typer.Option(rich_help_panel=HOW, help="Learning rate.")]
LearningRateSchedule = Annotated[
    str | None, typer.Option(rich_help_panel=HOW, help="Factor of the learning rate, such as cosine=1..0.1.")
]
Jitter = Annotated[
    float | None, typer.Option(rich_help_panel=HOW, help="Deviation of the noise added to the latent at each step.")
]
ParameterNoise = Annotated[
    float | None, typer.Option(rich_help_panel=HOW, help="Relative deviation of noise added to the weights.")
]
Preset = Annotated[str, typer.Option(rich_help_panel=HOW, help="Recipe; see `hybrid-dip list presets`.")]
Solver = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=HOW, help="Instead of the plain loop: admm\\[:mu=0.5], hqs, langevin; `hybrid-dip list solvers`."
    ),
]
Steps = Annotated[int | None, typer.Option(rich_help_panel=HOW, help="Instead of the preset's number.")]
Runs = Annotated[int | None, typer.Option(rich_help_panel=HOW, help="Fit so many seeds and average them.")]
Stop = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=HOW,
        help="When to stop: max_steps, wmv\\[:window=100,patience=1000], discrepancy, held-out\\[:share=0.1], ...; see "
        "`hybrid-dip list stopping`. By default the preset's own.",
    ),
]
Fuse = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=HOW,
        help="Fuse the priors of -R with no ground truth: stack (each alone and all, their images combined by weights that "
        "held-out data choose), held-out or sure (search for their weights), consensus.",
    ),
]
Arms = Annotated[
    list[str] | None,
    typer.Option(
        "--arm", rich_help_panel=HOW, help="A preset that takes part in --fuse stack, such as one-shot:denoiser=bundled."
    ),
]
HeldOutShare = Annotated[
    float, typer.Option(rich_help_panel=HOW, help="Share of the measured pixels that --fuse holds out, where it does.")
]
Reference = Annotated[Path | None, typer.Option(help="The clean image, only to measure by; no fit sees it.")]

Precision = Annotated[
    str,
    typer.Option(rich_help_panel=WHERE, help="Of the network: float32, bfloat16, tf32 (CUDA); auto: a timed trial."),
]
Compile = Annotated[
    str,
    typer.Option("--compile", rich_help_panel=WHERE, help="torch.compile the network: on, off; auto: a timed trial."),
]
Graph = Annotated[
    str,
    typer.Option(
        "--graph", rich_help_panel=WHERE, help="Replay the network as a CUDA graph (CUDA): on, off; auto: a timed trial."
    ),
]
Tile = Annotated[
    str,
    typer.Option(
        rich_help_panel=WHERE,
        help="Fit overlapping tiles of at most so many pixels a side; auto: where the preset is for smaller images, or the "
        "whole does not fit into memory; off.",
    ),
]
Device = Annotated[str, typer.Option(rich_help_panel=WHERE, help="auto, cpu, cuda or mps.")]
Workers = Annotated[
    int | None,
    typer.Option(
        rich_help_panel=WHERE,
        help="Processes at a time; by default all cores, or one for each GPU (restore FOLDER: fewer where memory is scarce).",
    ),
]
Threads = Annotated[
    int | None, typer.Option(rich_help_panel=WHERE, help="CPU threads of each; part of what a result depends on.")
]

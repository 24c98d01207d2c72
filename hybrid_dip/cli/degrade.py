"""``hybrid-dip degrade``: a clean image -> the degraded one that a restoration is tried on."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from hybrid_dip.cli import options
from hybrid_dip.errors import SettingsError
from hybrid_dip.images.files import read_picture, save_image
from hybrid_dip.recipes import arguments
from hybrid_dip.recipes.catalogue import catalogue


def degrade(
    image: options.Image,
    task: Annotated[str, typer.Option(help="What to do to it; see `hybrid-dip list degradations`.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write; .npy keeps what 8 bits would clip or round.")],
    sigma: options.Sigma = None,
    noise: options.Noise = None,
    peak: Annotated[float | None, typer.Option(help="Poisson noise: photons at white.")] = None,
    looks: Annotated[float | None, typer.Option(help="Speckle: how many intensities are averaged.")] = None,
    share: Annotated[float | None, typer.Option(help="Share of pixels kept (missing-pixels) or hit (salt and pepper).")] = None,
    per: Annotated[str | None, typer.Option(help="missing-pixels: whole pixels (pixel) or single channels (entry).")] = None,
    clip: Annotated[bool, typer.Option("--clip", help="Clip Gaussian noise to [0, 1], as the original does.")] = False,
    quality: Annotated[int | None, typer.Option(help="JPEG quality, 1..95.")] = None,
    mask: options.Mask = None,
    factor: options.Factor = None,
    kernel: Annotated[
        str | None, typer.Option(help="Super-resolution: pil (default, as the original) or as in restore.")
    ] = None,
    psf: options.Psf = None,
    pattern: options.Pattern = None,
    operator: options.Operator = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random; default 0.")] = None,
    crop: options.Crop = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Degrade a clean IMAGE, to try a restoration on; the mask of missing pixels is written beside it."""
    picture = arguments.cropped(read_picture(image), crop)
    given = {
        "sigma": sigma,
        "noise": noise,
        "peak": peak,
        "looks": looks,
        "share": share,
        "per": per,
        "clip": clip or None,
        "quality": quality,
        "mask": mask,
        "factor": factor,
        "kernel": kernel,
        "psf": psf,
        "pattern": pattern,
        "operator": operator,
        "seed": seed,
    }
    mask_out = out.with_name(f"{out.stem}_mask" + (".npy" if out.suffix == ".npy" else ".png"))
    arguments.existing_parent(out)
    reference_out = out.with_name(f"{out.stem}_reference{out.suffix}")
    readers = arguments.degradation_readers(arguments.cropper(crop))
    factory = catalogue().get("degradations", task)
    case = arguments.call(factory, task, picture.pixels, given, readers)
    written = {out: case.task.observation}
    if case.task.weight is not None and mask is None:
        written[mask_out] = case.task.weight
    if case.reference.shape != picture.pixels.shape:
        written[reference_out] = case.reference
    for path in written:
        if path.exists() and not overwrite:
            raise SettingsError(f"{path} exists; add --overwrite to replace it.")
    for path, pixels in written.items():
        if path == mask_out:
            save_image(pixels, path)
        else:
            save_image(pixels, path, alpha=picture.alpha_at((pixels.shape[-2], pixels.shape[-1])), bits=picture.bits)
    print(f"Wrote {out}: {case.name}.")
    if out.suffix != ".npy" and bool(((case.task.observation < 0) | (case.task.observation > 1)).any()):
        print(f"{out.suffix} files clip to [0, 1]; name the file .npy to keep noise beyond it.", file=sys.stderr)
    if mask_out in written:
        print(f"Wrote {mask_out}: {1 if mask_out.suffix == '.npy' else 255} = known pixel.")
    if reference_out in written:
        print(f"Wrote {reference_out}: the clean image, cropped to a multiple of the factor.")

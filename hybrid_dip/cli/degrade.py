"""``hybrid-dip degrade``: a clean image -> the degraded one that a restoration is tried on."""

import sys
from typing import Annotated

from cyclopts import Parameter

from hybrid_dip.cli.options import Image, OutFile, Overwrite, Part, check_new
from hybrid_dip.cli.wrong import Simulation
from hybrid_dip.images.files import save_image


def degrade(
    image: Image,
    /,
    *,
    wrong: Simulation,
    out: Annotated[OutFile, Parameter(help="File to write; .npy keeps what 8 bits would clip or round.")],
    seed: Annotated[int | None, Parameter(help="Seed of everything random; default 0.")] = None,
    part: Part = Part(),
    overwrite: Overwrite = False,
) -> None:
    """Degrade a clean IMAGE, to try a restoration on; the mask of missing pixels is written beside it."""
    picture = part.read(image)
    check_new(out, overwrite=True)
    case = wrong.make(picture.pixels, part, seed)
    of_channels = case.task.weight is not None and case.task.weight.shape[1] > 1  # a mask in colour might be a mistake
    mask_out = out.with_name(f"{out.stem}_mask" + (".npy" if out.suffix == ".npy" or of_channels else ".png"))
    reference_out = out.with_name(f"{out.stem}_reference{out.suffix}")
    written = {out: case.task.observation}
    if case.task.weight is not None and wrong.mask is None:
        written[mask_out] = case.task.weight
    if case.reference.shape != picture.pixels.shape:
        written[reference_out] = case.reference
    check_new(*written, overwrite=overwrite)
    for path, pixels in written.items():
        if path == mask_out:
            save_image(pixels, path)
        else:
            save_image(pixels, path, like=picture)
    print(f"Wrote {out}: {case.name}.")
    if out.suffix != ".npy" and bool(((case.task.observation < 0) | (case.task.observation > 1)).any()):
        print(f"{out.suffix} files clip to [0, 1]; name the file .npy to keep noise beyond it.", file=sys.stderr)
    if mask_out in written:
        print(f"Wrote {mask_out}: {1 if mask_out.suffix == '.npy' else 255} = known pixel.")
    if reference_out in written:
        print(f"Wrote {reference_out}: the clean image, cropped to a multiple of the factor.")

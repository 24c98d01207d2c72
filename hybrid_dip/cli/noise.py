"""``hybrid-dip noise``: an image -> what its noise is, in a sentence and a picture."""

import json
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from hybrid_dip.cli.options import AsJson, Image, OutFile, Overwrite, Part, check_new
from hybrid_dip.errors import SettingsError
from hybrid_dip.images.figures import save_figure, subplots
from hybrid_dip.problem.noise_estimate import NoiseEstimate, estimate

COLOURS = ("tab:red", "tab:green", "tab:blue")


def noise(
    image: Image,
    /,
    *,
    out: Annotated[OutFile, Parameter(help="Picture of the level and the correlation.")] = Path("noise.png"),
    part: Part = Part(),
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Say what the noise of an IMAGE is: its level as a function of the brightness, and whether it is white."""
    pixels = part.read(image).pixels
    if as_json:
        print(json.dumps(_plain(pixels), indent=2))
        return
    check_new(out, overwrite=overwrite)
    found = estimate(pixels)
    save_figure(_draw(found), out)
    print(found.sentence())
    print(f"Look at {out}.")


def _plain(pixels: Any) -> dict[str, Any]:
    try:
        return estimate(pixels).describe()
    except SettingsError as error:
        return {"sigma": None, "white": None, "level": None, "why": str(error)}


def _draw(found: NoiseEstimate) -> Any:
    figure, axes = subplots(1, 2, (9, 3.6))
    levels, alike = axes[0]
    colours = COLOURS if len(found.levels) == len(COLOURS) else ["black"] * len(found.levels)
    for level, colour in zip(found.levels, colours, strict=True):
        levels.plot([255 * x for x in level.brightness], [255 * x for x in level.deviation], "o-", color=colour, markersize=3)
    levels.axhline(255 * found.sigma, color="grey", linestyle=":", label=f"mean level {255 * found.sigma:.1f}")
    levels.set(title="level of the noise", xlabel="brightness (of 255)", ylabel="deviation (of 255)", xlim=(0, 255))
    levels.set_ylim(bottom=0)
    levels.legend(fontsize="small")
    lags = range(1 + len(found.correlation))
    alike.bar(lags, (1.0, *found.correlation), width=0.5, color="tab:grey")
    alike.axhline(0, color="black", linewidth=0.8)
    alike.set(title="correlation between neighbours", xlabel="pixels apart", xticks=list(lags), ylim=(-0.5, 1.05))
    return figure

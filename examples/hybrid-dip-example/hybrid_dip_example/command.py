"""A command of the command line: ``hybrid-dip example-measure IMAGE``."""

from hybrid_dip.cli.options import Image, Part
from hybrid_dip_example.priors import Checkerboard


def measure(image: Image, /, *, part: Part = Part(), scale: float = 1.0) -> None:
    """Say how strong the pattern of alternating pixels is in IMAGE, --scale times its energy."""
    print(f"{float(Checkerboard(scale)(part.read(image).pixels)):.6f}")

"""Guide images, which a network takes in place of noise."""

from torch import Tensor

from hybrid_dip.errors import SettingsError

LEAST_RANGE = 1 / 512
"""Half a grey level: less is no detail in a file of 8 bits."""


def check_guide(guide: Tensor, what: str = "The guide image") -> None:
    """Refuse a guide in one colour: a network makes an image in one colour of it, whatever it learns.

    Args:
        guide: (1, C, H, W).
        what: What it is called in the sentence.

    Raises:
        SettingsError: It has no detail.
    """
    if float((guide.amax((-2, -1)) - guide.amin((-2, -1))).max()) < LEAST_RANGE:
        raise SettingsError(f"{what} has no detail, it is one colour throughout: a photograph of the same scene was expected.")

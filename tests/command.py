"""What all tests of the command line share."""

from collections.abc import Callable

Command = Callable[..., tuple[int, str, str]]

# A network small enough for a test, by the same options that a user has.
SMALL = ["--preset", "quick", "--network", "skip:down=8,8,skip=4,4,upsample=bilinear", "--latent", "uniform:channels=8"]

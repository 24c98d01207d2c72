"""R(x): energies of an image, one family a file. Each is a mean per pixel with a finite gradient everywhere."""

from hybrid_dip.regularisers.variation import TV

__all__ = ["TV"]

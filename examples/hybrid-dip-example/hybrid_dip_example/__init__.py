"""A plug-in: names for what :mod:`hybrid_dip_example.priors` and :mod:`hybrid_dip_example.command` hold."""

from hybrid_dip.recipes.catalogue import Catalogue


def register(catalogue: Catalogue) -> None:
    """Add this package's names; the entry point of the group ``hybrid_dip.plugins``."""
    here = "hybrid_dip_example.priors"
    catalogue.add("regularisers", "example-checkerboard", f"{here}:Checkerboard", family="sparsity")
    catalogue.add("denoisers", "example-box", f"{here}:box")
    catalogue.add("metrics", "example-worst", f"{here}:worst")
    catalogue.add("commands", "example-measure", "hybrid_dip_example.command:measure")

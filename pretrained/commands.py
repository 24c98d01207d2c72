"""`hybrid-dip weights`: which learned weights there are, which are on this machine, and whether they are sound."""

import json
import sys
from typing import Annotated

from cyclopts import Parameter

from hybrid_dip.cli.assemble import assemble
from hybrid_dip.cli.options import AsJson, Quiet
from hybrid_dip.errors import HybridDIPError
from hybrid_dip.recipes import listing
from pretrained.weights import Weights, WeightsError, cache_folder, get, index

WHOLE_HASH = 64
"""Hexadecimal digits of a SHA-256."""

Names = Annotated[tuple[str, ...], Parameter(help="Names of `hybrid-dip weights list`; by default all that are meant.")]


def list_(*, as_json: AsJson = False) -> None:
    """List all weights: purpose, size, where they come from, and whether they are on this machine."""
    rows = listing.rows("weights")
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        print(listing.as_text(rows))
        print(f"\nDownloads are kept in {cache_folder()} (HYBRID_DIP_CACHE); `hybrid-dip explain NAME` tells the licence.")
        partly = ", ".join(one.name for one in index().values() if len(one.sha256) < WHOLE_HASH)
        print(f"Checked by the first 8 digits of their SHA-256 only, which is all that their publisher gives: {partly}.")


def fetch(names: Names = (), /, *, quiet: Quiet = False) -> None:
    """Download weights into the cache, by default all that can be downloaded and are not here."""
    chosen = [get(name) for name in names] or [one for one in index().values() if one.url and one.here() is None]
    if not chosen and not quiet:
        print("All that can be downloaded is on this machine.")
    for one in chosen:
        path = one.find()
        one.verify()
        if not quiet:
            print(f"{one.name}: {path}")


def verify(names: Names = (), /) -> None:
    """Check the hashes of weights, by default of all that are on this machine."""
    chosen = [get(name) for name in names] or [one for one in index().values() if one.here() is not None]
    wrong = [error for error in map(_fault, chosen) if error is not None]
    if wrong:
        for error in wrong[:-1]:
            print(f"hybrid-dip: {error}", file=sys.stderr)
        raise wrong[-1]


def _fault(weights: Weights) -> HybridDIPError | None:
    try:
        path = weights.here()
        if path is None:
            return WeightsError(f"The weights '{weights.name}' are not on this machine.")
        weights.verify(path)
    except HybridDIPError as error:
        return error
    print(f"{weights.name}: sound, {path}")
    return None


app = assemble(
    "weights",
    "Learned weights: what there is, what is here, and whether it is sound.",
    {"list": list_, "fetch": fetch, "verify": verify},
)

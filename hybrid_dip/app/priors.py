"""The priors and presets that the page offers, with their formulas."""

import html
from collections.abc import Mapping

from hybrid_dip.recipes import listing
from hybrid_dip.recipes.catalogue import Entry, catalogue
from hybrid_dip.recipes.schedule_spec import read_schedule
from hybrid_dip.recipes.spec import DEFAULT_WEIGHT
from hybrid_dip.recipes.summary import formula_of

FIRST = ("fast", "quick", "original")
"""Presets that are listed before the others."""


def offered_priors() -> Mapping[str, Entry]:
    """Regularisers that need no further image and no download, by family and name."""
    entries = sorted(catalogue().entries("regularisers").values(), key=lambda entry: (entry.family, entry.name))
    return {entry.name: entry for entry in entries if entry.family != "reference" and listing.ready("regularisers", entry.name)}


def offered_presets() -> list[str]:
    """Names of presets."""
    return sorted(catalogue().entries("presets"), key=lambda name: (name not in FIRST, name))


def prior_spec(name: str, weight: str) -> str:
    """A prior and its weight as a SPEC.

    Args:
        name: A name of :func:`offered_priors`.
        weight: A number or a schedule; "" for the default.

    Returns:
        The SPEC.

    Raises:
        SettingsError: The weight is none.
    """
    read_schedule(weight.strip() or DEFAULT_WEIGHT)
    return f"{name}@{weight.strip() or DEFAULT_WEIGHT}"


def as_html(entry: Entry | None) -> str:
    """The formula of a prior, and what it is in a line; "" for none."""
    if entry is None:
        return ""
    formula = formula_of(entry.target) if isinstance(entry.target, str) else ""
    return f'<pre class="formula">{html.escape(formula)}</pre><p class="about">{html.escape(entry.summary)}.</p>'

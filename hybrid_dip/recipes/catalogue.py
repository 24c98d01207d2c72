"""Names -> objects: the one place where strings become things, and the door for plug-ins.

A plug-in package names a function ``register(catalogue)`` under the entry-point group ``hybrid_dip.plugins``; it adds what it
brings by ``catalogue.add(kind, name, "package.module:attribute")``. Nothing is imported until it is asked for.
"""

import importlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import entry_points
from typing import Any

from hybrid_dip.errors import SettingsError, describe_error, nearest
from hybrid_dip.recipes.built_in import PARTS, REGULARISERS
from hybrid_dip.recipes.summary import summary_of

KINDS = (
    "regularisers",
    "denoisers",
    "networks",
    "latents",
    "operators",
    "presets",
    "solvers",
    "tasks",
    "degradations",
    "stopping",
    "metrics",
    "weights",
    "commands",
)
GROUP = "hybrid_dip.plugins"
OWN = "hybrid_dip"
"""Source of the names that this package itself brings."""


@dataclass(frozen=True)
class Entry:
    """One name.

    Attributes:
        name: The name as it is written on the command line.
        target: "package.module:attribute", or a function that makes the object.
        given_summary: One line that says what it is; "" for the first line of the docstring.
        family: Group within the kind; "" where the kind has no families.
        needs: Names of the learned weights that it needs with its default options.
        source: Plug-in that brought it.
    """

    name: str
    target: str | Callable[[], Any]
    given_summary: str = ""
    family: str = ""
    needs: tuple[str, ...] = ()
    source: str = OWN

    @cached_property
    def summary(self) -> str:
        """One line that says what it is; nothing is imported for it."""
        return self.given_summary or (summary_of(self.target) if isinstance(self.target, str) else "")

    @property
    def module(self) -> str:
        """Module of the target; "" where the target is a function."""
        return self.target.partition(":")[0] if isinstance(self.target, str) else ""

    def load(self) -> Any:
        """Import and return what the name stands for.

        Raises:
            SettingsError: A package that it needs is missing.
        """
        if not isinstance(self.target, str):
            return self.target()
        module, _, attribute = self.target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ImportError as error:
            raise SettingsError(f"'{self.name}' of {self.source} cannot be loaded: {describe_error(error)}.") from None


class Catalogue:
    """Entries by kind and name."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}
        self._source = OWN

    def add(
        self,
        kind: str,
        name: str,
        target: str | Callable[[], Any],
        summary: str = "",
        family: str = "",
        needs: Sequence[str] = (),
    ) -> None:
        """Add a name.

        Args:
            kind: One of :data:`KINDS`.
            name: The name as it is written on the command line; it must be new in its kind.
            target: "package.module:attribute", or a function that makes the object.
            summary: One line that says what it is; by default the first line of its docstring.
            family: Group within the kind.
            needs: Names of the learned weights that it needs with its default options.

        Raises:
            SettingsError: An unknown kind, or a name that is taken, in capitals or not.
        """
        if kind not in self._entries:
            raise SettingsError(f"Unknown kind '{kind}': {nearest(kind, list(self._entries))}.")
        taken = self.find(kind, name)
        if taken is not None:
            raise SettingsError(f"The name '{name}' of {self._source} is taken by {taken.source} among the {kind}.")
        self._entries[kind][name] = Entry(name, target, summary, family, tuple(needs), self._source)

    def entries(self, kind: str) -> Mapping[str, Entry]:
        """All entries of a kind, by name."""
        return dict(self._entries[kind])

    def find(self, kind: str, name: str) -> Entry | None:
        """The entry of a name, which is read without regard to capitals; None where there is none."""
        return next((entry for known, entry in self._entries[kind].items() if known.casefold() == name.casefold()), None)

    def get(self, kind: str, name: str) -> Any:
        """Load what a name stands for.

        Args:
            kind: One of :data:`KINDS`.
            name: Name of an entry, in capitals or not.

        Returns:
            The object.

        Raises:
            SettingsError: No such name; the nearest ones are named.
        """
        entry = self.find(kind, name)
        if entry is None:
            raise SettingsError(f"There is no '{name}' among the {kind}: {nearest(name.lower(), list(self._entries[kind]))}.")
        return entry.load()

    def load_plugins(self) -> None:
        """Let every installed plug-in register; one that fails is reported and left out."""
        for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
            self._source = point.name
            try:
                point.load()(self)
            except Exception as error:  # a plug-in may fail in any way; the rest must go on working
                warnings.warn(f"The plug-in '{point.name}' failed to register: {error!r}.", stacklevel=2)
        self._source = OWN


@cache
def catalogue() -> Catalogue:
    """The catalogue of this process: this package's own entries and those of every installed plug-in."""
    filled = Catalogue()
    for kind, parts in PARTS.items():
        for name, target in parts.items():
            filled.add(kind, name, target)
    for family, members in REGULARISERS.items():
        for name, attribute in members.items():
            filled.add("regularisers", name, f"hybrid_dip.regularisers:{attribute}", family=family)
    filled.load_plugins()
    return filled

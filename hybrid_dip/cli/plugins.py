"""Commands that plug-ins bring, beside this package's own."""

from typing import Any

import typer
import typer.core

from hybrid_dip.errors import SettingsError
from hybrid_dip.recipes.catalogue import catalogue


class WithPlugins(typer.core.TyperGroup):
    """The commands of this package and those that plug-ins bring, which are imported when they are asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, this package's first."""
        return [*super().list_commands(ctx), *catalogue().entries("commands")]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by name, or None."""
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in catalogue().entries("commands"):
            return own
        entry = catalogue().entries("commands")[cmd_name]
        try:
            theirs = entry.load()
        except SettingsError as error:  # said when it is called; --help has to show the others
            theirs = _failing(error)
        found = typer.main.get_command(theirs)
        found.name, found.help = cmd_name, found.help or entry.summary
        return found


def _failing(error: SettingsError) -> typer.Typer:
    made = typer.Typer()

    @made.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
    def fail() -> None:
        raise error

    return made

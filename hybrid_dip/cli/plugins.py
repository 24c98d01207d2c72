"""Commands that plug-ins bring, beside this package's own."""

from cyclopts import App

from hybrid_dip.recipes.catalogue import catalogue


def add_plugin_commands(app: App, called: str) -> None:
    """Add the commands that plug-ins bring; only the one that is called is imported.

    Args:
        app: The command line with this package's own commands.
        called: Name of the command that is called.

    Raises:
        SettingsError: The plug-in's command that is called cannot be imported.
    """
    for name, entry in catalogue().entries("commands").items():
        app.command(entry.load() if name == called else App(help=entry.summary), name=name)

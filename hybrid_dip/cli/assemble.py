"""Functions with typed arguments -> a command line, and what all its options have in common."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from cyclopts import App, Parameter, Token, convert

from hybrid_dip.cli.options import OPTIONS


def assemble(name: str, help: str, commands: Mapping[str, Callable[..., Any] | App], **settings: Any) -> App:
    """Put commands together under a name.

    Args:
        name: Name of the group of commands.
        help: One sentence on what they are for.
        commands: Name -> command, in the order in which the help lists them.
        settings: Further settings of the :class:`cyclopts.App`.

    Returns:
        The group, which is called with what the user wrote or becomes a command of another one.
    """
    every = Parameter(negative=(), allow_repeating=True, converter=_read, show_default=_shown)
    app = App(name, help=help, help_format="plaintext", default_parameter=every, group_parameters=OPTIONS, **settings)
    for position, (own, command) in enumerate(commands.items()):
        if isinstance(command, App):
            command.sort_key = position
            app.command(command, name=own)
        else:
            app.command(command, name=own, sort_key=position)
    return app


def _read(kind: Any, tokens: Sequence[Token]) -> Any:
    """The value of an option; a whole number has to be written as one, for the library would round 1.5."""
    if int in (kind, *get_args(kind)):
        for token in tokens:
            try:
                int(token.value)
            except ValueError:
                raise ValueError(f"a whole number was expected, got '{token.value}'.") from None
    return convert(kind, tokens)


def _shown(default: Any) -> Any:
    """The default that the help names; switches that are off, and what was left out, go without."""
    return None if default is False or default in (None, ()) else default

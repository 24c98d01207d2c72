"""The text of a weight -> a number or a schedule: ``0.05``, ``balance=0.5``, ``cosine=0.1..0``."""

from collections.abc import Callable

from hybrid_dip.errors import HybridDIPError, SettingsError, nearest
from hybrid_dip.regularisers.schedules import Balanced, Cosine, Linear, Steps, WarmUp
from hybrid_dip.regularisers.terms import Schedule


def read_schedule(text: str) -> float | Schedule:
    """Read a weight: a number, or a schedule by name.

    Args:
        text: ``0.05``, ``balance=0.5``, ``linear=0.1..0``, ``cosine=0.1..0``, ``steps=0.1,500,0.01`` or ``warmup=0.05,200``.

    Returns:
        The weight.

    Raises:
        SettingsError: Not one of these, or out of range.
    """
    kind, equals, value = text.partition("=")
    try:
        if not equals:
            return float(kind)
        if kind in _SCHEDULES:
            return _SCHEDULES[kind](value)
    except (ValueError, TypeError) as error:
        if isinstance(error, HybridDIPError):
            raise
        raise SettingsError(f"'{text}' is not a weight; expected a number or such as {_EXAMPLES}.") from None
    raise SettingsError(f"There is no schedule '{kind}': {nearest(kind, list(_SCHEDULES))}.")


def _read_ends(value: str) -> tuple[float, float]:
    start, dots, end = value.partition("..")
    if not dots:
        raise ValueError(value)
    return float(start), float(end)


def _read_warm_up(value: str) -> WarmUp:
    level, _, steps = value.partition(",")
    return WarmUp(float(level), int(steps))


def _read_steps(value: str) -> Steps:
    parts = value.split(",")
    return Steps(tuple(map(float, parts[::2])), tuple(map(int, parts[1::2])))


_SCHEDULES: dict[str, Callable[[str], Schedule]] = {
    "balance": lambda value: Balanced(float(value)),
    "linear": lambda value: Linear(*_read_ends(value)),
    "cosine": lambda value: Cosine(*_read_ends(value)),
    "steps": _read_steps,
    "warmup": _read_warm_up,
}
_EXAMPLES = "balance=0.5, linear=0.1..0, cosine=0.1..0, steps=0.1,500,0.01, warmup=0.05,200"

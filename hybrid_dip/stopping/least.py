"""What rules have in common that keep the image at which some number is smallest."""

import torch
from torch import Tensor

from hybrid_dip.contracts import State, Verdict
from hybrid_dip.errors import SettingsError


def start_least(device: torch.device, dtype: torch.dtype = torch.float32) -> State:
    """The state of :func:`keep_least` before the first step.

    Args:
        device: Device of the fit.
        dtype: Type of the values.

    Returns:
        The smallest value so far, the steps since then, and whether they were too many.
    """
    return {
        "least": torch.full((), torch.inf, dtype=dtype, device=device),
        "since": torch.zeros((), dtype=torch.long, device=device),
        "stopped": torch.zeros((), dtype=torch.bool, device=device),
    }


def keep_least(state: State, value: Tensor, patience: int, known: Tensor | None = None) -> tuple[State, Verdict]:
    """Keep a step whose value is smaller than all before it; stop after some steps without one.

    Args:
        state: From :func:`start_least`, or the last call.
        value: Value of this step, ().
        patience: Steps without a new smallest value after which the fit ends.
        known: Whether the value can be trusted yet, (); until then each step is kept and none counts. None where it always can.

    Returns:
        The state after it, and the verdict.
    """
    smaller = (value < state["least"]) & ~state["stopped"]
    improved, keep = (smaller, smaller) if known is None else (smaller & known, smaller | ~known)
    since = torch.where(keep, 0, state["since"] + 1)
    after = {
        "least": torch.where(improved, value, state["least"]),
        "since": since,
        "stopped": state["stopped"] | (since >= patience),
    }
    return {**state, **after}, Verdict(keep=keep, stop=after["stopped"])


def check_patience(rule: str, patience: int) -> None:
    """Refuse a patience below one step.

    Args:
        rule: Name of the rule, for the sentence.
        patience: Steps.

    Raises:
        SettingsError: It is below one.
    """
    if patience < 1:
        raise SettingsError(f"The patience of {rule} must be at least one step, got {patience}.")

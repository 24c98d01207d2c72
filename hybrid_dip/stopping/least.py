"""What rules have in common that keep the image at which some number is smallest."""

import torch
from torch import Tensor

from hybrid_dip.contracts import State, Verdict
from hybrid_dip.errors import SettingsError


def nothing_yet(device: torch.device) -> State:
    """The state of :func:`least` before the first step.

    Args:
        device: Of the fit.

    Returns:
        The smallest value so far, the steps since then, and whether that was long enough.
    """
    return {
        "least": torch.full((), torch.inf, device=device),
        "since": torch.zeros((), dtype=torch.long, device=device),
        "stopped": torch.zeros((), dtype=torch.bool, device=device),
    }


def least(state: State, value: Tensor, patience: int) -> tuple[State, Verdict]:
    """Keep a step whose value is smaller than all before it, stop when there was none for some time.

    Args:
        state: From :func:`nothing_yet`, or the last call.
        value: Of this step, (); infinity for one that is not to be kept.
        patience: Steps without a new smallest value after which the fit ends.

    Returns:
        The state after it, and the verdict.
    """
    improved = (value < state["least"]) & ~state["stopped"]
    since = torch.where(improved, 0, state["since"] + 1)
    after = {
        "least": torch.where(improved, value, state["least"]),
        "since": since,
        "stopped": state["stopped"] | (since >= patience),
    }
    return {**state, **after}, Verdict(keep=improved, stop=after["stopped"])


def check_patience(rule: str, patience: int) -> None:
    """Refuse a patience below one.

    Args:
        rule: Its name.
        patience: Steps.

    Raises:
        SettingsError: Below one.
    """
    if patience < 1:
        raise SettingsError(f"The patience of {rule} must be at least one step, got {patience}.")

"""A stopping rule is anybody's code: what it says is checked, and its faults are said in a sentence."""

import torch
from torch import Tensor

from hybrid_dip.contracts import Rule, State, Step, Task, Verdict
from hybrid_dip.errors import FitError, SettingsError, blaming


def begun(rule: Rule, task: Task) -> State:
    """The state of a stopping rule before the first step; a rule may be anybody's code.

    Args:
        rule: When to stop, and what to keep.
        task: To fit.

    Returns:
        The state.

    Raises:
        SettingsError: It is no rule, or does not apply to this task.
        FitError: It fails, or its state is no dictionary.
    """
    lacking = [name for name in ("start", "update", "reason") if not hasattr(rule, name)]
    if isinstance(rule, type) or lacking:
        found = f"has no '{lacking[0]}'" if lacking else "is a class, not an object"
        raise SettingsError(f"{_called(rule)} {found}: it needs start(task), update(state, step) and reason.")
    with blaming(_called(rule), "to start"):
        state = rule.start(task)
    if not isinstance(state, dict):
        raise FitError(f"{_called(rule)} must start with a dictionary of tensors, got {type(state).__name__}.")
    return state


def _called(rule: Rule) -> str:
    return f"The stopping rule '{getattr(rule, '__name__', type(rule).__name__)}'"


def _updated(rule: Rule, state: State, step: Step) -> tuple[State, Verdict]:
    """What a rule says of a step; its form is checked, which costs nothing."""
    with blaming(_called(rule), f"at step {step.index}"):
        found: object = rule.update(state, step)
    match found:
        case (dict() as following, Verdict(keep=keep, stop=stop)) if _is_boolean(keep) and _is_boolean(stop):
            return following, Verdict(keep, stop)
    raise FitError(
        f"{_called(rule)} must return a dictionary and a Verdict of two booleans, tensors of shape (), at step {step.index}, "
        f"got {_form(found)}."
    )


def _is_boolean(value: object) -> bool:
    return isinstance(value, bool) or (isinstance(value, Tensor) and value.shape == () and value.dtype == torch.bool)


def _form(value: object) -> str:
    match value:
        case Tensor():
            return f"{value.dtype} of shape {tuple(value.shape)}"
        case Verdict():
            return f"Verdict({_form(value.keep)}, {_form(value.stop)})"
        case tuple():
            return f"({', '.join(map(_form, value))})"
    return type(value).__name__

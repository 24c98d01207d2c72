"""A stopping rule may be a user's code: what it returns is checked, and its faults are said in a sentence."""

import torch
from torch import Tensor

from hybrid_dip.contracts import Rule, State, Step, Task, Verdict
from hybrid_dip.errors import FitError, SettingsError, blame_errors_on


def start_rule(rule: Rule, task: Task) -> State:
    """Start a stopping rule.

    Args:
        rule: When to stop, and what to keep.
        task: The task to fit.

    Returns:
        The rule's state before the first step.

    Raises:
        SettingsError: It is no rule, or does not apply to this task.
        FitError: It fails, or its state is no dictionary.
    """
    lacking = [name for name in ("start", "update", "reason") if not hasattr(rule, name)]
    if isinstance(rule, type) or lacking:
        fault = f"has no '{lacking[0]}'" if lacking else "is a class, not an object"
        raise SettingsError(f"{_name(rule)} {fault}: it needs start(task), update(state, step) and reason.")
    with blame_errors_on(_name(rule), "to start"):
        state = rule.start(task)
    if not isinstance(state, dict):
        raise FitError(f"{_name(rule)} must start with a dictionary of tensors, got {type(state).__name__}.")
    return state


def update_rule(rule: Rule, state: State, step: Step) -> tuple[State, Verdict]:
    """Show a step to a rule. Only the form of its answer is checked, which does not wait for the device.

    Args:
        rule: When to stop, and what to keep.
        state: Its state so far.
        step: The step.

    Returns:
        Its state after the step, and its verdict.

    Raises:
        FitError: It fails, or returns something else.
    """
    with blame_errors_on(_name(rule), f"at step {step.index}"):
        answer: object = rule.update(state, step)
    match answer:
        case (dict() as after, Verdict(keep=keep, stop=stop)) if _is_boolean(keep) and _is_boolean(stop):
            return after, Verdict(keep, stop)
    raise FitError(
        f"{_name(rule)} must return a dictionary and a Verdict of two booleans, tensors of shape (), at step {step.index}, "
        f"got {_describe(answer)}."
    )


def _name(rule: Rule) -> str:
    return f"The stopping rule '{getattr(rule, '__name__', type(rule).__name__)}'"


def _is_boolean(value: object) -> bool:
    return isinstance(value, bool) or (isinstance(value, Tensor) and value.shape == () and value.dtype == torch.bool)


def _describe(value: object) -> str:
    match value:
        case Tensor():
            return f"{value.dtype} of shape {tuple(value.shape)}"
        case Verdict():
            return f"Verdict({_describe(value.keep)}, {_describe(value.stop)})"
        case tuple():
            return f"({', '.join(map(_describe, value))})"
    return type(value).__name__

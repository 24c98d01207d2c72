"""The loop: theta* = argmin E(A f_theta(z); y) + sum_k lambda_k R_k(f_theta(z)).

Read :func:`fit` from its ``while``. One step is: jitter the latent, run the network, evaluate the objective, step the
optimiser, show the step to the observers. Between logged steps nothing waits for the device (but L-BFGS, whose line search has
to know its values).
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from hybrid_dip.contracts import Fit, Observer, Rule, Task, check_task
from hybrid_dip.errors import SettingsError, check_function, check_kind, describe_given, finite_number, whole_number
from hybrid_dip.execution.allocator import keep_freed_memory
from hybrid_dip.execution.forks import check_fork
from hybrid_dip.fitting.checkpoint import Checkpoint
from hybrid_dip.fitting.closure import Closure
from hybrid_dip.fitting.course import ALL_TAKEN, INTERRUPTED, Course
from hybrid_dip.fitting.guard import Guard
from hybrid_dip.fitting.history import History
from hybrid_dip.fitting.iterates import Growing, Tracker
from hybrid_dip.fitting.learning_rates import LearningRates
from hybrid_dip.fitting.objective import Objective
from hybrid_dip.fitting.optimizers import OptimizerFactory, adam, draw_from
from hybrid_dip.fitting.outcome import Outcome
from hybrid_dip.fitting.random_state import Draws, copy_of_global
from hybrid_dip.fitting.resumption import Resumption, Stateful
from hybrid_dip.fitting.unknowns import choose_unknowns
from hybrid_dip.regularisers.terms import Schedule, Term, as_terms
from hybrid_dip.stopping import MaxSteps


@torch.inference_mode(False)
@torch.enable_grad()
def fit(
    network: nn.Module,
    latent: Tensor,
    task: Task,
    terms: Term | Callable[..., Tensor] | Sequence[Term | Callable[..., Tensor]] = (),
    *,
    rule: Rule | None = None,
    max_steps: int = 1000,
    optimizer: OptimizerFactory | None = None,
    lr_schedule: Schedule | None = None,
    optimise: Literal["network", "latent", "both"] = "network",
    jitter: float = 0.0,
    average: float | Growing | None = None,
    parameter_noise: float = 0.0,
    fallback: float | None = None,
    log_every: int = 50,
    time_budget: float | None = None,
    halt: Callable[[], bool] | None = None,
    checkpoint: Checkpoint | None = None,
    generator: torch.Generator | None = None,
    observers: Sequence[Observer] = (),
) -> Fit:
    """Fit a network to one degraded image. Network, latent and task live on one device; the network is changed in place.

    Args:
        network: f_theta, (1, C, H, W) -> (1, C', H, W), left in the mode it is in (training mode for batch norm).
        latent: z, (1, C, H, W); it is copied.
        task: A, y and E.
        terms: Regularisers, bare or weighted.
        rule: When to stop and what to keep; by default all steps and the last iterate.
        max_steps: Steps at most.
        optimizer: Parameters -> optimiser; by default Adam at 0.01.
        lr_schedule: Factor of the learning rate along the fit.
        optimise: The network (those parameters that require a gradient), the latent (the network is frozen), or both.
        jitter: Deviation of Gaussian noise that is added to z anew at each step.
        average: Decay of an average of the outputs (0.99 in the original, or :class:`~hybrid_dip.fitting.iterates.Growing`),
            which is then the image kept.
        parameter_noise: Deviation of Gaussian noise added to each weight matrix before each step, relative to the deviation
            of its entries (the original intended 1/50, but its code has no effect).
        fallback: Decibels by which the fit to y may drop between two logged steps; beyond them the fit goes back to the first.
        log_every: Steps between two logged ones.
        time_budget: Seconds after which the fit ends, counted over all resumed parts.
        halt: Asked between two steps; when it says True, the state is saved and the fit ends as "interrupted".
        checkpoint: Where the state is saved; the same call goes on from there, and one with more steps goes on to them.
        generator: Generator of all that is drawn, on the latent's device. By default a copy of torch's global one as it is now:
            the caller's random state stays as it is.
        observers: Called with every step.

    Returns:
        The fit: the kept and the last iterate, neither of them finished.

    Raises:
        SettingsError: An option out of range, or nothing to optimise.
        FitError: The network or a part of the objective fails, a part or its gradient is not finite at the first step, no step
            led to an image that is better than none, or the checkpoint cannot be read.
    """
    _check_given(network, latent, task)
    check_fork(latent.device)
    task = task.to(latent.device) if task.observation.is_inference() else task
    max_steps, log_every = whole_number("max_steps", max_steps), whole_number("log_every", log_every)
    jitter, parameter_noise = finite_number("jitter", jitter), finite_number("parameter_noise", parameter_noise)
    fallback = None if fallback is None else finite_number("fallback", fallback)
    check_kind("checkpoint", checkpoint, Checkpoint | None, "an hd.Checkpoint")
    check_kind("generator", generator, torch.Generator | None, "a torch.Generator")
    check_kind("observers", observers, Sequence, "a list of functions")
    rule = rule or MaxSteps()
    generator = generator or copy_of_global(latent.device)
    draws = Draws.around(generator)
    with draws:
        unknowns = choose_unknowns(network, latent, optimise)
    optimizer = adam() if optimizer is None else optimizer
    check_function("optimizer", optimizer, "a function of the parameters, such as hd.optimizers.adam(0.01)")
    stepper = draw_from(generator, optimizer(unknowns.leaves))
    rates = LearningRates(stepper, lr_schedule, max_steps)
    with draws:
        objective = Objective(task, as_terms(terms), max_steps)
    tracker = Tracker(rule, task, average)
    guard = Guard(unknowns, stepper, objective, tracker, fallback)
    history, outcome = History(), Outcome(task, unknowns, tracker)
    course = Course(max_steps, time_budget, halt)
    parts: dict[str, Any] = {"guard": guard, "history": history, "outcome": outcome, "random": draws}
    parts |= {f"observer {i}": observer for i, observer in enumerate(observers) if isinstance(observer, Stateful)}
    resumption = Resumption(checkpoint, course, parts, latent.device)
    resumption.load()
    draws.drew, looked = False, False

    with keep_freed_memory():
        while not course.ended:
            index = course.steps
            logged = index % log_every == 0 or index == max_steps - 1
            if logged:
                if bool(tracker.stop):
                    break
                resumption.save_if_due()
                guard.remember()

            rate = rates.set(index, guard.rate)
            if parameter_noise:
                _disturb(network, parameter_noise, generator)
            noise = (
                jitter * torch.randn(latent.shape, generator=generator, device=latent.device, dtype=latent.dtype)
                if jitter
                else None
            )
            closure = Closure(objective, unknowns, stepper, noise, index)  # runs the network, evaluates the objective
            # One step shows whether the network or a term draws; the others are faster outside.
            with draws if draws.drew or not looked else nullcontext():
                stepper.step(closure)  # type: ignore[arg-type]
            looked = True

            step = tracker.update(closure.first, index, rate, logged)
            if logged:
                history.add(step, course.seconds)
                outcome.look(step)
                if not guard.look(index):
                    course.reason = "not finite"
            for observer in observers:
                observer(step)
            course.advance()

    if not course.reason:
        course.reason = rule.reason if bool(tracker.stop) else ALL_TAKEN
    if course.reason != INTERRUPTED:
        guard.leave(course.steps)
        if looked:  # a fit that is loaded as finished has been judged
            guard.notes += filter(None, [outcome.check(course.steps, guard.notes)])
    resumption.save()
    return Fit(
        image=tracker.kept,
        last=tracker.last,
        kept_at=int(tracker.kept_at),
        steps=course.steps,
        reason=course.reason,
        history=tuple(history.rows),
        state={"network": network.state_dict(), "latent": unknowns.latent.detach()},
        notes=tuple(guard.notes),
        seconds=course.seconds,
    )


def _disturb(network: nn.Module, level: float, generator: torch.Generator) -> None:
    """Add noise to each weight matrix, in units of the deviation of its entries."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1 and parameter.requires_grad:
                noise = torch.empty_like(parameter).normal_(generator=generator)
                parameter.add_(noise * (level * parameter.std()))


def _check_given(network: object, latent: object, task: object) -> None:
    if not isinstance(network, nn.Module):
        raise SettingsError(f"The network must be a torch module, made already, got {describe_given(network)}.")
    if any(not is_lazy(parameter) and parameter.is_inference() for parameter in network.parameters()):
        raise SettingsError("The network was made under torch.inference_mode, so nothing in it can be learnt: make it outside.")
    if not isinstance(latent, Tensor) or not latent.is_floating_point():
        raise SettingsError(
            f"The latent must be a tensor of floats, such as hd.latents.uniform draws, got {describe_given(latent)}."
        )
    check_task(task)

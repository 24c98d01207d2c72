"""The loop: theta* = argmin E(A f_theta(z); y) + sum_k lambda_k R_k(f_theta(z)).

Read :func:`fit` from its ``while``. One step is: jitter the latent, run the network, evaluate the objective, step the
optimiser, show the step to whoever looks. Between logged steps nothing waits for the device
(but L-BFGS, whose line search has to know its values).
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hybrid_dip.contracts import Fit, Observer, Rule, Task
from hybrid_dip.errors import FitError, SettingsError, blaming
from hybrid_dip.execution.allocator import keeping_freed_memory
from hybrid_dip.fitting.checkpoint import Checkpoint, random_state, set_random_state
from hybrid_dip.fitting.guard import Guard
from hybrid_dip.fitting.history import History
from hybrid_dip.fitting.iterates import Growing, Tracker
from hybrid_dip.fitting.objective import Evaluation, Objective
from hybrid_dip.fitting.optimizers import OptimizerFactory, adam
from hybrid_dip.regularisers.schedules import Balanced
from hybrid_dip.regularisers.terms import Moment, Schedule, Term, as_terms
from hybrid_dip.stopping import MaxSteps


@keeping_freed_memory()
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
        latent: z.
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
        fallback: Decibels; where the fit to y has dropped by more than so many since the last logged step, go back to it.
        log_every: Steps between two logged ones.
        time_budget: Seconds after which the fit ends, counted over all resumed parts.
        halt: Asked between two steps; when it says True, the state is saved and the fit ends as "interrupted".
        checkpoint: Where the state is saved, and found again by the same call.
        generator: Of jitter and parameter noise, on the latent's device; by default torch's global one.
        observers: Called with every step.

    Returns:
        The fit: the kept and the last iterate, neither of them finished.

    Raises:
        SettingsError: An option out of range, or nothing to optimise.
        FitError: The network or a part of the objective fails, a part or its gradient is not finite at the first step, or the
            checkpoint cannot be read.
    """
    _check_options(max_steps, jitter, average, parameter_noise, log_every, time_budget, checkpoint)
    if isinstance(lr_schedule, Balanced):
        raise SettingsError("A balanced weight depends on a regulariser's gradient; it is no schedule for the learning rate.")
    rule = rule or MaxSteps()
    device = latent.device
    latent = latent.detach().clone().requires_grad_(optimise != "network")
    if optimise == "latent":
        network.requires_grad_(False)
    leaves = [leaf for leaf in (*network.parameters(), latent) if leaf.requires_grad]
    if not leaves:
        raise SettingsError("Nothing to optimise: the network has no trainable parameters and the latent is fixed.")
    stepper = (optimizer or adam())(leaves)
    base_rates = [group["lr"] for group in stepper.param_groups]
    objective = Objective(task, as_terms(terms), max_steps)
    tracker = Tracker(rule, task, average)
    guard = Guard(network, latent, stepper, objective, tracker, fallback)
    history = History()
    watched = {f"observer {i}": observer for i, observer in enumerate(observers) if hasattr(observer, "state_dict")}
    stateful: dict[str, Any] = {"guard": guard, "history": history, **watched}
    done, earlier, started, saved_at, reason = 0, 0.0, time.perf_counter(), 0, ""

    def seconds() -> float:
        return earlier + time.perf_counter() - started

    def save() -> None:
        if checkpoint is not None:
            parts = {name: part.state_dict() for name, part in stateful.items()}
            counters = {"done": done, "seconds": seconds(), "reason": "" if reason == "interrupted" else reason}
            checkpoint.save({**parts, **counters, "random": random_state(device, generator)})

    def evaluation(noise: Tensor | None, index: int, found: list[tuple[Tensor, Evaluation]]) -> Callable[[], Tensor]:
        """What the optimiser calls, once or, in a line search, several times: set the gradients, return the loss."""

        def evaluate() -> Tensor:
            stepper.zero_grad()
            z = latent if noise is None else latent + noise
            with blaming("The network", f"at step {index}"):
                image = network(z)
            evaluated = objective.backward(network, z, image, leaves, index, again=bool(found))
            found.append((image.detach(), evaluated))
            return found[-1][1].total

        return evaluate

    saved = checkpoint.load(device) if checkpoint is not None else None
    if checkpoint is not None and saved is not None:
        try:
            for name, part in stateful.items():
                part.load_state_dict(saved[name])
        except (RuntimeError, KeyError, ValueError) as error:
            detail = str(error).splitlines()[0].rstrip(".:")
            raise FitError(f"The checkpoint {checkpoint.path} is of another fit ({detail}); remove it.") from None
        done = saved_at = saved["done"]
        earlier, reason = saved["seconds"], saved["reason"]
        set_random_state(saved["random"], device, generator)

    while not reason and done < max_steps:
        logged = done % log_every == 0 or done == max_steps - 1
        if logged:
            if bool(tracker.stop):
                reason = rule.reason
                break
            if checkpoint is not None and checkpoint.due(done - saved_at):
                save()
                saved_at = done
            guard.remember()

        progress = Moment(done, max_steps, torch.ones(()), 0.0)
        factor = guard.rate * (float(lr_schedule(progress)) if lr_schedule is not None else 1.0)
        for group, rate in zip(stepper.param_groups, base_rates, strict=True):
            group["lr"] = rate * factor
        if parameter_noise:
            _disturb(network, parameter_noise, generator)
        noise = jitter * torch.randn(latent.shape, generator=generator, device=device) if jitter else None
        evaluations: list[tuple[Tensor, Evaluation]] = []
        stepper.step(evaluation(noise, done, evaluations))  # type: ignore[arg-type]
        # A line search evaluates several times; the first one is where the step began.
        step = tracker.update(*evaluations[0], done, base_rates[0] * factor, logged)
        if logged:
            history.add(step, seconds())
            if not guard.look(task, done):
                reason = "not finite"
        for observer in observers:
            observer(step)
        done += 1
        if reason or done == max_steps:
            break
        if time_budget is not None and seconds() >= time_budget:
            reason = "time budget"
        elif halt is not None and halt():
            reason = "interrupted"

    if not reason:
        reason = rule.reason if bool(tracker.stop) else "max_steps"
    if reason != "interrupted" and not (bool(tracker.healthy) and all(bool(torch.isfinite(leaf).all()) for leaf in leaves)):
        blamed = tracker.blame()
        guard.restore(guard.good)
        guard.notes.append(f"Step {done}: not finite at the end{blamed}; went back to the last good state.")
    save()
    return Fit(
        image=tracker.kept,
        last=tracker.last,
        kept_at=int(tracker.kept_at),
        steps=done,
        reason=reason,
        history=tuple(history.rows),
        state={"network": network.state_dict(), "latent": latent.detach()},
        notes=tuple(guard.notes),
        seconds=seconds(),
    )


def _disturb(network: nn.Module, level: float, generator: torch.Generator | None) -> None:
    """Add noise to each weight matrix, in units of the deviation of its entries."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1 and parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator, device=parameter.device)
                parameter.add_(noise * (level * parameter.std()))


def _check_options(
    max_steps: int,
    jitter: float,
    average: float | Growing | None,
    parameter_noise: float,
    log_every: int,
    time_budget: float | None,
    checkpoint: Checkpoint | None,
) -> None:
    whole = {"max_steps": max_steps, "log_every": log_every, "checkpoint.every": checkpoint.every if checkpoint else 1}
    for name, count in whole.items():
        if count < 1:
            raise SettingsError(f"{name} must be a whole number of at least 1, got {count}.")
    for name, level in {"jitter": jitter, "parameter_noise": parameter_noise}.items():
        if not (math.isfinite(level) and level >= 0):
            raise SettingsError(f"{name} must be a finite number of at least 0, got {level}.")
    if isinstance(average, float | int) and not 0 <= average < 1:
        raise SettingsError(f"average must be a decay in [0, 1), such as 0.99, got {average}.")
    if time_budget is not None and not 0 < time_budget < math.inf:
        raise SettingsError(f"time_budget must be a number of seconds above 0, got {time_budget}.")

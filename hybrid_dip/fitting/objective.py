"""The value and the gradient of E(A x; y) + sum_k lambda_k R_k, and how hard each part pulls at the image."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hybrid_dip.contracts import Task
from hybrid_dip.errors import FitError, blaming
from hybrid_dip.regularisers.terms import Moment, Term, Terms

BALANCING_STEPS = 20
"""Steps over which the gradient norm of a term is averaged for balanced weights, then frozen."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One evaluation of the objective, on the device: the residual has the shape of y, all else is ()."""

    total: Tensor
    residual: Tensor
    losses: Mapping[str, Tensor]
    gradient_norms: Mapping[str, Tensor]
    weights: Mapping[str, Tensor]


class Objective:
    """E + sum_k lambda_k R_k of one task.

    The gradient with respect to the image is taken part by part, at a detached copy of the image, and then sent through the
    network in one go: the same mathematics as one backward pass over the sum, at the same cost, and it shows what each part
    contributes.

    Args:
        task: The task to fit; terms are bound to it.
        terms: lambda_k R_k.
        steps: How many steps the fit takes at most; schedules run over them.
    """

    def __init__(self, task: Task, terms: Terms, steps: int):
        self.task = task
        self.terms = Terms(_bound(term, task) for term in terms)
        self.on_network = [term for term in self.terms if term.acts_on_network]
        self.on_image = [term for term in self.terms if not term.acts_on_network]
        self.steps = steps
        device = task.observation.device
        # Mean gradient norm over the first steps, a term; what balanced weights are made from.
        self.norms = {term.name: torch.zeros((), device=device) for term in self.terms}
        self.counted = 0

    def backward(
        self, network: nn.Module, latent: Tensor, image: Tensor, leaves: Sequence[Tensor], step: int, *, again: bool
    ) -> Evaluation:
        """Evaluate at ``image = network(latent)`` and add the gradient to the leaves.

        Args:
            network: f_theta.
            latent: z, with this step's jitter.
            image: Its output, with its graph.
            leaves: What is optimised: parameters of the network, the latent, or both.
            step: Index of the step.
            again: This step was evaluated before, by a line search: nothing that happens once a step happens now. At the
                very first evaluation every part is checked by name (which waits for the device).

        Returns:
            What was found.

        Raises:
            FitError: A part fails, is not a scalar, is cut off from the image, or it or its gradient is not finite at the first
                step.
        """
        task, first = self.task, step == 0 and not again
        if first:
            self._check_image(image)
        x = image.detach().requires_grad_()
        with blaming("The forward operator or the fidelity", f"at step {step}"):
            prediction = task.forward(x)
            fidelity = task.fidelity(prediction, task.observation, task.weight)
        if first:
            _check("The fidelity", fidelity, finite=True)
        (gradient,) = _gradients("The fidelity", fidelity, [x], step, first)
        losses = {"fidelity": fidelity.detach()}
        norms = {"fidelity": gradient.norm()}
        weights: dict[str, Tensor] = {}
        pulls: dict[str, Tensor] = {}
        for term in self.on_image:
            value = self._value(term, (x,), step, first, again)
            (pull,) = _gradients(_named(term), value, [x], step, first)
            losses[term.name], pulls[term.name] = value.detach(), pull.norm()
            weights[term.name] = self._weight(term, pulls[term.name], step, again)
            gradient = gradient + weights[term.name] * pull
        with blaming("The network", f"at step {step}"):
            image.backward(gradient, retain_graph=bool(self.on_network))  # type: ignore[no-untyped-call]
        for term in self.on_network:
            value = self._value(term, (network, latent, image), step, first, again)
            parts = _gradients(_named(term), value, leaves, step, first, of="the network", retain_graph=True)
            losses[term.name], pulls[term.name] = value.detach(), torch.stack([part.norm() for part in parts]).norm()
            weights[term.name] = self._weight(term, pulls[term.name], step, again)
            for leaf, part in zip(leaves, parts, strict=True):
                leaf.grad = weights[term.name] * part if leaf.grad is None else leaf.grad + weights[term.name] * part
        if self.counted < BALANCING_STEPS and not again:
            self.counted += 1
        norms |= {name: weights[name] * pull for name, pull in pulls.items()}
        total = losses["fidelity"] + sum(weights[name] * losses[name] for name in pulls)
        residual = prediction.detach() - task.observation
        if task.weight is not None:
            residual = residual * task.weight
        return Evaluation(total, residual, {"total": total, **losses}, norms, weights)

    def _check_image(self, image: Any) -> None:
        if not isinstance(image, Tensor):
            raise FitError(
                f"The network must return an image, a tensor of shape {self.task.shape}, got {type(image).__name__}."
            )
        if tuple(image.shape) != tuple(self.task.shape):
            raise FitError(f"The network gives the shape {tuple(image.shape)}; the task needs {tuple(self.task.shape)}.")
        if not image.requires_grad:
            raise FitError("The network's output does not depend on what is optimised, so nothing could be fitted.")

    def _value(self, term: Term, arguments: tuple[Any, ...], step: int, first: bool, again: bool) -> Tensor:
        with blaming(_named(term), f"at step {step}"):
            refresh = getattr(term.regulariser, "refresh", None)
            if callable(refresh) and not again:
                refresh(step, arguments[-1].detach())
            value: Tensor = term.regulariser(*arguments)
        _check(_named(term), value, finite=first, of="the network" if term.acts_on_network else "the image")
        return value

    def _weight(self, term: Term, norm: Tensor, step: int, again: bool) -> Tensor:
        """The term's weight now; during the first steps its gradient norm enters the running mean."""
        norm = norm.detach()
        if self.counted < BALANCING_STEPS and not again:
            self.norms[term.name] = self.norms[term.name] + (norm - self.norms[term.name]) / (self.counted + 1)
        value: float | Tensor
        with blaming(f"The weight of '{term.name}'", f"at step {step}"):
            if callable(term.weight):
                value = term.weight(Moment(step, self.steps, self.norms[term.name], self.task.noise_gradient))
            else:
                value = term.weight
            # A tensor made from a number by filling needs no copy from the host.
            found = value.to(norm) if isinstance(value, Tensor) else torch.full_like(norm, value)
        if step == 0 and not again and not math.isfinite(float(found)):
            raise FitError(f"The weight of '{term.name}' is {float(found)} at the first step; a finite number was expected.")
        return found

    def state_dict(self) -> dict[str, Any]:
        """The running means, and what the terms themselves remember."""
        remembered = {name: part.state_dict() for name, part in self._stateful()}
        return {"norms": dict(self.norms), "counted": self.counted, "terms": remembered}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.norms, self.counted = dict(state["norms"]), state["counted"]
        for name, part in self._stateful():
            part.load_state_dict(state["terms"][name])

    def _stateful(self) -> Iterator[tuple[str, Any]]:
        for term in self.terms:
            prior: Any = term.regulariser
            # Every module has a state; only one that is refreshed changes along the fit, a pretrained network does not.
            constant = isinstance(prior, nn.Module) and not hasattr(prior, "refresh")
            if hasattr(prior, "state_dict") and hasattr(prior, "load_state_dict") and not constant:
                yield term.name, prior


def _bound(term: Term, task: Task) -> Term:
    with blaming(_named(term), "to bind to the task"):
        return term.bind(task)


def _named(term: Term) -> str:
    return f"The regulariser '{term.name}'"


def _gradients(
    what: str, value: Tensor, leaves: Sequence[Tensor], step: int, first: bool, *, of: str = "the image", **options: Any
) -> list[Tensor]:
    """The gradient of one part, zero for what it does not depend on; looking at its values waits for the device."""
    with blaming(what, f"at step {step}, in its gradient"):
        found = torch.autograd.grad(value, leaves, allow_unused=True, **options)
    if all(part is None for part in found):
        raise _cut_off(what, of)
    parts = [torch.zeros_like(leaf) if part is None else part for leaf, part in zip(leaves, found, strict=True)]
    if first and not all(bool(torch.isfinite(part).all()) for part in parts):
        raise FitError(
            f"{what} has a gradient that is not finite at the first step, though its value is {float(value.detach()):g}; a "
            "finite one was expected: a root or a quotient needs a small constant where it may meet zero."
        )
    return parts


def _cut_off(what: str, of: str) -> FitError:
    return FitError(f"{what} returns a tensor cut off from {of}: it has no gradient, so it could not act.")


def _check(what: str, value: Any, *, finite: bool, of: str = "the image") -> None:
    """Form is checked at every step, which costs nothing; looking at the value waits for the device."""
    if not isinstance(value, Tensor) or value.shape != () or not value.is_floating_point():
        got = f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise FitError(f"{what} must return a scalar tensor of shape (), got {got}.")
    if not value.requires_grad:
        raise _cut_off(what, of)
    if finite and not math.isfinite(float(value.detach())):
        raise FitError(f"{what} is {float(value.detach())} at the first step; a finite number was expected.")

"""The value and the gradient of E(A x; y) + sum_k lambda_k R_k, and how hard each part pulls at the image."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hybrid_dip.contracts import Moment, Task, Term, Terms
from hybrid_dip.errors import FitError

BALANCING_STEPS = 20
"""Steps over which the gradient norm of a term is averaged for balanced weights, then frozen."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One evaluation of the objective; all tensors are () on the device."""

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
        self.terms = Terms(term.bind(task) for term in terms)
        self.on_network = [term for term in self.terms if term.acts_on_network]
        self.on_image = [term for term in self.terms if not term.acts_on_network]
        self.steps = steps
        device = task.observation.device
        # Mean gradient norm over the first steps, a term; what balanced weights are made from.
        self.norms = {term.name: torch.zeros((), device=device) for term in self.terms}

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
            FitError: A part is not a scalar, is cut off from the image, or is not finite at the first step.
        """
        task = self.task
        x = image.detach().requires_grad_()
        prediction = task.forward(x)
        fidelity = task.fidelity(prediction, task.observation, task.weight)
        if step == 0 and not again:
            _check("The fidelity", fidelity)
        (gradient,) = torch.autograd.grad(fidelity, x)
        losses = {"fidelity": fidelity.detach()}
        norms = {"fidelity": gradient.norm()}
        weights: dict[str, Tensor] = {}
        total = fidelity.detach()
        for term in self.on_image:
            value = self._value(term, (x,), step, again)
            (pull,) = torch.autograd.grad(value, x)
            weight = self._weight(term, pull.norm(), step, again)
            gradient = gradient + weight * pull
            losses[term.name], norms[term.name], weights[term.name] = value.detach(), weight * pull.norm(), weight
            total = total + weight * value.detach()
        image.backward(gradient, retain_graph=bool(self.on_network))  # type: ignore[no-untyped-call]
        for term in self.on_network:
            value = self._value(term, (network, latent, image), step, again)
            pulls = torch.autograd.grad(value, leaves, retain_graph=True, materialize_grads=True)
            norm = torch.stack([pull.norm() for pull in pulls]).norm()
            weight = self._weight(term, norm, step, again)
            for leaf, pull in zip(leaves, pulls, strict=True):
                leaf.grad = weight * pull if leaf.grad is None else leaf.grad + weight * pull
            losses[term.name], norms[term.name], weights[term.name] = value.detach(), weight * norm, weight
            total = total + weight * value.detach()
        residual = prediction.detach() - task.observation
        if task.weight is not None:
            residual = residual * task.weight
        return Evaluation(total, residual, {"total": total, **losses}, norms, weights)

    def _value(self, term: Term, arguments: tuple[Any, ...], step: int, again: bool) -> Tensor:
        refresh = getattr(term.regulariser, "refresh", None)
        if callable(refresh) and not again:
            refresh(step, arguments[-1].detach())
        value: Tensor = term.regulariser(*arguments)
        if step == 0 and not again:
            _check(f"The regulariser '{term.name}'", value)
        return value

    def _weight(self, term: Term, norm: Tensor, step: int, again: bool) -> Tensor:
        """The term's weight now; during the first steps its gradient norm enters the running mean."""
        if step < BALANCING_STEPS and not again:
            self.norms[term.name] = self.norms[term.name] + (norm.detach() - self.norms[term.name]) / (step + 1)
        if not callable(term.weight):
            return torch.full_like(norm, term.weight)
        moment = Moment(step, self.steps, self.norms[term.name], self.task.noise_gradient)
        return torch.as_tensor(term.weight(moment), dtype=norm.dtype, device=norm.device)

    def state_dict(self) -> dict[str, Any]:
        """The running means, and what the terms themselves remember."""
        remembered = {name: part.state_dict() for name, part in self._stateful()}
        return {"norms": dict(self.norms), "terms": remembered}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.norms = dict(state["norms"])
        for name, part in self._stateful():
            part.load_state_dict(state["terms"][name])

    def _stateful(self) -> Iterator[tuple[str, Any]]:
        for term in self.terms:
            if hasattr(term.regulariser, "state_dict") and hasattr(term.regulariser, "load_state_dict"):
                yield term.name, term.regulariser


def _check(what: str, value: Any) -> None:
    if not isinstance(value, Tensor) or value.shape != ():
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise FitError(f"{what} must return a scalar tensor of shape (), got {got}.")
    if not value.requires_grad:
        raise FitError(f"{what} returns a tensor cut off from the image: it has no gradient, so it could not act.")
    if not math.isfinite(float(value.detach())):
        raise FitError(f"{what} is {float(value.detach())} at the first step; a finite number was expected.")

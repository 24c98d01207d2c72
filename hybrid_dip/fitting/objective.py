"""The value and the gradient of E(A x; y) + sum_k lambda_k R_k, and how hard each part pulls at the image."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hybrid_dip.contracts import Task
from hybrid_dip.errors import FitError, blame_errors_on
from hybrid_dip.fitting.lambdas import Lambdas
from hybrid_dip.fitting.parts import Occasion, check_value, gradients
from hybrid_dip.fitting.unknowns import Unknowns
from hybrid_dip.regularisers.terms import Term, Terms


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One evaluation of the objective, on the device and without a graph.

    Attributes:
        image: The network's output x, (1, C, H, W).
        residual: A x - y, zero where nothing was measured; of the shape of y.
        losses: "total", "fidelity" and the unweighted value of each term; ().
        gradient_norms: "fidelity" and each term: the norm of its weighted gradient; ().
        weights: lambda of each term; ().
    """

    image: Tensor
    residual: Tensor
    losses: Mapping[str, Tensor]
    gradient_norms: Mapping[str, Tensor]
    weights: Mapping[str, Tensor]

    @property
    def total(self) -> Tensor:
        """The value of the objective, ()."""
        return self.losses["total"]


class Objective:
    """E + sum_k lambda_k R_k of one task.

    The gradient with respect to the image is taken part by part, at a detached copy of the image, and then sent through the
    network in one go. That is the same mathematics as one backward pass over the sum, at the same cost, and it shows what each
    part contributes.

    Args:
        task: The task to fit; terms are bound to it.
        terms: lambda_k R_k.
        steps: Steps that the fit takes at most; schedules run over them.
    """

    def __init__(self, task: Task, terms: Terms, steps: int):
        self.task = task
        self.terms = Terms(_bind(term, task) for term in terms)
        self.on_network = [term for term in self.terms if term.acts_on_network]
        self.on_image = [term for term in self.terms if not term.acts_on_network]
        self.lambdas = Lambdas(self.terms, task, steps)

    def backward(self, unknowns: Unknowns, z: Tensor, image: Tensor, occasion: Occasion) -> Evaluation:
        """Evaluate at ``image = network(z)`` and add the gradient to the leaves.

        Args:
            unknowns: The network, and what is optimised.
            z: The latent with this step's jitter.
            image: The network's output, with its graph.
            occasion: When. On the first occasion every part is checked by name (which waits for the device).

        Returns:
            The evaluation.

        Raises:
            FitError: A part fails, is not a scalar or is cut off from the image; or it, its weight or its gradient is not
                finite on the first occasion.
        """
        task = self.task
        if occasion.first:
            self._check_image(image)
        x = image.detach().requires_grad_()
        with blame_errors_on("The forward operator or the fidelity", str(occasion)):
            prediction = task.forward(x)
            fidelity = task.misfit(prediction)
        check_value("The fidelity", fidelity, occasion)
        (gradient,) = gradients("The fidelity", fidelity, [x], occasion)
        losses, norms, weights = {"fidelity": fidelity.detach()}, {"fidelity": gradient.norm()}, {}

        for term in self.on_image:
            value = _evaluate(term, (x,), occasion)
            (pull,) = gradients(_name(term), value, [x], occasion)
            norm = pull.norm()
            weight = self.lambdas.weigh(term, norm, occasion)
            losses[term.name], weights[term.name], norms[term.name] = value.detach(), weight, weight * norm
            gradient = gradient + weight * pull
        with blame_errors_on("The network", str(occasion)):
            image.backward(gradient, retain_graph=bool(self.on_network))  # type: ignore[no-untyped-call]

        for term in self.on_network:
            value = _evaluate(term, (unknowns.network, z, image), occasion)
            pulls = gradients(_name(term), value, unknowns.leaves, occasion, of="the network", keep_graph=True)
            norm = torch.stack([pull.norm() for pull in pulls]).norm()
            weight = self.lambdas.weigh(term, norm, occasion)
            losses[term.name], weights[term.name], norms[term.name] = value.detach(), weight, weight * norm
            for leaf, pull in zip(unknowns.leaves, pulls, strict=True):
                leaf.grad = weight * pull if leaf.grad is None else leaf.grad + weight * pull
        self.lambdas.count(occasion)

        total = losses["fidelity"] + sum(weight * losses[name] for name, weight in weights.items())
        residual = task.even(prediction.detach() - task.observation)
        return Evaluation(image.detach(), residual, {"total": total, **losses}, norms, weights)

    def _check_image(self, image: Any) -> None:
        if not isinstance(image, Tensor):
            raise FitError(
                f"The network must return an image, a tensor of shape {self.task.shape}, got {type(image).__name__}."
            )
        if tuple(image.shape) != tuple(self.task.shape):
            raise FitError(f"The network gives the shape {tuple(image.shape)}; the task needs {tuple(self.task.shape)}.")
        if not image.requires_grad:
            raise FitError("The network's output does not depend on what is optimised, so nothing could be fitted.")

    def state_dict(self) -> dict[str, Any]:
        """The running means of the weights, and what the terms themselves remember."""
        return {**self.lambdas.state_dict(), "terms": {name: part.state_dict() for name, part in self._stateful()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.lambdas.load_state_dict(state)
        for name, part in self._stateful():
            part.load_state_dict(state["terms"][name])

    def _stateful(self) -> Iterator[tuple[str, Any]]:
        for term in self.terms:
            prior: Any = term.regulariser
            # Every module has a state; only one that is refreshed changes along the fit, a pretrained network does not.
            constant = isinstance(prior, nn.Module) and not hasattr(prior, "refresh")
            if hasattr(prior, "state_dict") and hasattr(prior, "load_state_dict") and not constant:
                yield term.name, prior


def _bind(term: Term, task: Task) -> Term:
    with blame_errors_on(_name(term), "to bind to the task"):
        return term.bind(task)


def _name(term: Term) -> str:
    return f"The regulariser '{term.name}'"


def _evaluate(term: Term, arguments: tuple[Any, ...], occasion: Occasion) -> Tensor:
    """The value of a term, which is refreshed before it once in a step."""
    with blame_errors_on(_name(term), str(occasion)):
        refresh = getattr(term.regulariser, "refresh", None)
        if callable(refresh) and not occasion.again:
            refresh(occasion.step, arguments[-1].detach())
        value: Tensor = term.regulariser(*arguments)
    check_value(_name(term), value, occasion, of="the network" if term.acts_on_network else "the image")
    return value

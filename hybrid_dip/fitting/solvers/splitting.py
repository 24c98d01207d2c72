"""Splitting: each image term has a copy of the image of its own, on which its prox or its denoiser acts.

    min  E(A f_theta(z); y) + sum_k lambda_k R_k(x_k)   subject to   x_k = f_theta(z) for all k

ADMM (Boyd et al. 2011), with a scaled dual u_k for each constraint and mu for its strength, repeats

    theta   some steps of the optimiser on  E(A f; y) + sum_k mu mean |f - (x_k - u_k)|^2
    x_k     = argmin_x  lambda_k R_k(x) + mu mean |x - (f + u_k)|^2
    u_k     += f - x_k

Half-quadratic splitting (Geman & Yang 1995) has no dual, and mu grows. The network's step is one of the plain loop, with the
quadratic as a term; so everything that the loop offers (checkpoints, stopping rules, histories) is there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from hybrid_dip.contracts import Fit, Task
from hybrid_dip.errors import FitError, SettingsError
from hybrid_dip.fitting.fit import fit
from hybrid_dip.regularisers.proximal import proximal
from hybrid_dip.regularisers.schedules import Balanced
from hybrid_dip.regularisers.terms import Moment, SomeTerms, Term, as_terms


@dataclass(eq=False)
class Split:
    """One term within a splitting: mu mean |f - (x - u)|^2, with x and u brought up to date now and then.

    Attributes:
        term: lambda R.
        mu: Strength at the first step.
        last_mu: Strength at the last step; in between it grows by a constant factor.
        steps: Steps that the fit takes at most.
        every: Steps of the network between two updates of x and u.
        dual: Whether u is used (ADMM) or stays 0 (half-quadratic splitting).
    """

    term: Term
    mu: float
    last_mu: float
    steps: int
    every: int
    dual: bool

    def __post_init__(self) -> None:
        if isinstance(self.term.weight, Balanced):
            raise SettingsError(
                f"The weight of '{self.term.name}' in a splitting is a number or a schedule of numbers, not balanced: its prox "
                "has no gradient to balance."
            )
        self.x = self.u = torch.zeros(())
        self.step = -1

    def bind(self, task: Task) -> "Split":
        """Begin a fit; the term's regulariser is bound as well."""
        return replace(self, term=self.term.bind(task))

    def strength(self, step: int) -> float:
        """The value of mu at a step."""
        growing: float = (self.last_mu / self.mu) ** (step / max(1, self.steps - 1))
        return self.mu * growing

    def refresh(self, step: int, f: Tensor) -> None:
        """Update x and u, if it is time."""
        first = self.step < 0
        if first:
            self.x, self.u = f, torch.zeros_like(f)
        self.step = step
        prior: Any = self.term.regulariser
        if hasattr(prior, "refresh"):
            prior.refresh(step, self.x)
        if first:
            self._check(f)
        if step % self.every == 0:
            v = f + self.u
            self.x = proximal(prior, v, self.gamma(step, f.numel()))
            if self.dual:
                self.u = v - self.x

    def _check(self, f: Tensor) -> None:
        """Refuse a prior whose value does not depend on the image: its prox would silently do nothing."""
        x = f.clone().requires_grad_()
        with torch.enable_grad():
            value: Tensor = self.term.regulariser(x)  # type: ignore[call-arg,arg-type]
            connected = value.requires_grad and torch.autograd.grad(value, x, allow_unused=True)[0] is not None
        if not connected:
            raise FitError(
                f"The regulariser '{self.term.name}' returns a tensor cut off from the image: it has no gradient, so it could "
                "not act."
            )

    def gamma(self, step: int, entries: int) -> float:
        """The gamma of the prox: lambda R(x) + mu mean |x - v|^2 is 2 mu / n times |x - v|^2 / 2 + gamma R(x)."""
        moment = Moment(step, self.steps, torch.ones(()), 0.0)
        weight = self.term.weight(moment) if callable(self.term.weight) else self.term.weight
        return entries * float(weight) / (2 * self.strength(step))

    def __call__(self, f: Tensor) -> Tensor:
        """Return the quadratic, as ()."""
        if self.step < 0:
            self.refresh(0, f.detach())
        return self.strength(self.step) * (f - (self.x - self.u)).square().mean()

    def state_dict(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        prior: Any = self.term.regulariser
        inner = prior.state_dict() if hasattr(prior, "state_dict") else {}
        return {"x": self.x, "u": self.u, "step": self.step, "prior": inner}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.x, self.u, self.step = state["x"], state["u"], state["step"]
        prior: Any = self.term.regulariser
        if hasattr(prior, "load_state_dict"):
            prior.load_state_dict(state["prior"])


def _split(terms: Any, steps: int, *, mu: float, last_mu: float, every: int, dual: bool) -> list[Term]:
    """Split the terms of the image; those of the network stay as they are."""
    given = as_terms(terms)
    if all(term.acts_on_network for term in given):
        raise SettingsError("Splitting needs at least one regulariser of the image, such as tv@0.05.")
    return [
        term if term.acts_on_network else Term(Split(term, mu, last_mu, steps, every, dual), 1.0, term.name) for term in given
    ]


def _check(name: str, every: int, **strengths: float) -> None:
    if every < 1 or not all(0 < strength < float("inf") for strength in strengths.values()):
        raise SettingsError(f"{name} needs strengths above 0 and every of at least 1, got {strengths} and every={every}.")


@dataclass(frozen=True)
class ADMM:
    """Alternating directions: a copy and a dual for each term.

    Attributes:
        mu: Strength of the constraints, above 0.
        every: Steps of the network between two updates of the copies and duals.
    """

    mu: float = 0.5
    every: int = 10

    def __post_init__(self) -> None:
        _check("ADMM", self.every, mu=self.mu)

    def run(self, network: nn.Module, latent: Tensor, task: Task, terms: SomeTerms = (), **options: Any) -> Fit:
        """Fit, as :func:`hybrid_dip.fitting.fit.fit`, whose arguments these are."""
        steps = options.get("max_steps", 1000)
        split = _split(terms, steps, mu=self.mu, last_mu=self.mu, every=self.every, dual=True)
        return fit(network, latent, task, split, **options)


@dataclass(frozen=True)
class HQS:
    """Half-quadratic splitting: a copy for each term, held more and more tightly.

    Attributes:
        mu: Strength at the first step, above 0.
        last_mu: Strength at the last step, above 0.
        every: Steps of the network between two updates of the copies.
    """

    mu: float = 0.1
    last_mu: float = 10.0
    every: int = 10

    def __post_init__(self) -> None:
        _check("HQS", self.every, mu=self.mu, last_mu=self.last_mu)

    def run(self, network: nn.Module, latent: Tensor, task: Task, terms: SomeTerms = (), **options: Any) -> Fit:
        """Fit, as :func:`hybrid_dip.fitting.fit.fit`, whose arguments these are."""
        steps = options.get("max_steps", 1000)
        split = _split(terms, steps, mu=self.mu, last_mu=self.last_mu, every=self.every, dual=False)
        return fit(network, latent, task, split, **options)

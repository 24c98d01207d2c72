"""Consensus equilibrium (MACE; Buzzard, Chan, Sreehari & Bouman 2018): priors as agents that agree on one image.

Each agent F_i moves an image to where its prior, or the data, would rather have it. An equilibrium is an image x with forces
u_i that cancel, sum_i mu_i u_i = 0, such that every agent answers F_i(x + u_i) = x. For proximal maps that is the minimum of
the weighted sum of their energies. But an agent may be any denoiser, or a network, and then there is no common cost.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from hybrid_dip.contracts import LEAST_SIGMA, Record, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.execution import devices
from hybrid_dip.fitting.bar import is_shown
from hybrid_dip.fitting.fit import fit
from hybrid_dip.fitting.random_state import Draws
from hybrid_dip.problem import tasks
from hybrid_dip.problem.fidelity import gaussian
from hybrid_dip.problem.least_squares import nearest_explanation
from hybrid_dip.recipes.prepare import prepare
from hybrid_dip.recipes.recipe import Preset, Recipe
from hybrid_dip.regularisers import RED
from hybrid_dip.regularisers.proximal import proximal
from hybrid_dip.regularisers.terms import Term, Terms
from hybrid_dip.restoring.hooks import HooksOf, hooks_of_arm, no_hooks
from hybrid_dip.restoring.plan import resolve
from hybrid_dip.restoring.restore import restore
from hybrid_dip.restoring.result import Result

STEPS, ROUNDS = 20, 30
"""Steps of the network's agent in each round, and most rounds."""
LEAST_LEVEL = 10 / 255
"""How far an agent may move an image that has no noise, in units of [0, 1]."""

Agent = Callable[[Tensor], Tensor]
"""(1, C, H, W) -> (1, C, H, W): where the agent would rather have the image."""


@dataclass(frozen=True, eq=False, repr=False)
class Equilibrium(Record):
    """What :func:`equilibrium` gives back.

    Attributes:
        image: The weighted mean of the agents' answers, (1, C, H, W), before ``finish``.
        answers: The answer of each agent, (K, C, H, W).
        disagreement: For each round the root mean squared distance of the answers to their mean.
    """

    image: Tensor
    answers: Tensor
    disagreement: tuple[float, ...]


def equilibrium(
    agents: Sequence[Agent],
    start: Tensor,
    *,
    weights: Sequence[float] | None = None,
    rho: float = 0.5,
    rounds: int = 50,
    tolerance: float = 1e-4,
) -> Equilibrium:
    """Mann's iteration w <- (1 - rho) w + rho (2 G - I) (2 F - I) w, whose fixed points are the equilibria.

    F applies agent i to w_i, G replaces each w_i by sum_i mu_i w_i. It converges where F is nonexpansive, as proximal maps are.

    Args:
        agents: The agents F_i, at least one.
        start: All w_i to begin with, (1, C, H, W).
        weights: The weights mu_i, at least 0; they are scaled to sum to 1. By default they are equal.
        rho: Step of the iteration, in (0, 1).
        rounds: Most rounds.
        tolerance: Disagreement at which it ends, in units of [0, 1].

    Returns:
        The equilibrium, as far as it was reached.

    Raises:
        SettingsError: There are no agents, or a number is out of range.
    """
    given = [1.0] * len(agents) if weights is None else list(weights)
    if not agents or len(given) != len(agents) or min(given) < 0 or not sum(given) > 0 or not 0 < rho < 1 or rounds < 1:
        raise SettingsError(
            f"A consensus needs agents, as many weights of at least 0, rho in (0, 1) and a round; got {len(agents)} agents, "
            f"weights {given}, rho={rho}, rounds={rounds}."
        )
    mu = torch.tensor(given, device=start.device, dtype=start.dtype)[:, None, None, None] / sum(given)
    w = start.expand(len(agents), *start.shape[1:]).clone()
    apart: list[float] = []
    for _ in range(rounds):
        answers = torch.cat([agent(part[None]) for agent, part in zip(agents, w, strict=True)])
        mean = (mu * answers).sum(0)
        apart.append(float((mu * (answers - mean).square()).sum(0).mean().sqrt()))
        if apart[-1] < tolerance:
            break
        reflected = 2 * answers - w
        w = (1 - rho) * w + rho * (2 * (mu * reflected).sum(0) - reflected)
    return Equilibrium(mean[None], answers, tuple(apart))


@dataclass(frozen=True, eq=False)
class DataAgent:
    """argmin_u |A u - y|^2 / (2 sigma^2) + |u - v|^2 / (2 level^2).

    Attributes:
        task: A linear task with Gaussian noise or none.
        level: How far the agent may move an image, in units of [0, 1].
    """

    task: Task
    level: float

    def __call__(self, v: Tensor) -> Tensor:
        """Answer where the image v should be."""
        return nearest_explanation(v, self.task, (noise_of(self.task) / self.level) ** 2)


@dataclass(frozen=True, eq=False)
class TermAgent:
    """The prox of a term, on the scale of the data's: argmin_u n lambda R(u) / (2 sigma^2) + |u - v|^2 / (2 level^2).

    A denoiser (RED) answers D(v, level).

    Attributes:
        term: A term with a number as its weight, bound to the task.
        task: Gives n and sigma.
        level: How far the agent may move an image, in units of [0, 1].
    """

    term: Term
    task: Task
    level: float

    def __call__(self, v: Tensor) -> Tensor:
        """Answer where the image v should be."""
        prior: Any = self.term.regulariser
        if isinstance(prior, RED):
            with torch.no_grad():
                return prior.denoiser(v, self.level)
        if hasattr(prior, "refresh"):
            prior.refresh(0, v)
        assert not callable(self.term.weight)
        energy = self.task.observation.numel() * self.term.weight / (2 * noise_of(self.task) ** 2)
        return proximal(prior, v, energy * self.level**2)


@dataclass(eq=False)
class NetworkAgent:
    """The image's own prior: the network goes on for some steps towards v, and answers with its output.

    Attributes:
        network: f_theta, which is changed.
        latent: z.
        recipe: Gives the optimiser, its rate and the jitter.
        steps: Number of steps towards each v.
        generator: Generator of the jitter, which goes on from one v to the next.
    """

    network: torch.nn.Module
    latent: Tensor
    recipe: Recipe
    steps: int
    generator: torch.Generator

    def __call__(self, v: Tensor) -> Tensor:
        """Answer where the image v should be."""
        near = tasks.denoise(v, sigma=LEAST_SIGMA)
        return fit(
            self.network,
            self.latent,
            near,
            max_steps=self.steps,
            optimizer=self.recipe.build_optimizer(),
            jitter=self.recipe.jitter,
            average=0.8,
            generator=self.generator,
        ).last


def noise_of(task: Task) -> float:
    """The noise level of a task, at least 2/255."""
    return max(task.noise_sigma or 0.0, LEAST_SIGMA)


@dataclass(frozen=True, eq=False, repr=False)
class Agreed(Record):
    """What :func:`agree` gives back.

    Attributes:
        image: The finished image, (1, C, H, W), on the CPU.
        raw: The image before finishing.
        equilibrium: The equilibrium, with each agent's answer.
        first: The fit from which the network's agent went on.
        seconds: Seconds of the fit and the rounds.
        names: Names of the agents.
    """

    image: Tensor
    raw: Tensor
    equilibrium: Equilibrium
    first: Result
    seconds: float
    names: tuple[str, ...] = field(default_factory=tuple)


@torch.inference_mode(False)
@torch.enable_grad()
def agree(
    task: Task,
    preset: str | Preset | Recipe,
    terms: Terms,
    *,
    level: float | None = None,
    steps: int = STEPS,
    rounds: int = ROUNDS,
    seed: int = 0,
    device: str | torch.device = "auto",
    time_budget: float | None = None,
    progress: bool | None = None,
    hooks: HooksOf = no_hooks,
) -> Agreed:
    """Restore by an equilibrium of the data, the network and the terms, all with the same weight.

    Args:
        task: A linear task with Gaussian noise or none.
        preset: Preset of the network, which is fitted first.
        terms: Regularisers of the image with numbers as weights. RED takes part as its denoiser.
        level: How far an agent may move an image, in units of [0, 1]; a denoiser takes it for the noise. The default is the
            level of the task's noise, at least 10/255: then the data and a denoiser alone agree on the denoised observation.
        steps: Steps of the network's agent in each round.
        rounds: Most rounds.
        seed: Seed of the fit.
        device: Where it is done.
        time_budget: Seconds for the fit.
        progress: Whether a bar shows how the network's fit goes on, as in :func:`hybrid_dip.restoring.restore.restore`.
        hooks: What surrounds the network's fit, whose arm is called "dip".

    Returns:
        The image, and how the agents came to agree.

    Raises:
        SettingsError: The fidelity is not Gaussian, a term acts on the network, or a weight is a schedule.
    """
    if task.fidelity is not gaussian:
        raise SettingsError("A consensus is for Gaussian noise or none; the fidelity of this task is another.")
    level = max(task.noise_sigma or 0.0, LEAST_LEVEL) if level is None else level
    if not (math.isfinite(level) and level > 0):
        raise SettingsError(f"The level of a consensus must be above 0, got {level}.")
    for term in terms:
        if term.acts_on_network or (callable(term.weight) and not isinstance(term.regulariser, RED)):
            raise SettingsError(
                f"'{term.name}' cannot take part in a consensus: a regulariser of the image with a number as its weight can."
            )
    where = devices.pick(device)
    here = task.to(where)
    recipe = replace(resolve(preset, task), runs=1)
    started = time.monotonic()
    first = restore(
        task,
        preset=recipe,
        seed=seed,
        device=where,
        tile=0,
        time_budget=time_budget,
        progress="dip" if is_shown(progress) else False,
        hooks=hooks_of_arm(hooks, "dip"),
    )
    draws = Draws(seed)
    network, latent = prepare(here, recipe, seed, draws)
    network.load_state_dict(first.fits[0].state["network"])
    bound = [term if isinstance(term.regulariser, RED) else term.bind(here) for term in terms]
    agents: dict[str, Agent] = {
        "data": DataAgent(here, level),
        "dip": NetworkAgent(network.to(where), latent.to(where), recipe, steps, draws.on(where)),
        **{term.name: TermAgent(term, here, level) for term in bound},
    }
    reached = equilibrium(list(agents.values()), first.raw.to(where), rounds=rounds)
    raw = reached.image.cpu()
    return Agreed(task.to("cpu").finish(raw), raw, reached, first, time.monotonic() - started, tuple(agents))

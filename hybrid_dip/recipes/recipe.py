"""What a fit is made with, apart from its task: the network, the latent and the hyper-parameters."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from hybrid_dip.contracts import Fit, Rule, Task
from hybrid_dip.errors import SettingsError, describe_given
from hybrid_dip.fitting.iterates import Growing
from hybrid_dip.fitting.optimizers import OptimizerFactory, adam
from hybrid_dip.networks.start import Start
from hybrid_dip.regularisers.terms import Schedule, SomeTerms, Term
from hybrid_dip.stopping import MaxSteps
from hybrid_dip.stopping.selection import Selection

ALL_STEPS = MaxSteps()


class Solver(Protocol):
    """A way to fit other than the plain loop; the object holds its settings."""

    def run(self, network: nn.Module, latent: Tensor, task: Task, terms: SomeTerms = (), **options: Any) -> Fit:
        """Fit, with the arguments of :func:`hybrid_dip.fitting.fit.fit`."""
        ...


@dataclass(frozen=True)
class Recipe:
    """Everything about a fit except the task and the user's regularisers.

    Attributes:
        network: (in_channels, out_channels) -> module; if it has a parameter ``size`` it is also given (H, W).
        latent: size=(H, W) -> z; not used if the task has its own latent.
        steps: Steps of a fit at most.
        lr: Learning rate.
        optimizer: Learning rate -> optimiser factory.
        lr_schedule: Factor of the learning rate during the fit; None for a constant rate.
        jitter: Standard deviation of the noise added to z at each step.
        average: Decay of the output average, fixed or growing, or None.
        fallback: Decibels of the fit to y that may be lost between two logged steps before the fit falls back, or None.
        log_every: Steps between two logged ones; None leaves it to the number of steps.
        parameter_noise: Standard deviation of noise added to the weights at each step, relative to theirs.
        optimise: What is optimised: the network, the latent, or both.
        runs: Number of fits, with consecutive seeds, whose images are averaged.
        rule: When to stop and what to keep, unless the user chooses.
        latent_first: z is drawn before the network is made, as the original does for super-resolution.
        spare_draws: Called with the task before the first jitter: it draws what the original draws there and does not use.
        start: Parameters that every fit begins with; None leaves the random ones.
        solver: The solver that takes the place of the plain loop, or None.
        terms: Regularisers that belong to the method, in addition to the user's.
        tile: Side in pixels of the tiles that a larger image is fitted in, if the network and the steps are made for small
            images; None if they are for any size.
        refine: (x, task) -> x, applied to the average of the fits' images, or None.
        note: What the user should know about the recipe.
    """

    network: Callable[..., nn.Module]
    latent: Callable[..., Tensor]
    steps: int
    lr: float = 0.01
    optimizer: Callable[[float], OptimizerFactory] = adam
    lr_schedule: Schedule | None = None
    jitter: float = 0.0
    average: float | Growing | None = None
    fallback: float | None = None
    log_every: int | None = None
    parameter_noise: float = 0.0
    optimise: Literal["network", "latent", "both"] = "network"
    runs: int = 1
    rule: Rule | Selection = ALL_STEPS
    latent_first: bool = False
    spare_draws: Callable[[Task], object] | None = None
    start: Start | None = None
    solver: Solver | None = None
    terms: tuple[Term, ...] = ()
    tile: int | None = None
    refine: Callable[[Tensor, Task], Tensor] | None = None
    note: str = ""

    def build_network(self, in_channels: int, task: Task) -> nn.Module:
        """Make the network for a task's image, and draw its weights."""
        if isinstance(self.network, nn.Module) or not callable(self.network):
            raise SettingsError(
                "The network of a recipe is a function (in_channels, out_channels) -> module, such as hd.networks.skip, got "
                f"{describe_given(self.network)}; a module that is ready goes into hd.fit."
            )
        wanted = {"size": task.shape[-2:], **({} if task.value_range == (0, 1) else {"sigmoid": False})}
        takes = inspect.signature(self.network).parameters
        return self.network(in_channels, task.shape[1], **{name: wanted[name] for name in wanted if name in takes})

    def build_optimizer(self) -> OptimizerFactory:
        """Make the factory of the optimiser at the recipe's rate."""
        if isinstance(self.optimizer, type) or not callable(self.optimizer):
            raise SettingsError(
                "The optimizer of a recipe is a function of the learning rate that returns a factory, such as "
                f"hd.optimizers.adam, got {describe_given(self.optimizer)}."
            )
        return self.optimizer(self.lr)

    def bind(self, task: Task) -> "Recipe":
        """Let the network and the latent see the task's observation, if they have a method ``bind``.

        Args:
            task: The task to fit; the part of a task that is left where data are held out.

        Returns:
            The recipe for this task; itself where nothing in it looks at the observation.
        """
        network, latent = (getattr(part, "bind", None) for part in (self.network, self.latent))
        if network is None and latent is None:
            return self
        return replace(
            self,
            network=self.network if network is None else network(task),
            latent=self.latent if latent is None else latent(task),
        )

    def describe(self) -> dict[str, Any]:
        """Every setting as plain numbers and strings, for a manifest."""
        return {
            "network": settings_of(self.network),
            "latent": settings_of(self.latent),
            "optimizer": settings_of(self.optimizer),
            "lr_schedule": None if self.lr_schedule is None else repr(self.lr_schedule),
            "rule": repr(self.rule),
            "average": repr(self.average) if isinstance(self.average, Growing) else self.average,
            **{name: getattr(self, name) for name in _PLAIN},
            **({} if self.log_every is None else {"log_every": self.log_every}),
            **({} if self.spare_draws is None else {"spare_draws": settings_of(self.spare_draws)["name"]}),
            **({} if self.start is None else {"start_sha256": self.start.sha256}),
            **({} if self.tile is None else {"tile": self.tile}),
            **({} if self.refine is None else {"refine": settings_of(self.refine)}),
            **({} if self.solver is None else {"solver": written(self.solver)}),
            **({term.name: f"{term.weight} {written(term.regulariser)}" for term in self.terms}),
        }


_PLAIN = ("steps", "lr", "jitter", "fallback", "parameter_noise", "optimise", "runs", "latent_first", "note")

Preset = Callable[[Task], Recipe]


def settings_of(maker: Callable[..., Any]) -> dict[str, Any]:
    """The options of a function as plain numbers and strings.

    Args:
        maker: A function, a partial of one, or an object with a method ``describe()``.

    Returns:
        Name -> value; the function's own name under "name".
    """
    if isinstance(maker, partial):
        return {**settings_of(maker.func), **{f"arg{i}": a for i, a in enumerate(maker.args)}, **maker.keywords}
    own = getattr(maker, "describe", None)
    if callable(own):
        settings: dict[str, Any] = own()
        return settings
    return {"name": getattr(maker, "__name__", type(maker).__name__)}


def written(part: Any) -> str:
    """An object with its settings as text that is the same in each process: functions by their names, not their addresses.

    Args:
        part: A dataclass, a function, or a plain value.

    Returns:
        The text.
    """
    if is_dataclass(part) and not isinstance(part, type):
        settings = (f"{field.name}={written(getattr(part, field.name))}" for field in fields(part) if field.repr)
        return f"{type(part).__name__}({', '.join(settings)})"
    name = getattr(part, "__name__", None)
    return name if callable(part) and isinstance(name, str) else repr(part)

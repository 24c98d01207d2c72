"""The options that say what is fitted, and how."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from hybrid_dip.cli.options import HOW
from hybrid_dip.contracts import Rule, Task
from hybrid_dip.recipes import spec
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.recipes.override import override
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.regularisers.terms import Term
from hybrid_dip.restoring.plan import resolve
from hybrid_dip.stopping.selection import Selection

FUSE = (
    "Fuse the priors of -R with no ground truth: stack (each alone and all, their images combined by weights that held-out "
    "data choose; without -R and --arm arms that suit the task), held-out or sure (search for their weights), consensus."
)


@Parameter(name="*", group=HOW)
@dataclass(frozen=True, kw_only=True)
class Setup:
    """A preset, and those of its settings that most commands change."""

    preset: str = "fast"
    """Recipe; see `hybrid-dip list presets`."""
    network: str | None = None
    """Another network: SPEC, such as unet or skip:upsample=nearest."""
    latent: str | None = None
    """Another latent: SPEC, such as meshgrid or uniform:channels=32."""
    lr: float | None = None
    """Learning rate."""
    jitter: float | None = None
    """Deviation of the noise added to the latent at each step."""

    @property
    def changes(self) -> dict[str, Any]:
        """The settings that differ from the preset's, None where one does not."""
        others = ("preset", "stop", "regularisers", "seed")
        return {name: value for name, value in vars(self).items() if name not in others}

    def recipe(self, task: Task) -> Recipe:
        """Make the recipe for a task."""
        return override(resolve(self.preset, task), **self.changes)


@Parameter(name="*", group=HOW)
@dataclass(frozen=True, kw_only=True)
class Method(Setup):
    """A preset, and all of its settings that can be changed."""

    start: Path | None = None
    """File of parameters to begin at, which `hybrid-dip pretrain-network` makes."""
    solver: str | None = None
    """Instead of the plain loop: admm[:mu=0.5], hqs, langevin; see `hybrid-dip list solvers`."""
    optimise: str | None = None
    """network, latent or both."""
    optimizer: str | None = None
    """adam, muon or lbfgs."""
    lr_schedule: str | None = None
    """Factor of the learning rate, such as cosine=1..0.1."""
    parameter_noise: float | None = None
    """Relative deviation of the noise added to the weights at each step."""
    steps: int | None = None
    """Steps of the fit, instead of the preset's number."""
    runs: int | None = None
    """Fit with this many seeds, and average the images."""
    stop: str | None = None
    """When to stop, such as wmv[:patience=1000] or held-out; see `hybrid-dip list stopping`. By default the preset's own."""

    def rule(self, recipe: Recipe) -> Rule | Selection:
        """The stopping rule that was asked for, or the recipe's."""
        chosen: Rule | Selection = recipe.rule if self.stop is None else spec.build(self.stop, "stopping", catalogue())
        return chosen


@Parameter(name="*", group=HOW)
@dataclass(frozen=True, kw_only=True)
class MethodWithPriors(Method):
    """All that a fit is made with: the recipe, the regularisers and the seed."""

    seed: int = 0
    """Seed of network, latent and jitter."""
    regularisers: Annotated[tuple[str, ...], Parameter(("--regulariser", "-R"))] = ()
    """NAME[:option=value,...][@weight], file.py:name or module:name; repeatable."""

    def terms(self) -> tuple[Term, ...]:
        """Make the regularisers."""
        return tuple(spec.term(text, catalogue()) for text in self.regularisers)


@Parameter(name="*", group=HOW)
@dataclass(frozen=True, kw_only=True)
class Fusion:
    """How the priors are fused."""

    fuse: Annotated[str | None, Parameter(help=FUSE)] = None
    arm: tuple[str, ...] = ()
    """A preset that takes part in --fuse stack, such as one-shot:denoiser=bundled; repeatable."""
    held_out_share: float = 0.1
    """Share of the measured pixels that --fuse holds out, where it does."""

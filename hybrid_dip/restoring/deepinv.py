"""Between this package and DeepInverse (the extra ``deepinv``): its priors and physics serve here, our fits serve there.

Its denoisers need no adapter: a ``deepinv.models.Denoiser`` is (x, sigma) -> x, which is what RED takes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from hybrid_dip.contracts import Rule, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.problem import tasks
from hybrid_dip.problem.operators import locality_of
from hybrid_dip.recipes.recipe import Preset, Recipe
from hybrid_dip.regularisers.terms import Regulariser, Term, Weighable
from hybrid_dip.restoring.restore import restore
from hybrid_dip.stopping.selection import Selection

try:
    from deepinv.models import Reconstructor
except ImportError:
    raise SettingsError("hybrid_dip.restoring.deepinv needs DeepInverse: pip install 'hybrid-dip[deepinv]'.") from None


@dataclass(frozen=True, eq=False)
class Prior(Weighable):
    """A deepinv prior as a regulariser: its cost g(x) of the whole image, divided by the number of entries.

    Attributes:
        of: A ``deepinv.optim.Prior`` with a cost; on the command line
            ``hybrid_dip.deepinv:Prior:of=deepinv.optim:TVPrior``.
        sigma: Noise level for a prior whose cost depends on one; None for one whose cost does not.
    """

    of: Annotated[Any, "regularisers"]
    sigma: float | None = None

    def __post_init__(self) -> None:
        if not getattr(self.of, "explicit_prior", False):
            raise SettingsError(
                f"{type(self.of).__name__} of deepinv has no cost, only a proximal operator or a gradient; "
                "use its denoiser in RED instead."
            )

    def __call__(self, x: Tensor) -> Tensor:
        """Return g(x) / n for x of shape (1, C, H, W), as ()."""
        cost: Tensor = self.of(x) if self.sigma is None else self.of(x, self.sigma)
        return cost.sum() / x.numel()


class Noiseless(nn.Module):
    """A x of a deepinv physics, as local as the physics says. The physics itself adds noise when it is called."""

    def __init__(self, physics: nn.Module):
        super().__init__()
        self.physics = physics
        self.locality = locality_of(physics)

    def forward(self, x: Tensor) -> Tensor:
        """Return A x, of the shape of y."""
        measured: Tensor = self.physics.A(x)  # type: ignore[operator]
        return measured


def task(
    y: Tensor,
    physics: nn.Module,
    shape: tuple[int, int, int, int] | None = None,
    *,
    value_range: tuple[float, float] | None = None,
) -> Task:
    """Make a task of a deepinv measurement.

    Args:
        y: What ``physics(x)`` gave for one image.
        physics: Any linear ``deepinv.physics.Physics``, or a differentiable one whose ``shape`` is given.
        shape: Shape (1, C, H, W) of the image to restore. The default is that of ``physics.A_adjoint(y)``.
        value_range: Least and greatest value of the image, such as (0, 1) for a photograph; None where it is not limited:
            nothing is clamped then, and networks do not end in a sigmoid.

    Returns:
        The task. It has the noise level of the physics where the noise is Gaussian.

    Raises:
        SettingsError: The measurement is not one real tensor, or A does not give y's shape.
    """
    if not isinstance(y, Tensor):
        raise SettingsError(f"One tensor of measurements is needed, got {type(y).__name__}; fit stacked physics one by one.")
    if shape is None:
        if not hasattr(physics, "A_adjoint"):
            raise SettingsError(
                f"{type(physics).__name__} has no adjoint to tell the image's shape by; give shape=(1, C, H, W)."
            )
        size = physics.A_adjoint(y).shape  # type: ignore[operator]
        shape = (1, int(size[1]), int(size[2]), int(size[3]))
    noise = getattr(physics, "noise_model", None)
    sigma = getattr(noise, "sigma", None) if type(noise).__name__ == "GaussianNoise" else None
    return tasks.linear(y, Noiseless(physics), shape, sigma=None if sigma is None else float(sigma), value_range=value_range)


class HybridDIP(Reconstructor):  # type: ignore[misc]
    """A fit as a deepinv ``Reconstructor``: ``HybridDIP("quick", 0.05 * hd.TV())(y, physics)``.

    Args:
        preset: As in :func:`hybrid_dip.restoring.restore`.
        regularisers: As in :func:`hybrid_dip.restoring.restore`.
        rule: When to stop. The default is the recipe's rule.
        steps: Number of steps. The default is the recipe's.
        seed: Seed of the network, the latent and the jitter.
        value_range: As in :func:`task`.
    """

    def __init__(
        self,
        preset: str | Preset | Recipe = "quick",
        regularisers: Term | Regulariser | Iterable[Term | Regulariser] = (),
        *,
        rule: Rule | Selection | None = None,
        steps: int | None = None,
        seed: int = 0,
        value_range: tuple[float, float] | None = None,
    ):
        super().__init__()
        self.preset, self.regularisers, self.rule = preset, regularisers, rule
        self.steps, self.seed, self.value_range = steps, seed, value_range

    def forward(self, y: Tensor, physics: nn.Module, **options: Any) -> Tensor:
        """Restore each measurement of a batch alone.

        Args:
            y: Measurements, (B, ...), on the device to fit on.
            physics: The physics that measured them.
            **options: deepinv passes options to its models; this one takes none.

        Returns:
            Images, (B, C, H, W).

        Raises:
            SettingsError: An option was given.
        """
        if options:
            raise SettingsError(f"HybridDIP takes (y, physics) only, got {', '.join(options)}.")
        with torch.enable_grad():
            return torch.cat([self._restore(one[None], physics) for one in y])

    def _restore(self, y: Tensor, physics: nn.Module) -> Tensor:
        result = restore(
            task(y, physics, value_range=self.value_range),
            preset=self.preset,
            regularisers=self.regularisers,
            rule=self.rule,
            steps=self.steps,
            seed=self.seed,
            device=y.device,
        )
        return result.image.to(y.device)

"""Both ways between this package and DeepInverse (the extra ``deepinv``): its priors and physics here, our fits there.

Its denoisers need nothing: a ``deepinv.models.Denoiser`` is (x, sigma) -> x, as :class:`hybrid_dip.regularisers.RED` takes it.
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
    """A deepinv prior as a regulariser: its cost g(x), which it takes of the whole image, over the number of entries.

    Attributes:
        of: A ``deepinv.optim.Prior`` with a cost; on the command line
            ``hybrid_dip.deepinv:Prior:of=deepinv.optim:TVPrior``.
        sigma: Passed on to the prior where its cost depends on a noise level; None for one that does not.
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
    """A x of a deepinv physics, which when called itself adds noise; as local as the physics says it is."""

    def __init__(self, physics: nn.Module):
        super().__init__()
        self.physics = physics
        self.locality = locality_of(physics)

    def forward(self, x: Tensor) -> Tensor:
        """Return A x, of the shape of y."""
        measured: Tensor = self.physics.A(x)  # type: ignore[operator]
        return measured


def task(y: Tensor, physics: nn.Module, shape: tuple[int, int, int, int] | None = None) -> Task:
    """A deepinv measurement as a task.

    Args:
        y: What ``physics(x)`` gave, one image.
        physics: Any linear ``deepinv.physics.Physics``, or a differentiable one whose ``shape`` is given.
        shape: (1, C, H, W) of the image to restore; by default that of ``physics.A_adjoint(y)``.

    Returns:
        The task; its noise level is that of the physics where its noise is Gaussian.

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
        found = physics.A_adjoint(y).shape  # type: ignore[operator]
        shape = (1, int(found[1]), int(found[2]), int(found[3]))
    noise = getattr(physics, "noise_model", None)
    sigma = getattr(noise, "sigma", None) if type(noise).__name__ == "GaussianNoise" else None
    return tasks.linear(y, Noiseless(physics), shape, sigma=None if sigma is None else float(sigma))


class HybridDIP(Reconstructor):  # type: ignore[misc]
    """A fit as a deepinv ``Reconstructor``: ``HybridDIP("quick", 0.05 * hd.TV())(y, physics)``.

    Args:
        preset: As in :func:`hybrid_dip.restoring.restore`.
        regularisers: As in :func:`hybrid_dip.restoring.restore`.
        rule: When to stop; the recipe's own by default.
        steps: Instead of the recipe's number.
        seed: Of network, latent and jitter.
    """

    def __init__(
        self,
        preset: str | Preset | Recipe = "quick",
        regularisers: Term | Regulariser | Iterable[Term | Regulariser] = (),
        *,
        rule: Rule | Selection | None = None,
        steps: int | None = None,
        seed: int = 0,
    ):
        super().__init__()
        self.preset, self.regularisers, self.rule = preset, regularisers, rule
        self.steps, self.seed = steps, seed

    def forward(self, y: Tensor, physics: nn.Module, **options: Any) -> Tensor:
        """Restore each measurement of a batch by itself.

        Args:
            y: (B, ...), on the device to fit on.
            physics: What measured it.
            **options: None is taken.

        Returns:
            (B, C, H, W).

        Raises:
            SettingsError: An option.
        """
        if options:
            raise SettingsError(f"HybridDIP takes (y, physics) only, got {', '.join(options)}.")
        with torch.enable_grad():
            return torch.cat([self._restored(one[None], physics) for one in y])

    def _restored(self, y: Tensor, physics: nn.Module) -> Tensor:
        found = restore(
            task(y, physics),
            preset=self.preset,
            regularisers=self.regularisers,
            rule=self.rule,
            steps=self.steps,
            seed=self.seed,
            device=y.device,
        )
        return found.image.to(y.device)

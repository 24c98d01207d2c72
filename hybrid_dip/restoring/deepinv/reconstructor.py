"""A fit as a reconstructor of DeepInverse."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from deepinv.models import Reconstructor
from torch import Tensor, nn

from hybrid_dip.contracts import Rule, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.recipes.recipe import Preset, Recipe
from hybrid_dip.regularisers.terms import Regulariser, Term, as_terms
from hybrid_dip.restoring.deepinv.measurement import tasks_of
from hybrid_dip.restoring.restore import restore
from hybrid_dip.stopping.selection import Selection


class HybridDIP(Reconstructor):  # type: ignore[misc]
    """A fit as a deepinv ``Reconstructor``: ``HybridDIP("quick", 0.05 * hd.TV())(y, physics)``.

    Nothing in it is trained: it has no parameters, and its images no gradient.

    Args:
        preset: As in :func:`hybrid_dip.restoring.restore`.
        regularisers: As in :func:`hybrid_dip.restoring.restore`.
        rule: When to stop. The default is the recipe's rule.
        steps: Number of steps. The default is the recipe's.
        seed: Seed of the network, the latent and the jitter.
        value_range: As in :func:`hybrid_dip.restoring.deepinv.task`.
        img_size: Shape (C, ..., H, W) of an image, for a physics without an adjoint. Else it is that of the adjoint.
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
        img_size: Sequence[int] | None = None,
    ):
        super().__init__()
        self.preset, self.regularisers, self.rule = preset, as_terms(regularisers), rule
        self.steps, self.seed, self.value_range, self.img_size = steps, seed, value_range, img_size

    def forward(self, y: Tensor | Sequence[Tensor], physics: nn.Module, **options: Any) -> Tensor:
        """Restore each measurement of a batch alone.

        Args:
            y: Measurements, (B, ...), on the device to fit on; a list of them for stacked physics.
            physics: The physics that measured them.
            **options: deepinv passes options to its models; this one takes none.

        Returns:
            Images, (B, C, ..., H, W), of the type of the physics' adjoint.

        Raises:
            SettingsError: An option was given, or what :func:`hybrid_dip.restoring.deepinv.task` refuses.
        """
        if options:
            raise SettingsError(f"HybridDIP takes (y, physics) only, got {', '.join(options)}.")
        return torch.cat([self._restore(task) for task in tasks_of(y, physics, self.img_size, self.value_range)])

    def _restore(self, task: Task) -> Tensor:
        device = task.observation.device
        result = restore(
            task,
            preset=self.preset,
            regularisers=self.regularisers,
            rule=self.rule,
            steps=self.steps,
            seed=self.seed,
            device=device,
        )
        image: Tensor = task.forward.image(result.image).to(device)  # type: ignore[attr-defined]
        return image

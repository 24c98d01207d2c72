"""The arms of a stack: ways to restore one image, each by itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hybrid_dip.contracts import Record, Task
from hybrid_dip.errors import HybridDIPError, Interrupted
from hybrid_dip.fitting.bar import is_shown
from hybrid_dip.problem.fidelity import gaussian
from hybrid_dip.recipes.listing import ready
from hybrid_dip.recipes.recipe import Preset, Recipe
from hybrid_dip.regularisers import NonLocal
from hybrid_dip.regularisers.schedules import Balanced
from hybrid_dip.regularisers.terms import Term, Terms
from hybrid_dip.restoring.hooks import HooksOf, hooks_of_arm
from hybrid_dip.restoring.plan import resolve
from hybrid_dip.restoring.restore import restore
from hybrid_dip.restoring.result import Result


@dataclass(frozen=True, eq=False, repr=False)
class Arm(Record):
    """One way to restore.

    Attributes:
        name: Name of the arm.
        preset: SPEC, preset or recipe; a preset makes a recipe for each task.
        terms: Regularisers.
    """

    name: str
    preset: str | Preset | Recipe
    terms: tuple[Term, ...] = ()

    def run(
        self,
        task: Task,
        label: str,
        *,
        seed: int,
        device: str | torch.device,
        hooks: HooksOf,
        time_budget: float | None = None,
        progress: bool | None = None,
    ) -> Result:
        """Restore a task.

        Args:
            task: The task with all data, or a replicate of it.
            label: The arm in the names of the fits and in front of their bars.
            seed: Seed of the first run.
            device: Where the fits run.
            hooks: What surrounds each fit.
            time_budget: Seconds for each fit.
            progress: Whether a bar shows how each fit goes on, as in :func:`hybrid_dip.restoring.restore.restore`.

        Returns:
            The result.

        Raises:
            Interrupted: A hook asked a fit to end.
        """
        result = restore(
            task,
            preset=resolve(self.preset, task),
            regularisers=self.terms,
            seed=seed,
            device=device,
            tile=0,
            time_budget=time_budget,
            progress=label if is_shown(progress) else False,
            hooks=hooks_of_arm(hooks, label),
        )
        if result.fits[-1].reason == "interrupted":
            raise Interrupted(f"Interrupted in {label}; what was done is saved.")
        return result


ALONE = "dip"
"""Name of the arm of the network alone."""


def arms_of(preset: str | Preset | Recipe, terms: Terms) -> list[Arm]:
    """The arms of some priors: the network alone, the network with each other prior, and all together.

    Args:
        preset: The network's preset.
        terms: The other priors.

    Returns:
        The arms. The first is called :data:`ALONE`.
    """
    alone = [Arm(ALONE, preset), *(Arm(f"{ALONE}+{term.name}", preset, Terms((term,))) for term in terms)]
    return [*alone, Arm("all", preset, terms)] if len(terms) > 1 else alone


def arms_for(task: Task, preset: str | Preset | Recipe, terms: Terms, others: Sequence[str] = ()) -> list[Arm]:
    """The arms of a stack as a user asks for it.

    Args:
        task: The task to restore.
        preset: The network's preset.
        terms: The priors to fuse with it.
        others: SPECs of presets that take part as well.

    Returns:
        Those of :func:`arms_of` and an arm for each of the others; :func:`default_arms` where neither was named.
    """
    arms = [*arms_of(preset, terms), *(Arm(text, text) for text in others)]
    return arms if len(arms) > 1 else default_arms(preset, task)


def default_arms(preset: str | Preset | Recipe, task: Task) -> list[Arm]:
    """The arms of a stack for which no prior was named: the network alone, with the image's own patches, and what was learned.

    The learned arm is the denoiser fitted to the image where the noise is white and Gaussian, the camera's denoiser where noise
    is alike between neighbours, the denoiser once where it is photon noise, and plug-and-play for other tasks. It is left out
    where its weights are not on this machine, or no learned arm is for the task.

    Args:
        preset: The network's preset.
        task: The task to restore.

    Returns:
        Two or three arms.
    """
    patches = Term(NonLocal(), Balanced(1.0), "non-local")
    learned = _learned(task)
    return [*arms_of(preset, Terms((patches,))), *(Arm(text, text) for text in learned)]


def _learned(task: Task) -> list[str]:
    denoiser = "camera" if task.reach > 1 else "bundled"
    if not ready("denoisers", denoiser):
        return []
    preset = "plug-and-play"
    if task.name == "denoise":
        preset = "adapted" if task.fidelity is gaussian and task.reach == 1 else "one-shot"
    text = f"{preset}:denoiser={denoiser}"
    try:
        resolve(text, task)
    except HybridDIPError:  # it is for other tasks
        return []
    return [text]

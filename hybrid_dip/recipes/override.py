"""A recipe with those settings replaced that a user gives."""

from dataclasses import replace
from typing import Any

from hybrid_dip.errors import SettingsError, nearest
from hybrid_dip.fitting import optimizers
from hybrid_dip.networks.start import read_start
from hybrid_dip.recipes import spec
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.recipes.limits import check_at_least_one
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.recipes.schedule_spec import read_schedule
from hybrid_dip.recipes.without_fit import check_without_fit
from hybrid_dip.regularisers.terms import Schedule

SPEC_KINDS = {"network": "networks", "latent": "latents", "solver": "solvers"}
CHOICES = {"optimise": ["network", "latent", "both"], "optimizer": list(optimizers.BY_NAME)}
COUNTS = ("steps", "runs")
BOUNDS = {"lr": "above 0", "jitter": "of at least 0", "parameter_noise": "of at least 0"}


def override(recipe: Recipe, **given: Any) -> Recipe:
    """Replace settings of a recipe.

    Args:
        recipe: The preset's recipe.
        given: Field of the recipe -> value as written, None where it was left out.

    Returns:
        The recipe to fit.

    Raises:
        SettingsError: A name is unknown, a number out of range, or the recipe has no fit that it could be set for.
    """
    changed = {name: value for name, value in given.items() if value is not None}
    check_without_fit(recipe, changed)
    for name, kind in SPEC_KINDS.items():
        if name in changed:
            changed[name] = spec.build(changed[name], kind, catalogue())
    for name, known in CHOICES.items():
        if name in changed:
            changed[name] = changed[name].lower()
            if changed[name] not in known:
                raise SettingsError(f"Unknown --{name} '{changed[name]}': {nearest(changed[name], known)}.")
    if "start" in changed:
        changed["start"] = read_start(changed["start"])
    if "optimizer" in changed:
        changed["optimizer"] = optimizers.BY_NAME[changed["optimizer"]]
    if "lr_schedule" in changed:
        changed["lr_schedule"] = _read_lr_schedule(changed["lr_schedule"])
    check_at_least_one(**{name: changed[name] for name in COUNTS if name in changed})
    for name, bound in BOUNDS.items():
        value = changed.get(name, 1.0)
        if not 0 <= value < float("inf") or (value == 0 and bound == "above 0"):
            raise SettingsError(f"--{name.replace('_', '-')} must be a finite number {bound}, got {value}.")
    return replace(recipe, **changed)


def _read_lr_schedule(text: str) -> Schedule:
    try:
        schedule = read_schedule(text)
    except SettingsError as error:
        raise SettingsError(f"--lr-schedule '{text}': {error}") from None
    if not callable(schedule):
        raise SettingsError("--lr-schedule takes a schedule such as cosine=1..0.1; for a constant rate use --lr.")
    return schedule

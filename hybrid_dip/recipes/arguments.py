"""Options of the command line -> tasks and cases: each task function's own signature says which options it takes."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.errors import ImageFileError, SettingsError, nearest
from hybrid_dip.fitting import optimizers
from hybrid_dip.images.files import Picture, crop_to_centre, load_image, load_mask, read_picture
from hybrid_dip.networks.start import read_start
from hybrid_dip.problem import operators
from hybrid_dip.problem.noise import NOISES
from hybrid_dip.recipes import spec, spec_files
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.recipes.schedule_spec import read_schedule
from hybrid_dip.recipes.without_fit import check_without_fit


def read_psf(text: str) -> Tensor:
    """A point spread function from ``gaussian:SIGMA`` (pixels) or a file: a grey image or ``.npy``.

    Args:
        text: Of either form.

    Returns:
        (h, w), not normalised.

    Raises:
        SettingsError: Not a number after the colon.
        ImageFileError: A file that cannot be read, or in colour.
    """
    kind, colon, value = text.partition(":")
    if colon and kind == "gaussian":
        try:
            return operators.gaussian_psf(float(value))
        except ValueError as error:
            if isinstance(error, SettingsError):
                raise
            raise SettingsError(f"gaussian: takes a deviation in pixels, such as gaussian:1.5; got '{value}'.") from None
    pixels = read_picture(text).pixels
    if pixels.shape[1] != 1 and not bool((pixels == pixels[:, :1]).all()):
        raise ImageFileError(f"The PSF {text} is in colour; a grey image or a plane in .npy was expected.")
    return pixels[0, 0]


def read_shape(given: str | Sequence[int]) -> tuple[int, ...]:
    """The shape of an image from ``H,W`` or ``C,H,W``.

    Args:
        given: Of either form, as text or as a list.

    Returns:
        As many numbers.

    Raises:
        SettingsError: Not two or three whole numbers.
    """
    parts = given.split(",") if isinstance(given, str) else [str(part) for part in given]
    if not 2 <= len(parts) <= 3 or not all(part.strip().isdecimal() for part in parts):
        raise SettingsError(f"A shape is H,W or C,H,W in pixels, such as 256,128; got {given!r}.")
    return tuple(map(int, parts))


def _noise(name: str) -> Any:
    if name not in NOISES:
        raise SettingsError(f"Unknown noise '{name}': {nearest(name, list(NOISES))}.")
    return NOISES[name]


MOST_GREY_LEVELS = 2550
"""Ten times the range of an image: more noise than any image survives."""


def _sigma(grey_levels: float) -> float:
    if not isinstance(grey_levels, int | float) or not 0 <= grey_levels <= MOST_GREY_LEVELS:
        raise SettingsError(f"sigma is in grey levels of 255, at least 0 and at most {MOST_GREY_LEVELS}, got {grey_levels!r}.")
    return grey_levels / 255


def degradation_readers(cut: Callable[[Tensor], Tensor], folder: Path = Path()) -> Mapping[str, Callable[[Any], Any]]:
    """How the value of each option of a degradation is read; those that are not named are taken as they are.

    Args:
        cut: What is done to images that must lie over the one to degrade, such as a mask: the same crop.
        folder: What relative paths are relative to.

    Returns:
        Parameter name -> reader.
    """
    return {
        "operator": lambda text: spec.build(spec_files.locate(text, folder), "operators", catalogue()),
        "mask": lambda path: cut(load_mask(folder / path)),
        "psf": lambda text: read_psf(text if text.startswith("gaussian:") else str(folder / text)),
        "sigma": _sigma,
    }


PARAMETERS = {"noise": "fidelity", "operator": "forward"}
"""What users call an option of a task -> the task function's parameter."""


def make_task(
    kind: str,
    observation: Tensor,
    given: Mapping[str, Any],
    cut: Callable[[Tensor], Tensor],
    folder: Path = Path(),
    spelled: Callable[[str], str] | None = None,
) -> Task:
    """A task from its options as users write them.

    Args:
        kind: Of ``hybrid-dip list tasks``.
        observation: (1, C, H, W).
        given: Option -> value as written, None where the user gave none.
        cut: What is done to images that must lie over the observation, such as a mask: the same crop.
        folder: What relative paths are relative to.
        spelled: Parameter name -> how the user writes it, for messages; as on the command line by default.

    Returns:
        The task.

    Raises:
        SettingsError: An unknown task, an option that it does not take, lacks, or cannot work with.
    """
    read = degradation_readers(cut, folder)
    readers = {
        **read,
        "forward": read["operator"],
        "fidelity": _noise,
        "guide": lambda path: cut(load_image(folder / path)),
        "shape": read_shape,
    }
    options = {PARAMETERS.get(name, name): value for name, value in given.items()}
    task: Task = call(catalogue().get("tasks", kind), kind, observation, options, readers, spelled or as_option)
    return task


def cropper(crop: int | None) -> Callable[[Tensor], Tensor]:
    """What cuts an image to its centre of ``crop`` pixels a side; None leaves it whole."""
    return (lambda x: x) if crop is None else (lambda x: crop_to_centre(x, crop))


def cropped(picture: Picture, crop: int | None) -> Picture:
    """The centre of a picture, and of its alpha channel.

    Args:
        picture: As it was read.
        crop: Side in pixels; None leaves it whole.

    Returns:
        At most ``crop`` pixels a side.

    Raises:
        SettingsError: ``crop`` is below 1.
    """
    if crop is None:
        return picture
    at_least_one(crop=crop)
    alpha = None if picture.alpha is None else crop_to_centre(picture.alpha, crop)
    return replace(picture, pixels=crop_to_centre(picture.pixels, crop), alpha=alpha)


def as_key(name: str) -> str:
    """How a parameter of a task is called by users: the fidelity is their noise, the forward map their operator."""
    return {parameter: option for option, parameter in PARAMETERS.items()}.get(name, name)


def as_option(name: str) -> str:
    """How a parameter is written on the command line: "--time-budget"."""
    return "--" + as_key(name).replace("_", "-")


def call(
    factory: Callable[..., Any],
    what: str,
    image: Tensor,
    given: Mapping[str, Any],
    readers: Mapping[str, Callable[[Any], Any]],
    spelled: Callable[[str], str] = as_option,
) -> Any:
    """Call a task or degradation function with those of the given options that it takes.

    Args:
        factory: image, options -> task or case.
        what: Its name, for messages.
        image: (1, C, H, W).
        given: Parameter name -> value, None where the user gave none.
        readers: Parameter name -> how the value is read.
        spelled: Parameter name -> how the user writes it, for messages.

    Returns:
        What the function returns.

    Raises:
        SettingsError: An option that the function does not take, or one that it needs and that was not given.
    """
    parameters = dict(list(inspect.signature(factory).parameters.items())[1:])
    present = {name: value for name, value in given.items() if value is not None}
    for name in present:
        if name not in parameters:
            takes = ", ".join(spelled(known) for known in parameters if known in given) or "no options"
            raise SettingsError(f"{spelled(name)} does not go with '{what}', which takes {takes}.")
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in present:
            raise SettingsError(f"'{what}' needs {spelled(name)}.")
    values = {name: readers.get(name, lambda value: value)(value) for name, value in present.items()}
    return factory(image, **values)


def existing_parent(path: Path) -> None:
    """Refuse an output file whose folder is missing.

    Args:
        path: To be written.

    Raises:
        SettingsError: There is no such folder.
    """
    if not path.parent.is_dir():
        raise SettingsError(f"There is no folder {path.parent} to write {path.name} to.")


def at_least_one(**counts: int) -> None:
    """Refuse counts below one.

    Args:
        counts: Option, in Python's spelling -> value.

    Raises:
        SettingsError: One of them is below one.
    """
    for name, count in counts.items():
        if count < 1:
            raise SettingsError(f"--{name.replace('_', '-')} must be a whole number of at least 1, got {count}.")


MOST_RUNS = 1000


def check_seeds(seed: int, runs: int) -> None:
    """Refuse seeds that a random generator does not take, and more runs than anybody means.

    Args:
        seed: Of the first run.
        runs: How many.

    Raises:
        SettingsError: Out of range.
    """
    if not 0 <= seed < 2**62:
        raise SettingsError(f"--seed must be a whole number from 0 to 2^62 - 1, got {seed}.")
    if runs > MOST_RUNS:
        raise SettingsError(f"--runs must be at most {MOST_RUNS}, got {runs}.")


_CHOICES = {"optimise": ["network", "latent", "both"], "optimizer": list(optimizers.BY_NAME)}


def overridden(recipe: Recipe, **given: Any) -> Recipe:
    """A recipe with those settings replaced that the user gave.

    Args:
        recipe: Of the preset.
        given: Field of the recipe -> value as written, None where the user gave none.

    Returns:
        The recipe to fit.

    Raises:
        SettingsError: An unknown name, a number out of range, or a setting of a fit where there is none.
    """
    changed = {name: value for name, value in given.items() if value is not None}
    check_without_fit(recipe, changed)
    for name, kind in {"network": "networks", "latent": "latents", "solver": "solvers"}.items():
        if name in changed:
            changed[name] = spec.build(changed[name], kind, catalogue())
    for name, known in _CHOICES.items():
        if name in changed and changed[name] not in known:
            raise SettingsError(f"Unknown --{name} '{changed[name]}': {nearest(changed[name], known)}.")
    if "start" in changed:
        changed["start"] = read_start(changed["start"])
    if "optimizer" in changed:
        changed["optimizer"] = optimizers.BY_NAME[changed["optimizer"]]
    if "lr_schedule" in changed:
        try:
            schedule = read_schedule(changed["lr_schedule"])
        except SettingsError as error:
            raise SettingsError(f"--lr-schedule '{changed['lr_schedule']}': {error}") from None
        if not callable(schedule):
            raise SettingsError("--lr-schedule takes a schedule such as cosine=1..0.1; for a constant rate use --lr.")
        changed["lr_schedule"] = schedule
    at_least_one(**{name: changed[name] for name in ("steps", "runs") if name in changed})
    for name, bound in {"lr": "above 0", "jitter": "of at least 0", "parameter_noise": "of at least 0"}.items():
        value = changed.get(name, 1.0)
        if not 0 <= value < float("inf") or (value == 0 and bound == "above 0"):
            raise SettingsError(f"--{name.replace('_', '-')} must be a finite number {bound}, got {value}.")
    return replace(recipe, **changed)

"""`hybrid-dip invert-features` and `hybrid-dip maximise-activation`: arguments -> objects, nothing else."""

from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from cyclopts import Parameter

from hybrid_dip.cli.job import Job, run_and_tell
from hybrid_dip.cli.log import check_log
from hybrid_dip.cli.method import MethodWithPriors
from hybrid_dip.cli.options import WHERE, Image, Output
from hybrid_dip.cli.result_folder import ResultFolder
from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.execution import devices
from hybrid_dip.images.files import crop_to_centre, fingerprint, load_image
from hybrid_dip.images.picture import Picture
from hybrid_dip.recipes import spec_files
from hybrid_dip.recipes.limits import check_at_least_one, check_seeds
from hybrid_dip.restoring.result import Result
from pretrained.features import DEFAULT
from pretrained.visualisation import SHOWN, invert_features, likeliest_classes, maximise_activation, read_class


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Visualisation:
    """The options that both commands have.

    Attributes:
        output: Where results go.
        method: What is fitted, and how.
    """

    output: Output
    model: str = DEFAULT
    """A classifier of timm; the default works with no network."""
    size: int = SHOWN
    """Side of the image that is made, in pixels."""
    method: MethodWithPriors = MethodWithPriors()
    device: Annotated[str, Parameter(group=WHERE)] = "auto"
    """auto, cpu, cuda or mps."""


def invert(
    image: Image,
    /,
    *,
    asked: Visualisation,
    layers: Annotated[str, Parameter(help="Stages of the classifier, from 0, fine to coarse: 2, or 1,3.")] = "2",
) -> None:
    """Find the image that has the same features as IMAGE: what the stages of a classifier know of it.

    IMAGE is cut to its central square and resized, as classifiers are shown images.
    """
    model, size = asked.model, asked.size
    check_at_least_one(size=size)
    whole = load_image(image)
    square = crop_to_centre(whole, min(whole.shape[-2:]))
    shown = F.interpolate(square, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
    task = invert_features(shown, model=model, layers=_numbers(layers))
    about = {"model": model, "layers": layers, "size": size, "image": str(image), "image_sha256": fingerprint(shown)}
    result = _fit(task, Picture(shown), about, asked)
    if result is not None and not asked.output.quiet:
        here = task.residual(result.image).square().sum() / task.observation.square().sum()
        print(f"Features differ by {float(here.detach().sqrt()):.1%} (root of the squares' ratio).")
        print(f"{model} takes the image for {_said(shown, model)}; what has its features for {_said(result.image, model)}.")


def maximise(
    *,
    asked: Visualisation,
    of: Annotated[
        str | None, Parameter("--class", help="Number or name of a class, such as 967 or espresso (ImageNet's 1000).")
    ] = None,
    layer: Annotated[int | None, Parameter(help="Instead of a class: a stage of the classifier, from 0, ...")] = None,
    channel: Annotated[int | None, Parameter(help="... and one of its channels.")] = None,
    target: Annotated[
        float | None, Parameter(help="Drive the score to this number and not beyond: 300 for a class in the original.")
    ] = None,
) -> None:
    """Find the image that a class of a classifier, or a channel of one of its stages, likes best."""
    if (of is None) == (layer is None) or (layer is None) != (channel is None):
        raise SettingsError("Name either a class (--class espresso) or a channel (--layer 3 --channel 17).")
    model, size = asked.model, asked.size
    unit = read_class(of, model) if of is not None else channel or 0
    task = maximise_activation(unit, model=model, layer=layer, size=size, target=target)
    about = {"model": model, "class": of, "layer": layer, "unit": unit, "size": size, "target": target}
    result = _fit(task, Picture(torch.zeros(1, 3, size, size)), about, asked)
    if result is not None and not asked.output.quiet:
        reached = float(task.forward(result.image).detach())
        print(f"Activation {reached:.2f}; {model} takes the image for {_said(result.image, model)}.")


def _fit(task: Task, picture: Picture, about: dict[str, Any], asked: Visualisation) -> Result | None:
    """Fit into the result folder."""
    method, output, device = asked.method, asked.output, devices.pick(asked.device)
    check_log(output.log)
    recipe = method.recipe(task)
    check_seeds(method.seed, recipe.runs)
    job = Job(
        picture=picture,
        task=task,
        recipe=recipe,
        terms=method.terms(),
        rule=method.rule(recipe),
        seed=method.seed,
        device=device,
        reference=picture.pixels if task.name == "invert-features" else None,
        time_budget=None,
        checkpoint_every=200,
        animate=output.gif,
        log=output.log,
        quiet=output.quiet,
        settings={
            "task": task.name,
            **about,
            "preset": method.preset,
            "recipe": recipe.describe(),
            "regularisers": list(method.regularisers),
            "regularisers_sha256": [spec_files.fingerprint(text) for text in method.regularisers],
            "stop": method.stop,
            "log": output.log,
            "seed": method.seed,
            "device": str(device),
        },
    )
    return run_and_tell(job, ResultFolder(output.out), resume=output.resume, overwrite=output.overwrite)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SettingsError(f"--layers takes whole numbers such as 2 or 1,3, got '{text}'.") from None


def _said(image: Any, model: str) -> str:
    return ", ".join(f"{name} ({share:.0%})" for name, share in likeliest_classes(image, model))

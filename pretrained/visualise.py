"""`hybrid-dip invert-features` and `hybrid-dip maximise-activation`: arguments -> objects, nothing else."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch.nn.functional as F
import typer

from hybrid_dip.cli import options
from hybrid_dip.cli.job import Job, run_and_tell
from hybrid_dip.cli.result_folder import ResultFolder
from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.execution import devices
from hybrid_dip.images.files import Picture, crop_to_centre, fingerprint, load_image
from hybrid_dip.recipes import arguments, spec, spec_files
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.restoring.plan import resolve
from pretrained.features import DEFAULT
from pretrained.visualisation import SHOWN, invert_features, likely, maximise_activation, read_class

invert = typer.Typer(add_completion=False)
maximise = typer.Typer(add_completion=False)

Model = Annotated[str, typer.Option(help="A classifier of timm; the default works with no network.")]
Size = Annotated[int, typer.Option(help="Side of the image that is made, in pixels.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="Result folder.")]
Seed = Annotated[int, typer.Option(rich_help_panel=options.HOW, help="Of network, latent and jitter.")]
Terms = Annotated[
    list[str] | None,
    typer.Option("-R", "--regulariser", rich_help_panel=options.HOW, help="NAME[:option=value,...]\\[@weight]; repeatable."),
]
Gif = Annotated[bool, typer.Option("--gif", help="Also write fit.gif, the fit as an animation.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where the same command stopped.")]


@dataclass(frozen=True)
class How:
    """The options that both commands have, under their names there."""

    preset: str
    steps: int | None
    lr: float | None
    seed: int
    regularisers: tuple[str, ...]
    device: str
    gif: bool
    quiet: bool


@invert.command()
def invert_features_(
    image: options.Image,
    out: Out,
    model: Model = DEFAULT,
    layers: Annotated[str, typer.Option(help="Stages of the classifier, from 0, fine to coarse: 2, or 1,3.")] = "2",
    size: Size = SHOWN,
    preset: options.Preset = "original",
    steps: options.Steps = None,
    lr: options.LearningRate = None,
    seed: Seed = 0,
    regulariser: Terms = None,
    device: options.Device = "auto",
    gif: Gif = False,
    resume: Resume = False,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Find the image that has the same features as IMAGE: what the stages of a classifier know of it.

    IMAGE is cut to its central square and resized, as classifiers are shown images.
    """
    arguments.at_least_one(size=size)
    whole = load_image(image)
    square = crop_to_centre(whole, min(whole.shape[-2:]))
    shown = F.interpolate(square, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
    task = invert_features(shown, model=model, layers=_numbers(layers))
    told = {"model": model, "layers": layers, "size": size, "image": str(image), "image_sha256": fingerprint(shown)}
    how = How(preset, steps, lr, seed, tuple(regulariser or ()), device, gif, quiet)
    job = _job(task, Picture(shown), told, how)
    result = run_and_tell(job, ResultFolder(out), resume=resume, overwrite=overwrite)
    if result is not None and not quiet:
        here = task.residual(result.image).square().sum() / task.observation.square().sum()
        print(f"Features differ by {float(here.detach().sqrt()):.1%} (root of the squares' ratio).")
        print(f"{model} takes the image for {_said(shown, model)}; what has its features for {_said(result.image, model)}.")


@maximise.command()
def maximise_activation_(
    out: Out,
    of: Annotated[
        str | None, typer.Option("--class", help="Number or name of a class, such as 967 or espresso (ImageNet's 1000).")
    ] = None,
    layer: Annotated[int | None, typer.Option(help="Instead of a class: a stage of the classifier, from 0, ...")] = None,
    channel: Annotated[int | None, typer.Option(help="... and one of its channels.")] = None,
    model: Model = DEFAULT,
    size: Size = SHOWN,
    preset: options.Preset = "original",
    steps: options.Steps = None,
    lr: options.LearningRate = None,
    seed: Seed = 0,
    regulariser: Terms = None,
    device: options.Device = "auto",
    gif: Gif = False,
    resume: Resume = False,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Find the image that a class of a classifier, or a channel of one of its stages, likes best."""
    if (of is None) == (layer is None) or (layer is None) != (channel is None):
        raise SettingsError("Name either a class (--class espresso) or a channel (--layer 3 --channel 17).")
    unit = read_class(of, model) if of is not None else channel or 0
    task = maximise_activation(unit, model=model, layer=layer, size=size)
    told = {"model": model, "class": of, "layer": layer, "unit": unit, "size": size}
    how = How(preset, steps, lr, seed, tuple(regulariser or ()), device, gif, quiet)
    blank = Picture(task.observation.expand(1, 3, size, size))
    job = _job(task, blank, told, how)
    result = run_and_tell(job, ResultFolder(out), resume=resume, overwrite=overwrite)
    if result is not None and not quiet:
        reached = float(task.forward(result.image).detach())
        print(f"Activation {reached:.2f}; {model} takes the image for {_said(result.image, model)}.")


def _job(task: Task, picture: Picture, told: dict[str, Any], how: How) -> Job:
    names = catalogue()
    recipe = arguments.overridden(resolve(how.preset, task), steps=how.steps, lr=how.lr)
    arguments.check_seeds(how.seed, recipe.runs)
    where = devices.pick(how.device)
    return Job(
        picture=picture,
        task=task,
        recipe=recipe,
        terms=tuple(spec.term(text, names) for text in how.regularisers),
        rule=recipe.rule,
        seed=how.seed,
        device=where,
        reference=picture.pixels if task.name == "invert-features" else None,
        time_budget=None,
        checkpoint_every=200,
        animate=how.gif,
        quiet=how.quiet,
        settings={
            "task": task.name,
            **told,
            "preset": how.preset,
            "recipe": recipe.describe(),
            "regularisers": list(how.regularisers),
            "regularisers_sha256": [spec_files.fingerprint(text) for text in how.regularisers],
            "seed": how.seed,
            "device": str(where),
        },
    )


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SettingsError(f"--layers takes whole numbers such as 2 or 1,3, got '{text}'.") from None


def _said(image: Any, model: str) -> str:
    return ", ".join(f"{name} ({share:.0%})" for name, share in likely(image, model))

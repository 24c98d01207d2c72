"""The options that commands share: groups of them, each a frozen dataclass, and single ones.

The text under a field is its help, and ``lr_schedule`` is written ``--lr-schedule``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter
from torch import Tensor

from hybrid_dip.cli.quiet import set_quiet
from hybrid_dip.contracts import Case, Rule, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.images.files import Picture, crop_to_centre, load_image, read_picture
from hybrid_dip.recipes import spec, spec_files
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.recipes.limits import check_at_least_one
from hybrid_dip.recipes.override import override
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.recipes.written_task import WrittenTask
from hybrid_dip.regularisers.terms import Term
from hybrid_dip.restoring.plan import resolve
from hybrid_dip.restoring.side import parse_side
from hybrid_dip.stopping.selection import Selection
from hybrid_dip.study.describe.arms import LIST_KINDS, SPEC_KINDS

OPTIONS = Group("Options", sort_key=1)
WRONG = Group("What is wrong with the image", sort_key=2)
HOW = Group("How it is fitted", sort_key=3)
WHERE = Group("Where, and how long", sort_key=4)

FUSE = (
    "Fuse the priors of -R with no ground truth: stack (each alone and all, their images combined by weights that held-out "
    "data choose), held-out or sure (search for their weights), consensus."
)
TILE = (
    "Fit overlapping tiles of at most this many pixels a side; auto: where the preset is for smaller images, or the whole does "
    "not fit into memory; off."
)

Image = Annotated[Path, Parameter(help="An image file: PNG, JPEG, TIFF (8 or 16 bit), or .npy (H, W[, C]) in [0, 1].")]
CleanImages = Annotated[list[str], Parameter(help="Clean images: files, folders, globs or skimage:NAME.")]
ResultFolderPath = Annotated[Path, Parameter(("--out", "-o"), help="Result folder.")]
OutFile = Annotated[Path, Parameter(("--out", "-o"), help="File to write.")]
Seeds = Annotated[tuple[int, ...], Parameter("--seed", group=HOW, help="Seed of the fits; repeatable. Default 0.")]
Quiet = Annotated[bool, Parameter(validator=set_quiet, help="No progress, no messages.")]
Overwrite = Annotated[bool, Parameter(help="Replace the results that are there.")]
AsJson = Annotated[bool, Parameter("--json", help="One JSON document on stdout.")]


def entry(values: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, as a table of a study file.

    Args:
        values: Option, in Python's spelling -> value.

    Returns:
        Without what was left out, for a study file knows no null; files by absolute paths.
    """
    specs = {*SPEC_KINDS, *LIST_KINDS, "operator"}
    return {name: _located(value, name in specs) for name, value in values.items() if value is not None and value != ()}


def _located(value: Any, is_spec: bool) -> Any:
    if isinstance(value, tuple):
        return [_located(one, is_spec) for one in value]
    if isinstance(value, Path):
        return str(value.absolute())
    return spec_files.locate(value, Path.cwd()) if is_spec else value


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Part:
    """Which part of an image is used."""

    crop: int | None = None
    """Use only the centre, this many pixels a side."""

    def read(self, path: Path) -> Picture:
        """Read the part of a picture, with its alpha channel."""
        picture = read_picture(path)
        if self.crop is None:
            return picture
        check_at_least_one(crop=self.crop)
        alpha = None if picture.alpha is None else self.cut(picture.alpha)
        return replace(picture, pixels=self.cut(picture.pixels), alpha=alpha)

    def cut(self, image: Tensor) -> Tensor:
        """Cut what lies over the picture, such as a mask."""
        return image if self.crop is None else crop_to_centre(image, self.crop)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Source(Part):
    """Which part of an image is used, and what the result is compared with."""

    reference: Path | None = None
    """The clean image, only to measure by; no fit sees it."""

    def clean(self, picture: Picture, task: Task) -> Tensor | None:
        """Read the reference, cut as the picture was."""
        if self.reference is None or self.crop is None:
            return None if self.reference is None else load_image(self.reference)
        scale = max(1, task.shape[-1] // picture.pixels.shape[-1])
        return crop_to_centre(load_image(self.reference), self.crop, scale)


@Parameter(name="*", group=WRONG)
@dataclass(frozen=True, kw_only=True)
class Degradation:
    """What can be wrong with an image."""

    task: str
    """What is wrong with it; see `hybrid-dip list tasks`."""
    sigma: float | None = None
    """Level of Gaussian noise, 0..255; denoise estimates it if left out."""
    noise: str | None = None
    """Noise model: gaussian (default), poisson, l1 (salt and pepper, outliers), or speckle."""
    mask: Path | None = None
    """Mask file: 255 (white) = known pixel, 0 (black) = to fill in."""
    factor: int | None = None
    """Super-resolution: whole number, default 4."""
    kernel: str | None = None
    """Super-resolution: lanczos2 (default), lanczos3, gauss12, gauss1sq2, box, bicubic."""
    psf: str | None = None
    """Deblurring: a grey image or .npy file, or gaussian:SIGMA in pixels."""
    pattern: str | None = None
    """Demosaicing: RGGB (default), BGGR, GRBG or GBRG."""
    operator: str | None = None
    """linear: what measured the image, NAME, file.py:name or module:name, with options."""

    @property
    def options(self) -> dict[str, Any]:
        """The options of the task, None where one was left out."""
        return {name: None if value is False else value for name, value in vars(self).items() if name != "task"}


@Parameter(name="*", group=WRONG)
@dataclass(frozen=True, kw_only=True)
class Observation(Degradation):
    """What is wrong with an image that is degraded already."""

    guide: Path | None = None
    """Flash/no-flash: the photograph with flash."""
    shape: str | None = None
    """linear: H,W or C,H,W of the image to restore, by default its own."""

    def make(self, picture: Picture, part: Part) -> Task:
        """Make the task that restores a picture."""
        return WrittenTask(self.task, self.options, part.cut).task(picture.pixels)

    def entry(self) -> dict[str, Any]:
        """The task as a study file has it."""
        psf = self.psf if self.psf is None or not Path(self.psf).is_file() else Path(self.psf)
        return {"kind": self.task, "observed": True, **entry({**self.options, "psf": psf})}


@Parameter(name="*", group=WRONG)
@dataclass(frozen=True, kw_only=True)
class Simulation(Degradation):
    """What is done to a clean image."""

    task: str
    """What to do to it; see `hybrid-dip list degradations`."""
    sigma: float | None = None
    """Level of Gaussian noise, 0..255."""
    kernel: str | None = None
    """Super-resolution: pil (default, as the original) or as in restore."""
    peak: float | None = None
    """Poisson noise: photons at white."""
    looks: float | None = None
    """Speckle: how many intensities are averaged."""
    share: float | None = None
    """Share of pixels kept (missing-pixels) or hit (salt and pepper)."""
    per: str | None = None
    """missing-pixels: whole pixels (pixel) or single channels (entry)."""
    clip: bool = False
    """Clip Gaussian noise to [0, 1], as the original does."""
    quality: int | None = None
    """JPEG quality, 1..95."""

    def make(self, clean: Tensor, part: Part, seed: int | None) -> Case:
        """Degrade a clean image."""
        return WrittenTask(self.task, {**self.options, "seed": seed}, part.cut).case(clean)


@Parameter(name="*", group=HOW)
@dataclass(frozen=True, kw_only=True)
class Setup:
    """A preset, and those of its settings that most commands change."""

    preset: str = "original"
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


@Parameter(name="*", group=WHERE)
@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where fits run."""

    workers: int | None = None
    """Processes at a time; by default all cores, or one for each GPU (restore FOLDER: fewer where memory is scarce)."""
    threads: int | None = None
    """CPU threads of each process; part of what a result depends on."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""


@Parameter(name="*", group=WHERE)
@dataclass(frozen=True, kw_only=True)
class Evaluation(Machine):
    """Where fits run, how long, and how the network is evaluated."""

    time_budget: float | None = None
    """Seconds after which each fit ends; its tiles share them."""
    precision: str = "float32"
    """Precision of the network: float32, bfloat16, tf32 (CUDA); auto: a timed trial."""
    compile: str = "off"
    """torch.compile the network: on, off; auto: a timed trial."""
    graph: str = "off"
    """Replay the network as a CUDA graph (CUDA): on, off; auto: a timed trial."""
    tile: Annotated[str, Parameter(help=TILE)] = "auto"
    checkpoint_every: int = 200
    """Steps between two saved states."""

    @property
    def ways(self) -> tuple[str, str, str]:
        """How the network is evaluated."""
        return self.precision, self.compile, self.graph

    def entry(self) -> dict[str, Any]:
        """What a study's arm says of it."""
        plain = {"precision": "float32", "compile": "off", "graph": "off"}
        asked = {name: value for name, value in vars(self).items() if name in plain and value != plain[name]}
        return asked if self.tile == "auto" else {**asked, "tile": parse_side(self.tile)}


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Output:
    """Where results go."""

    out: ResultFolderPath
    gif: bool = False
    """Also write fit.gif, the fit as an animation."""
    resume: bool = False
    """Go on where the same command stopped."""
    overwrite: Overwrite = False
    quiet: Quiet = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Restoration:
    """All options of ``hybrid-dip restore``.

    Attributes:
        wrong: What is wrong with the image.
        output: Where results go.
        source: Which part of the image is restored, and what the result is compared with.
        method: What is fitted, and how.
        fusion: How the priors are fused.
        where: Where the fits run, how long, and how the network is evaluated.
    """

    wrong: Observation
    output: Output
    source: Source = Source()
    method: MethodWithPriors = MethodWithPriors()
    fusion: Fusion = Fusion()
    where: Evaluation = Evaluation()


def check_new(*paths: Path, overwrite: bool) -> None:
    """Refuse to write files whose folder is missing, or that are there already.

    Args:
        paths: Files to be written.
        overwrite: They may be replaced.

    Raises:
        SettingsError: A folder is missing, or a file is there.
    """
    for path in paths:
        if not path.parent.is_dir():
            raise SettingsError(f"There is no folder {path.parent} to write {path.name} to.")
        if path.exists() and not overwrite:
            raise SettingsError(f"{path} exists; add --overwrite to replace it.")

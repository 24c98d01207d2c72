"""The sections of a study file, each key with its type (hybrid_dip.study.describe.settings reads them)."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

from hybrid_dip.execution.precision import Execution, Precision

UNFIT = r"/\\\x00-\x1f\x7f"
"""Characters that no label may have, as a class of a regular expression."""

Name = Annotated[str, Field(min_length=1, pattern=rf"^[^{UNFIT}]+$")]
"""A label in the table of results, and part of a picture's file name."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ImageEntry(_Section):
    """Where images come from: a path, or a table with a path and more.

    Attributes:
        path: A file, a folder (all images in it), a glob, or ``skimage:NAME``; relative to the study file.
        name: Name in the results, for a single image only; by default the file's name without its suffix.
        reference: The clean image that belongs to a single degraded one, to measure by.
        crop: Side of the centre crop, or [top, left, height, width].
    """

    path: str
    name: Name | None = None
    reference: str | None = None
    crop: Annotated[int, Field(ge=1)] | Annotated[list[int], Field(min_length=4, max_length=4)] | None = None


class TaskEntry(_Section):
    """A degradation with its strength and protocol; or what is wrong with images that are degraded already.

    Attributes:
        kind: A name of ``hybrid-dip list degradations``, or of ``hybrid-dip list tasks`` where the images are observed.
        name: Name in the results; by default the kind, with its options where two tasks are of one kind.
        crop: Side of the centre crop for this task, instead of the study's.
        steps: Steps of every arm on this task, instead of the arm's own.
        observed: Whether the images are degraded already; a clean image is then each image's ``reference``.
        held_out: Share of the measured pixels that no fit sees, for the metric "held_out".

    All further keys are options: those of ``hybrid-dip degrade`` (sigma, clip, factor, seed, ...), or those of
    ``hybrid-dip restore`` where the images are observed.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    kind: str
    name: Name | None = None
    crop: Annotated[int, Field(ge=1)] | None = None
    steps: Annotated[int | None, Field(ge=1)] = None
    observed: bool = False
    held_out: Annotated[float | None, Field(gt=0, lt=1)] = None

    @property
    def options(self) -> dict[str, Any]:
        """The further keys, as written."""
        return dict(self.model_extra or {})


class ArmEntry(_Section):
    """A preset and what differs from it, under the names of the command line's options.

    Attributes:
        name: Name in the results.
        preset: SPEC of the preset: a name of ``hybrid-dip list presets``, ``one-shot:denoiser=NAME``, ``file.py:name``.
        network: SPEC of the network.
        latent: SPEC of the latent.
        start: File of the parameters that a fit begins with, relative to the study file.
        solver: SPEC of a solver instead of the plain loop.
        optimise: What is fitted: "network", "latent" or "both".
        optimizer: "adam", "muon" or "lbfgs".
        lr: Learning rate.
        lr_schedule: Such as "cosine=1..0.1".
        jitter: Deviation of the noise added to the latent.
        parameter_noise: Relative deviation of noise added to the weights.
        average: Decay of the output average; 0 for none.
        steps: Steps of a fit, instead of the preset's number.
        regularisers: SPECs with weights.
        stop: SPEC of a stopping rule instead of the preset's; the key may also be called "stopping".
        runs: Number of fits whose images are averaged, instead of the preset's number.
        fuse: "stack": the network alone, with each regulariser, and with all, combined by weights that data choose.
        presets: SPECs of presets that take part in the stack.
        tile: Side of the tiles that a larger image is fitted in, instead of the preset's; 0 for the whole at once.
        precision: Precision of the network: "float32", "bfloat16", or "tf32" on CUDA.
        compile: Whether torch compiles the network, "on" or "off".
        graph: Whether the network is replayed as a CUDA graph, "on" or "off".
    """

    name: Name
    preset: str = "fast"
    network: str | None = None
    latent: str | None = None
    start: str | None = None
    solver: str | None = None
    optimise: Literal["network", "latent", "both"] | None = None
    optimizer: Literal["adam", "muon", "lbfgs"] | None = None
    lr: float | None = None
    lr_schedule: str | None = None
    jitter: float | None = None
    parameter_noise: float | None = None
    average: Annotated[float, Field(ge=0, lt=1)] | None = None
    steps: Annotated[int, Field(ge=1)] | None = None
    regularisers: list[str] = []
    stop: Annotated[str | None, Field(validation_alias=AliasChoices("stop", "stopping"))] = None
    runs: Annotated[int, Field(ge=1)] | None = None
    fuse: Literal["stack"] | None = None
    presets: list[str] = []
    tile: Annotated[int, Field(ge=0)] | None = None
    precision: Precision | None = None
    compile: Literal["on", "off"] | None = None
    graph: Literal["on", "off"] | None = None

    @property
    def execution(self) -> Execution:
        """How the network is evaluated."""
        return Execution(self.precision or "float32", compiled=self.compile == "on", graphed=self.graph == "on")

    @property
    def overrides(self) -> dict[str, Any]:
        """What :func:`hybrid_dip.recipes.override.override` takes."""
        others = ("name", "preset", "regularisers", "stop", "fuse", "presets", "tile", "precision", "compile", "graph")
        return {name: value for name, value in self if name not in others}


class PriorEntry(_Section):
    """One prior of an attribution: what an arm has where it is in, and where it is out.

    Attributes:
        name: Name in the results.
        regularisers: SPECs with weights, added where the prior is in.
        on: Keys of an arm, set where the prior is in.
        off: Keys of an arm, set where it is out: ``off = { network = "pixels" }`` is an arm without an architecture.
    """

    name: Annotated[Name, Field(pattern=r"^[^+]+$")]
    regularisers: list[str] = []
    on: dict[str, Any] = {}
    off: dict[str, Any] = {}


class AttributionEntry(_Section):
    """How many dB each prior brings: every subset of the priors is an arm (hybrid_dip.study.reporting.attribution).

    Attributes:
        priors: Two to six.
        none: SPEC of the preset that stands for no prior at all.
        common: Keys that all other arms have.
    """

    priors: Annotated[list[PriorEntry], Field(min_length=2, max_length=6)]
    none: str = "baseline"
    common: dict[str, Any] = {}


class Budget(_Section):
    """How long a study may take.

    Attributes:
        seconds_per_run: Seconds after which a fit ends with what it has; results then depend on the machine's speed.
        hours: Hours after which what is going on is saved, and the rest waits for the next call.
    """

    seconds_per_run: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    hours: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


def _as_table(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


class Study(_Section):
    """A study file's content.

    Attributes:
        name: The study's name.
        images: Where the images come from.
        crop: Side of the centre crop that all images are cut to.
        seeds: Seeds of network, latent and jitter; the degradation has its own.
        metrics: What is measured, which may be nothing: names of ``hybrid-dip list metrics`` or SPECs, with "_raw" before known
            pixels are pasted back; "psnr_best", the oracle; "held_out", the error on what a task holds out.
        threads: CPU threads of each run; a result depends on them.
        tasks: What is done to the images.
        arms: What is compared.
        attribution: Priors of which every subset is an arm as well.
        baseline: The arm that the others are compared with in the report; by default the first one.
        budget: How long it may take.
    """

    name: Name
    images: Annotated[list[Annotated[ImageEntry, BeforeValidator(_as_table)]], Field(min_length=1)]
    crop: Annotated[int, Field(ge=1)] | None = None
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**62)]], Field(min_length=1)] = [0]
    metrics: list[str] = ["psnr", "ssim"]
    threads: Annotated[int, Field(ge=1)] = 1
    tasks: Annotated[list[TaskEntry], Field(min_length=1)]
    arms: list[ArmEntry] = []
    attribution: AttributionEntry | None = None
    baseline: str | None = None
    budget: Budget = Budget()

    _path: Path = PrivateAttr(default=Path("study.toml"))

    @property
    def path(self) -> Path:
        """The file that the study was read from."""
        return self._path

    @property
    def folder(self) -> Path:
        """The folder that paths in the file start at."""
        return self._path.parent

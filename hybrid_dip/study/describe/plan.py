"""A study's settings -> its runs. Here names become objects, so that whatever is wrong is said before anything starts."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from hybrid_dip.contracts import Task
from hybrid_dip.errors import HybridDIPError, SettingsError, told
from hybrid_dip.execution.precision import PLAIN
from hybrid_dip.fusion.stacking import default_selection
from hybrid_dip.problem.tiles import of_one_fit
from hybrid_dip.recipes import spec_files
from hybrid_dip.recipes.prepare import sketch
from hybrid_dip.restoring.manifest import __version__
from hybrid_dip.restoring.plan import tiles_for
from hybrid_dip.stopping.selection import HeldOut, Selection, fits_of
from hybrid_dip.study.describe.arms import Fitting
from hybrid_dip.study.describe.measures import Outputs, measure
from hybrid_dip.study.describe.sections import ArmEntry, ImageEntry, Study, TaskEntry
from hybrid_dip.study.describe.settings import place
from hybrid_dip.study.describe.sources import Source, expand
from hybrid_dip.study.describe.subjects import Preparing, Subject

KEY_LENGTH = 20
"""Hexadecimal digits of a run's hash: 80 bits, so that a million runs meet by chance once in a trillion studies."""


@dataclass(frozen=True)
class Run:
    """One arm on one image with one task and one seed: a row of the results, and the name of a folder.

    Attributes:
        key: Hash of :attr:`config`.
        image: Label.
        task: Label.
        arm: Label.
        seed: Of network, latent and jitter.
        steps: Of the recipe.
        fits: Whose images are averaged; their seeds are not those of any other run of the arm.
        passes: Fits that each of them takes, those of a selection and of tiles included.
        tiles: That the image is fitted in.
        pixels: That one of those fits sees.
        source: The image.
        preparing: The task that is made of it.
        fitting: What is fitted.
        metrics: What is measured.
        seconds: After which each fit ends, or None.
        device: "cpu", "cuda" or "mps".
        threads: CPU threads.
        version: Of the package.
        config: Everything that the result depends on.
    """

    key: str
    image: str
    task: str
    arm: str
    seed: int
    steps: int
    fits: int
    passes: int
    tiles: int
    pixels: int
    source: Source
    preparing: Preparing
    fitting: Fitting
    metrics: tuple[str, ...]
    seconds: float | None
    device: str
    threads: int
    version: str = __version__
    config: Mapping[str, Any] = field(repr=False, default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """What every run.json begins with."""
        labels = {"key": self.key, "image": self.image, "task": self.task, "arm": self.arm, "seed": self.seed}
        return {**labels, "config": dict(self.config)}

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.image}, {self.task}, {self.arm}, seed {self.seed}"

    def subject(self) -> Subject:
        """The task to fit, and what measures it.

        Returns:
            The subject.

        Raises:
            SettingsError: A file, or the package, is not what it was when the run was planned.
        """
        subject = self.preparing.build(self.source)
        now = {**self.configuration(subject), "version": __version__}
        changed = [name for name in now if now[name] != self.config.get(name)]
        if changed:
            raise SettingsError(f"What the run was planned with has changed since ({', '.join(changed)}): run the study again.")
        return subject

    def configuration(self, subject: Subject) -> dict[str, Any]:
        """Everything that the result depends on.

        Args:
            subject: Of this run.

        Returns:
            Plain data.
        """
        arm = self.fitting.arm
        return {
            "version": self.version,
            "image_sha256": subject.image_sha256,
            "shape": list(subject.task.shape),
            "task": self.preparing.settings(),
            "task_files_sha256": self.preparing.files(),
            "device": self.device,
            "threads": self.threads,
            "seconds": self.seconds,
            "recipe": self.fitting.build(subject.task)[0].describe(),
            "network": arm.network,
            "latent": arm.latent,
            "regularisers": arm.regularisers,
            "stop": arm.stop,
            "files_sha256": self.fitting.files(),
            **({} if arm.fuse is None else {"fuse": arm.fuse, "presets": arm.presets}),
            **({} if arm.execution == PLAIN else {"execution": str(arm.execution)}),
        }

    def judges(self, task: Task) -> Selection:
        """The data that judge where this arm is a stack; the bootstrap only where the noise level was given, not estimated."""
        entry = self.preparing.entry
        return HeldOut() if entry.observed and "sigma" not in entry.options else default_selection(task)

    def sized(self, task: Task) -> "Run":
        """With what the recipe says of a task: steps, fits and their size."""
        recipe, _, rule = self.fitting.build(task)
        stack, tiles = self.fitting.stack(task), tiles_for(task, recipe)
        count = 1 if tiles is None else len(tiles.boxes)
        passes = (len(stack) - len(self.fitting.arm.presets)) * fits_of(self.judges(task)) if stack else fits_of(rule) * count
        height, width = of_one_fit(task, tiles).shape[-2:]
        return replace(self, steps=recipe.steps, fits=recipe.runs, passes=passes, tiles=count, pixels=height * width)

    def named(self, config: Mapping[str, Any], seed: int) -> "Run":
        """With a seed, and so with a key.

        Args:
            config: From :meth:`configuration`.
            seed: Of network, latent and jitter.

        Returns:
            The run.
        """
        text = json.dumps({**config, "seed": seed}, sort_keys=True, default=str)
        key = hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]
        return replace(self, seed=seed, config={**config, "seed": seed}, key=key)


@dataclass(frozen=True)
class Plan:
    """All runs of a study, in the order in which they are started: one seed after the other, and in each task after task and
    image after image with all arms, so that what is finished early can be compared.

    Attributes:
        study: The settings.
        runs: In order.
    """

    study: Study
    runs: tuple[Run, ...]

    @property
    def unique(self) -> dict[str, Run]:
        """The runs by key; two arms may be one and the same on some of the tasks."""
        return {run.key: run for run in self.runs}

    @property
    def tasks(self) -> list[str]:
        """Labels, in order."""
        return list(dict.fromkeys(run.task for run in self.runs))

    @property
    def arms(self) -> list[str]:
        """Labels, in order."""
        return list(dict.fromkeys(run.arm for run in self.runs))

    @property
    def images(self) -> list[str]:
        """Labels, in order."""
        return list(dict.fromkeys(run.image for run in self.runs))


def plan_study(
    study: Study,
    *,
    images: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    version: str = __version__,
) -> Plan:
    """Make every run of a study, and try whether its names, files and options work.

    Args:
        study: The settings.
        images: A file, folder, glob or ``skimage:NAME`` instead of the study's own images; relative to where one is.
        device: "cpu", "cuda" or "mps".
        threads: CPU threads of each run, instead of the study's.
        version: Of the package that the runs were done with, to look at results of an earlier one.

    Returns:
        The plan.

    Raises:
        FileNotFoundError: An image is missing.
        HybridDIPError: Something in the file cannot work; the sentence names the place.
    """
    entries = study.images if images is None else [ImageEntry(path=images)]
    sources = _at(str(study.path), expand, entries, study.folder if images is None else Path(), study.crop)
    labels = _at(str(study.path), _task_labels, study.tasks)
    metrics = tuple(spec_files.locate(text, study.folder) for text in study.metrics)
    cells: dict[tuple[str, str], list[tuple[Run, dict[str, Any]]]] = {}
    for number, entry in enumerate(study.tasks):
        preparing = Preparing(entry, study.folder.absolute())
        for source in sources:
            subject = _at(f"{study.path}, {_place('tasks', number, entry)}, {source.name}", preparing.build, source)
            _at(f"{study.path}, metrics, {source.name}", _try_metrics, metrics, subject)
            cell = cells[labels[number], source.name] = []
            for index, written in enumerate(study.arms):
                arm = written if entry.steps is None else written.model_copy(update={"steps": entry.steps})
                run = Run(
                    key="",
                    image=source.name,
                    task=labels[number],
                    arm=arm.name,
                    seed=0,
                    steps=0,
                    fits=1,
                    passes=1,
                    tiles=1,
                    pixels=0,
                    source=source,
                    preparing=preparing,
                    fitting=Fitting(arm, study.folder.absolute()),
                    metrics=metrics,
                    seconds=study.budget.seconds_per_run,
                    device=device,
                    threads=threads or study.threads,
                    version=version,
                )
                where = f"{study.path}, {_place('arms', index, arm)}"
                _at(where, arm.execution.check, torch.device(device))
                config = _at(where, run.configuration, subject)
                if source is sources[0]:
                    _at(where, _try_network, run, subject.task)
                cell.append((_at(where, run.sized, subject.task), config))
    runs = [
        run.named(config, seed)
        for seed in study.seeds
        for task in labels
        for source in sources
        for run, config in cells[task, source.name]
    ]
    for first, second in combinations([arm.name for arm in study.arms], 2):
        keys = [[run.key for run in runs if run.arm == name] for name in (first, second)]
        if keys[0] == keys[1]:
            raise SettingsError(f"{study.path}: the arms '{first}' and '{second}' are the same; leave one of them out.")
    return Plan(study, tuple(runs))


def _at(where: str, function: Callable[..., Any], *given: Any) -> Any:
    """Call a function; what is wrong is said with its place."""
    try:
        return function(*given)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{where}: {error}") from None
    except HybridDIPError as error:
        raise SettingsError(f"{where}: {error}") from None


def _place(section: str, index: int, entry: TaskEntry | ArmEntry) -> str:
    return place(section, index, entry.model_dump())


def _try_network(run: Run, task: Task) -> None:
    """Make the network and the optimiser."""
    recipe, _, _ = run.fitting.build(task)
    sketch(task, recipe)
    try:
        recipe.optimizer(recipe.lr)([torch.zeros(1, requires_grad=True)])
    except ValueError as error:
        raise SettingsError(f"The optimiser cannot be made: {told(error)}.") from None


def _try_metrics(texts: tuple[str, ...], subject: Subject) -> None:
    seen: set[str] = set()
    tried = torch.full(subject.task.shape, 0.5) if subject.reference is None else subject.reference
    for text in texts:
        found = measure(text)
        if found.column in seen:
            raise SettingsError(f"Two metrics are called '{found.column}'.")
        seen.add(found.column)
        for image in (tried, 0.9 * tried):
            try:
                found.of(Outputs(image, image, subject.reference, along=[0.0], validation=subject.validation))
            except HybridDIPError:
                raise
            except Exception as error:  # a metric may be anybody's
                raise SettingsError(f"'{text}' cannot be measured: {told(error)}.") from None


def _task_labels(tasks: list[TaskEntry]) -> list[str]:
    """The kind where it occurs once, else with those options in which tasks of the kind differ."""
    kinds = Counter(task.kind for task in tasks)
    labels = []
    for task in tasks:
        siblings = [other.options for other in tasks if other.kind == task.kind]
        telling = [
            f"{name}={value}" for name, value in task.options.items() if any(other.get(name) != value for other in siblings)
        ]
        own = task.kind if kinds[task.kind] == 1 else " ".join([task.kind, *telling])
        labels.append(task.name or own)
    for label, count in Counter(labels).items():
        if count > 1:
            raise SettingsError(f"{count} tasks are called '{label}': give them a name each.")
    return labels

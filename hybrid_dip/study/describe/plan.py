"""A study's settings -> its runs. Names become objects here, so that what is wrong is said before anything starts."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from hybrid_dip.contracts import Task
from hybrid_dip.errors import HybridDIPError, SettingsError
from hybrid_dip.execution.precision import PLAIN
from hybrid_dip.fusion.stacking import default_selection
from hybrid_dip.problem.tiles import of_one_fit
from hybrid_dip.recipes import spec_files
from hybrid_dip.restoring.manifest import __version__
from hybrid_dip.restoring.plan import tiles_for
from hybrid_dip.stopping.selection import Selection, fits_of
from hybrid_dip.study.describe.checks import place_in_errors, refuse_images, try_metrics, try_network
from hybrid_dip.study.describe.methods import Method
from hybrid_dip.study.describe.sections import ImageEntry, Study, TaskEntry
from hybrid_dip.study.describe.settings import place
from hybrid_dip.study.describe.sources import Source, expand
from hybrid_dip.study.describe.subjects import Preparation, Subject

KEY_LENGTH = 20
"""Hexadecimal digits of a run's hash: 80 bits, so that a million runs meet by chance once in a trillion studies."""


@dataclass(frozen=True)
class Run:
    """One arm on one image with one task and one seed: a row of the results, and the name of a folder.

    Attributes:
        key: Hash of :attr:`config`.
        image: Label of the image.
        task: Label of the task.
        arm: Label of the arm.
        seed: Seed of network, latent and jitter.
        steps: Steps of one fit.
        fits: Number of fits whose images are averaged; no other run of the arm has their seeds.
        passes: Number of fits that each of them takes, with those of a selection and of tiles.
        tiles: Number of tiles that the image is fitted in.
        pixels: Pixels of the image, or of a tile.
        source: The image.
        preparation: How the task is made of the image.
        method: How the arm fits it.
        metrics: What is measured.
        seconds: After which each fit ends; None for no limit.
        device: "cpu", "cuda" or "mps".
        threads: CPU threads.
        version: Version of the package.
        config: All that the result depends on.
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
    preparation: Preparation
    method: Method
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
        """The run in words."""
        return f"{self.image}, {self.task}, {self.arm}, seed {self.seed}"

    def subject(self) -> Subject:
        """The task to fit, and what its result is measured by.

        Raises:
            SettingsError: A file, or the package, is not what it was when the run was planned.
        """
        subject = self.preparation.build(self.source)
        now = {**self.configuration(subject), "version": __version__}
        changed = [name for name in now if now[name] != self.config.get(name)]
        if changed:
            raise SettingsError(f"What the run was planned with has changed since ({', '.join(changed)}): run the study again.")
        return subject

    def configuration(self, subject: Subject) -> dict[str, Any]:
        """All that the result depends on, as plain data.

        Args:
            subject: What :meth:`subject` gives.
        """
        arm = self.method.entry
        return {
            "version": self.version,
            "image_sha256": subject.image_sha256,
            "shape": list(subject.task.shape),
            "task": self.preparation.settings(),
            "task_files_sha256": self.preparation.files(),
            "device": self.device,
            "threads": self.threads,
            "seconds": self.seconds,
            "recipe": self.method.build(subject.task)[0].describe(),
            "network": arm.network,
            "latent": arm.latent,
            "regularisers": arm.regularisers,
            "stop": arm.stop,
            "files_sha256": self.method.files(),
            **({} if arm.fuse is None else {"fuse": arm.fuse, "presets": arm.presets}),
            **({} if arm.execution == PLAIN else {"execution": str(arm.execution)}),
        }

    def selection(self, task: Task) -> Selection:
        """The data that judge a stack; the bootstrap only where the noise level was given, not estimated."""
        entry = self.preparation.entry
        return default_selection(task, estimated=entry.observed and "sigma" not in entry.options)

    def with_size(self, task: Task) -> "Run":
        """This run with the number and the size of its fits.

        Args:
            task: The task to fit.
        """
        recipe, _, rule = self.method.build(task)
        stack, tiles = self.method.stack(task), tiles_for(task, recipe)
        count = 1 if tiles is None else len(tiles.boxes)
        fits_of_stack = (len(stack) - len(self.method.entry.presets)) * fits_of(self.selection(task))
        passes = fits_of_stack if stack else fits_of(rule) * count
        height, width = of_one_fit(task, tiles).shape[-2:]
        return replace(self, steps=recipe.steps, fits=recipe.runs, passes=passes, tiles=count, pixels=height * width)

    def with_seed(self, config: Mapping[str, Any], seed: int) -> "Run":
        """This run with a seed, and so with a key.

        Args:
            config: What :meth:`configuration` gave.
            seed: Seed of network, latent and jitter.
        """
        text = json.dumps({**config, "seed": seed}, sort_keys=True, default=str)
        key = hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]
        return replace(self, seed=seed, config={**config, "seed": seed}, key=key)


@dataclass(frozen=True)
class Plan:
    """All runs of a study, in the order in which they start.

    For each seed, each task and each image all arms come one after the other, so that what is finished early can be compared.

    Attributes:
        study: The settings.
        runs: The runs in order.
    """

    study: Study
    runs: tuple[Run, ...]

    @property
    def unique(self) -> dict[str, Run]:
        """The runs by key: two arms may be the same on some of the tasks."""
        return {run.key: run for run in self.runs}

    @property
    def tasks(self) -> list[str]:
        """Labels of the tasks, in order."""
        return list(dict.fromkeys(run.task for run in self.runs))

    @property
    def arms(self) -> list[str]:
        """Labels of the arms, in order."""
        return list(dict.fromkeys(run.arm for run in self.runs))

    @property
    def images(self) -> list[str]:
        """Labels of the images, in order."""
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
        images: A file, folder, glob or ``skimage:NAME`` instead of the study's own images; relative to the current folder.
        device: "cpu", "cuda" or "mps".
        threads: CPU threads of each run, instead of the study's.
        version: Version of the package that the runs were done with, to look at results of an earlier one.

    Returns:
        The plan.

    Raises:
        FileNotFoundError: An image is missing.
        HybridDIPError: Something in the file cannot work; the sentence names the place.
    """
    entries = study.images if images is None else [ImageEntry(path=images)]
    with place_in_errors(str(study.path)):
        sources = expand(entries, study.folder if images is None else Path(), study.crop)
        labels = _task_labels(study.tasks)
    metrics = tuple(spec_files.locate(text, study.folder) for text in study.metrics)
    cells: dict[tuple[str, str], list[tuple[Run, dict[str, Any]]]] = {}
    for number, entry in enumerate(study.tasks):
        preparation = Preparation(entry, study.folder.absolute())
        wrong: dict[str, Exception] = {}
        for source in sources:
            try:
                subject = preparation.build(source)
            except (HybridDIPError, FileNotFoundError) as error:
                wrong[source.name] = error
                continue
            with place_in_errors(f"{study.path}, metrics, {source.name}"):
                try_metrics(metrics, subject)
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
                    preparation=preparation,
                    method=Method(arm, study.folder.absolute()),
                    metrics=metrics,
                    seconds=study.budget.seconds_per_run,
                    device=device,
                    threads=threads or study.threads,
                    version=version,
                )
                with place_in_errors(f"{study.path}, {place('arms', index, arm.model_dump())}"):
                    arm.execution.check(torch.device(device))
                    config = run.configuration(subject)
                    if source is sources[0]:
                        try_network(run.method, subject.task)
                    cell.append((run.with_size(subject.task), config))
        refuse_images(f"{study.path}, {place('tasks', number, entry.model_dump())}", wrong)
    runs = [
        run.with_seed(config, seed)
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


def _task_labels(tasks: list[TaskEntry]) -> list[str]:
    """The kind of each task; where it occurs twice, with the options in which the tasks of that kind differ."""
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

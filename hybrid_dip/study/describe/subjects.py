"""What a run is about: a task made from an image, and what its result is measured by. A fit sees the task only."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from hybrid_dip.contracts import MeasurementProtocol, Task, Validation
from hybrid_dip.errors import HybridDIPError, SettingsError, describe_error
from hybrid_dip.images.files import fingerprint
from hybrid_dip.recipes import spec, spec_files
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.recipes.written_task import WrittenTask
from hybrid_dip.study.describe.sections import TaskEntry
from hybrid_dip.study.describe.sources import Source


@dataclass(frozen=True, eq=False)
class Subject:
    """A task to fit, and what its result is measured by.

    Attributes:
        task: What to fit, without what is held out.
        reference: The clean image, or None where it is not known.
        validation: Scores an image on what is held out; None where nothing is.
        protocol: How the image was degraded.
    """

    task: Task
    reference: Tensor | None
    validation: Validation | None = None
    protocol: MeasurementProtocol = field(default_factory=MeasurementProtocol)

    @property
    def image_sha256(self) -> str:
        """Hash of the clean image, or of the observation where there is none."""
        return fingerprint(self.task.observation if self.reference is None else self.reference)


@dataclass(frozen=True)
class Preparation:
    """How a task of a study is made of an image. Plain data: it travels to worker processes.

    Attributes:
        entry: The task as written.
        folder: Folder that paths in it are relative to.
    """

    entry: TaskEntry
    folder: Path

    @property
    def kind(self) -> str:
        """The kind of the catalogue that has the task's name."""
        return "tasks" if self.entry.observed else "degradations"

    def settings(self) -> dict[str, Any]:
        """The task as written, without its label and its crop."""
        extra = {"observed": self.entry.observed, "held_out": self.entry.held_out}
        return {"kind": self.entry.kind, **self.entry.options, **{name: value for name, value in extra.items() if value}}

    def build(self, source: Source) -> Subject:
        """Degrade a clean image; or take as it is one that is degraded already.

        Args:
            source: The image.

        Returns:
            The task, and what measures it.

        Raises:
            SettingsError: An option is unknown, missing, or cannot work.
        """
        own = source.with_crop(self.entry.crop)
        try:
            subject = self._observed(own) if self.entry.observed else self._degraded(own)
        except (TypeError, AttributeError, ValueError, RuntimeError) as error:  # a value that cannot be worked with
            if isinstance(error, HybridDIPError):
                raise
            raise SettingsError(
                f"An option of '{self.entry.kind}' has a value that cannot be used: {describe_error(error)}."
            ) from None
        if self.entry.held_out is None:
            return subject
        task, validation = subject.task.split(self.entry.held_out)
        return Subject(task, subject.reference, validation, subject.protocol)

    def _degraded(self, own: Source) -> Subject:
        factory = catalogue().get("degradations", self.entry.kind)
        spec.check_options(partial(factory, None), self.entry.kind, self.entry.options)
        case = self._written(own).case(own.load())
        return Subject(case.task, case.reference, protocol=case.protocol)

    def _observed(self, own: Source) -> Subject:
        task = self._written(own).task(own.picture())
        if own.reference is None:
            return Subject(task, None)
        reference = own.load_reference(max(1, task.shape[-1] // own.load().shape[-1]))
        if tuple(reference.shape) != tuple(task.shape):
            raise SettingsError(
                f"The clean image {own.reference} is {reference.shape[-1]}x{reference.shape[-2]} with {reference.shape[1]} "
                f"channels; the result will be {task.shape[-1]}x{task.shape[-2]} with {task.shape[1]}."
            )
        return Subject(task, reference)

    def _written(self, own: Source) -> WrittenTask:
        return WrittenTask(self.entry.kind, self.entry.options, own.cut, self.folder, "'{}'".format)

    def files(self) -> Mapping[str, str]:
        """SHA-256 of the files that options name, such as a mask: their paths may differ between machines."""
        texts = {name: value for name, value in self.entry.options.items() if isinstance(value, str)}
        paths = {name: self.folder / text for name, text in texts.items() if (self.folder / text).is_file()}
        hashes = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()}
        names = catalogue()
        if "operator" in texts:
            hashes["operator"] = spec_files.fingerprint(spec_files.locate(texts["operator"], self.folder), "operators", names)
        hashes[self.entry.kind] = spec_files.fingerprint(self.entry.kind, self.kind, names)
        return {name: sha256 for name, sha256 in hashes.items() if sha256}

"""A task by its name, with its options as users write them: the task function's own signature says which it takes."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from hybrid_dip.contracts import Case, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.images.files import load_image
from hybrid_dip.images.kinds import AnyImage
from hybrid_dip.images.masks import load_mask
from hybrid_dip.recipes import spec, spec_files
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.recipes.readers import CAMERA, read_noise, read_psf, read_shape, read_sigma

OPTIONS = {"fidelity": "noise", "forward": "operator"}
"""Parameter of a task function -> what users call it, where that differs."""

Readers = Mapping[str, Callable[[Any], Any]]


def as_option(name: str) -> str:
    """How an option is written on the command line: "--time-budget"."""
    return "--" + name.replace("_", "-")


@dataclass(frozen=True, eq=False)
class WrittenTask:
    """What is wrong with an image, or what is done to a clean one, as a user writes it.

    Attributes:
        name: A name of ``hybrid-dip list tasks`` or ``hybrid-dip list degradations``.
        options: Option -> value as written, None where it was left out.
        cut: Cuts images that lie over the one at hand, such as a mask, as that one was cut.
        folder: Folder that relative paths start from.
        spelled: Option -> how the user writes it, for messages.
    """

    name: str
    options: Mapping[str, Any]
    cut: Callable[[Tensor], Tensor]
    folder: Path = Path()
    spelled: Callable[[str], str] = as_option

    def task(self, observation: AnyImage) -> Task:
        """Make the task that restores an image.

        Args:
            observation: What was measured, (1, C, H, W); or a picture, of which JPEG takes the file's own steps.

        Returns:
            The task.

        Raises:
            SettingsError: The task is unknown, or an option is one that it does not take, lacks, or cannot work with.
        """
        guide = {"guide": lambda path: self.cut(load_image(self.folder / path))}
        readers: Readers = {**self._readers(), **guide, "noise": read_noise, "shape": read_shape}
        written = replace(self, options={**self.options, "noise": None}) if self._of_a_camera() else self
        task: Task = written._call(catalogue().get("tasks", self.name), observation, readers)
        return task

    def case(self, clean: Tensor) -> Case:
        """Degrade a clean image.

        Args:
            clean: The image, (1, C, H, W).

        Returns:
            The case.

        Raises:
            SettingsError: The degradation is unknown, or an option is one that it does not take, lacks, or cannot work with.
        """
        case: Case = self._call(catalogue().get("degradations", self.name), clean, self._readers())
        return case

    def _of_a_camera(self) -> bool:
        """Whether the image itself tells its noise: what denoising does where it is told nothing."""
        if str(self.options.get("noise")).lower() != CAMERA:
            return False
        if self.name != "denoise" or self.options.get("sigma") is not None:
            raise SettingsError(
                f"{self.spelled('noise')} {CAMERA} is for 'denoise' without {self.spelled('sigma')}: the image itself "
                "tells the level of its noise."
            )
        return True

    def _readers(self) -> Readers:
        """How values are read that tasks and degradations take alike; others are taken as they are."""
        return {
            "operator": lambda text: spec.build(spec_files.locate(text, self.folder), "operators", catalogue()),
            "mask": lambda path: self.cut(load_mask(self.folder / path)),
            "psf": lambda text: read_psf(text if text.startswith("gaussian:") else str(self.folder / text)),
            "sigma": read_sigma,
        }

    def _call(self, factory: Callable[..., Any], image: AnyImage, readers: Readers) -> Any:
        """Call a function with those of the options that were given."""
        own = dict(list(inspect.signature(factory).parameters.items())[1:])
        if "fidelity" in own:
            own.pop("noise", None)  # an estimate, which only Python can give
        parameters = {OPTIONS.get(name, name): one for name, one in own.items()}
        given = {name: value for name, value in self.options.items() if value is not None}
        for name in given:
            if name not in parameters:
                takes = ", ".join(self.spelled(known) for known in parameters if known in self.options) or "no options"
                raise SettingsError(f"{self.spelled(name)} does not go with '{self.name}', which takes {takes}.")
        for name, parameter in parameters.items():
            if parameter.default is parameter.empty and name not in given:
                raise SettingsError(f"'{self.name}' needs {self.spelled(name)}.")
        values = {parameters[name].name: readers.get(name, lambda same: same)(value) for name, value in given.items()}
        return factory(image, **values)

"""What the page's form asks for, in the words of the command line."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hybrid_dip.recipes.written_task import as_option


@dataclass(frozen=True)
class Asked:
    """One restoration, as a user writes it; None is what was left out.

    Attributes:
        folder: Folder of the files that are named.
        image: Name of the degraded file.
        task: What is wrong with it.
        options: Option of the task -> value as written; files by their names.
        preset: A name of the catalogue.
        priors: SPECs of regularisers.
        steps: Steps of each fit.
        runs: Number of fits that are averaged.
        seed: Seed of the first of them.
        stop: SPEC of the stopping rule.
        crop: Side of the centre that is restored.
        reference: Name of the clean file, to measure by.
    """

    folder: Path
    image: str
    task: str
    options: Mapping[str, Any]
    preset: str = "fast"
    priors: tuple[str, ...] = ()
    steps: int | None = None
    runs: int | None = None
    seed: int = 0
    stop: str | None = None
    crop: int | None = None
    reference: str | None = None

    def command(self) -> str:
        """The command that repeats it, in the folder of its files and with as many threads."""
        given = {"task": self.task, **self.options}
        given |= {name: getattr(self, name) for name in ("preset", "steps", "runs", "seed", "stop", "crop", "reference")}
        given["threads"] = torch.get_num_threads()
        words = [word for name, value in given.items() if value is not None for word in (as_option(name), _written(value))]
        priors = [word for prior in self.priors for word in ("-R", prior)]
        return shlex.join(["hybrid-dip", "restore", self.image, *words, *priors, "-o", "restored"])

    @property
    def files(self) -> list[Path]:
        """The files that the command names."""
        named = [self.image, self.options.get("mask"), self.options.get("psf"), self.reference]
        return [self.folder / name for name in named if name is not None and (self.folder / name).is_file()]


def _written(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

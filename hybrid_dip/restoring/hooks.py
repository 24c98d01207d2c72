"""What surrounds a fit: who watches it, where its state is saved, when it is asked to end.

A restoration makes many fits: for each seed, of each tile, and of the replicates that choose the number of steps. One function
says for each of them, by its :class:`FitName`, what surrounds it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from hybrid_dip.contracts import Observer, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting.bar import Bar, Screen
from hybrid_dip.fitting.checkpoint import Checkpoint
from hybrid_dip.fitting.observers import FewPictures, ReferenceWatch
from hybrid_dip.images.atomic import as_file_name
from hybrid_dip.images.notebook import in_notebook


@dataclass(frozen=True)
class FitName:
    """Which fit of a restoration this is.

    Attributes:
        seed: Seed of the network, the latent and the jitter.
        tile: Number of the tile, from 0; None where the image is fitted as a whole.
        replicate: Name of the replicate that a selection fits first, such as "held-out-1"; "" for the fit that counts.
        arm: What is fitted in a fusion, such as "dip+tv" or "dip+tv, held-out 1"; "" outside a fusion.
    """

    seed: int
    tile: int | None = None
    replicate: str = ""
    arm: str = ""

    @property
    def file(self) -> str:
        """Name of a file of this fit, without its suffix: "seed-0-tile-3-held-out-1"."""
        tile = "" if self.tile is None else f"tile-{self.tile}"
        return "-".join(filter(None, [as_file_name(self.arm), f"seed-{self.seed}", tile, self.replicate]))


@dataclass(frozen=True)
class FitHooks:
    """What surrounds one fit.

    Attributes:
        observers: Called with every step. One that has a ``close`` is told by it when the fit is over, however it ended.
        checkpoint: Where the state is saved; None where it is not.
        halt: Asked between two steps whether to end; None where nothing ends the fit early.
    """

    observers: Sequence[Observer] = ()
    checkpoint: Checkpoint | None = None
    halt: Callable[[], bool] | None = None

    def close(self) -> None:
        """Tell the observers that the fit is over."""
        for observer in self.observers:
            if hasattr(observer, "close"):
                observer.close()


HooksOf = Callable[[FitName], FitHooks]
"""What surrounds each fit; asked when the fit begins."""


def no_hooks(name: FitName) -> FitHooks:
    """Nothing surrounds any fit."""
    return FitHooks()


def hooks_of_arm(hooks: HooksOf, arm: str) -> HooksOf:
    """The hooks of the fits of one arm.

    Args:
        hooks: The hooks of all arms.
        arm: The arm's name.

    Returns:
        The same function, for fits that do not know their arm.
    """
    return lambda name: hooks(replace(name, arm=arm))


class SeparateStates:
    """The hooks of a restoration, each of whose fits has a checkpoint of its own.

    Args:
        hooks: What surrounds each fit.
    """

    def __init__(self, hooks: HooksOf):
        self.hooks = hooks
        self.fits: dict[Path, FitName] = {}

    def __call__(self, name: FitName) -> FitHooks:
        """Ask what surrounds a fit.

        Raises:
            SettingsError: Another fit of this restoration is saved in the same file.
        """
        found = self.hooks(name)
        if found.checkpoint is not None:
            other = self.fits.setdefault(found.checkpoint.path, name)
            if other != name:
                raise SettingsError(
                    f"Two fits would be saved in {found.checkpoint.path}: {other.file} and {name.file}. Give each its own "
                    "file, such as one that is called after FitName.file."
                )
        return found


@dataclass(frozen=True, eq=False)
class Watched:
    """Hooks that measure the PSNR along each fit of a whole image, which the fit itself does not see.

    Attributes:
        hooks: What else surrounds each fit.
        task: The task.
        reference: The clean image.
        watches: Seed -> the PSNR along its fit.
    """

    hooks: HooksOf
    task: Task
    reference: Tensor
    watches: dict[int, ReferenceWatch] = field(default_factory=dict, init=False)

    def __call__(self, name: FitName) -> FitHooks:
        """Add a watch to what surrounds a fit, ahead of others, which may show what it has seen."""
        around = self.hooks(name)
        if name.tile is not None or name.replicate:
            return around
        watch = self.watches[name.seed] = ReferenceWatch(self.task, self.reference)
        return replace(around, observers=[watch, *around.observers])


@dataclass(frozen=True, eq=False)
class Bars:
    """Hooks that show a person how a restoration goes on: a bar for each fit, in a notebook also the newest picture.

    Attributes:
        hooks: What else surrounds each fit. A bar shows the PSNR where there is a :class:`ReferenceWatch` among its observers.
        task: The task of the whole image.
        label: Text in front of each bar.
        steps: Number of steps of each fit.
        seeds: Number of seeds.
        tiles: Number of tiles.
        screen: Where the picture is shown.
    """

    hooks: HooksOf
    task: Task
    label: str
    steps: int
    seeds: int = 1
    tiles: int = 1
    screen: Screen = field(default_factory=Screen, init=False)

    def __call__(self, name: FitName) -> FitHooks:
        """Add the bar to what surrounds a fit."""
        around = self.hooks(name)
        seed = f"seed {name.seed}" if self.seeds > 1 else ""
        tile = "" if name.tile is None else f"tile {name.tile + 1} of {self.tiles}"
        watch = next((one for one in around.observers if isinstance(one, ReferenceWatch)), None)
        bar = Bar(self.steps, ", ".join(filter(None, [self.label, seed, tile, name.replicate])), watch)
        picture = [FewPictures(self.screen.show, self.task)] if in_notebook() else []
        return replace(around, observers=[*around.observers, bar, *picture])

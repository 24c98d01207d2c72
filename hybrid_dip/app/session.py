"""What one page has open: its restorations, which of them is looked at, and beside what."""

import shutil
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from hybrid_dip.app.asked import Asked
from hybrid_dip.app.iterates import Iterate
from hybrid_dip.app.job import make_job
from hybrid_dip.app.keeping import Kept, keep
from hybrid_dip.app.run import Queue, Run
from hybrid_dip.errors import SettingsError, collect_warnings

MOST_RUNS = 8
"""Restorations that a page keeps; the oldest goes first."""
DEGRADED, CLEAN = "degraded", "clean"
_TURN = threading.Lock()
"""Where warnings go is a setting of the process."""


class Session:
    """The restorations of one page.

    Args:
        queue: Where they take turns with those of other pages.

    Attributes:
        runs: The restorations.
        kept: Title -> the picture of a restoration that was kept last.
        preview: The degraded image that a restoration would be of, or None.
        sampled: Whether that is a sample.
        watched: The one that is looked at, or None.
        at: Number of the iterate that is looked at; None for the newest, and for the result once there is one.
        seen: What the page was sent last.
        against: What it is compared with: DEGRADED, CLEAN, or the title of another restoration.
    """

    def __init__(self, queue: Queue):
        self.queue, self._folder = queue, tempfile.TemporaryDirectory(prefix="hybrid-dip-")
        self.scratch = Path(self._folder.name)
        self.preview: Tensor | None = None
        self.sampled = False
        self.runs: list[Run] = []
        self.kept: dict[str, Kept] = {}
        self.watched: Run | None = None
        self.at: int | None = None
        self.seen: list[Any] = []
        self.against = DEGRADED
        self._count = 0

    def restore(self, files: Mapping[str, str | Path | None], **asked: Any) -> Run:
        """Begin a restoration.

        Args:
            files: "image" -> its file, and "mask", "psf" and "reference" where there are any; they are copied.
            asked: Fields of :class:`~hybrid_dip.app.asked.Asked`.

        Returns:
            The restoration, which waits for its turn.

        Raises:
            HybridDIPError: Something that was given is wrong.
        """
        if files.get("image") is None:
            raise SettingsError("There is no image yet: drop a file, or take a sample.")
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        names = {what: _copy(Path(path), what, folder) for what, path in files.items() if path is not None}
        options = {**asked.pop("options"), **{what: names[what] for what in ("mask", "psf") if what in names}}
        one = Asked(folder, names["image"], options=options, reference=names.get("reference"), **asked)
        said: list[str] = []
        try:
            with _TURN, collect_warnings(said.append):
                job = make_job(one)
        except BaseException:
            shutil.rmtree(folder)
            raise
        self._count += 1
        run = Run(one, job, folder, self._count, said)
        for old in [old for old in self.runs if not old.active][: max(0, len(self.runs) + 1 - MOST_RUNS)]:
            self.runs.remove(old)
            shutil.rmtree(old.folder)
        self.runs.append(run)
        self.watch(run.title)
        self.queue.add(run)
        return run

    def watch(self, title: str | None) -> None:
        """Look at a restoration, at its newest picture; None for what is not restored yet."""
        self.watched, self.at = next((run for run in self.runs if run.title == title), None), None
        if self.against not in self.others():
            self.against = DEGRADED

    @property
    def title(self) -> str | None:
        """The title of the watched restoration."""
        return None if self.watched is None else self.watched.title

    @property
    def count(self) -> int:
        """How many pictures of the watched restoration there are: its iterates, and its result."""
        return 0 if self.watched is None else len(self.watched.iterates) + (self.watched.result is not None)

    @property
    def number(self) -> int:
        """Number of the picture that is looked at."""
        return max(0, self.count - 1 if self.at is None else min(self.at, self.count - 1))

    def look(self, number: float) -> None:
        """Look at a picture; at the last one: at whatever is the newest."""
        self.at = int(number) if number < self.count - 1 else None

    def compare(self, title: str) -> None:
        """Put something else to the left of the divider."""
        self.against = title

    def others(self) -> list[str]:
        """What the watched restoration can be compared with: pictures of its size."""
        if self.watched is None:
            return [DEGRADED]
        job = self.watched.job
        same = [run.title for run in self.runs if run is not self.watched and run.job.task.shape == job.task.shape]
        return [DEGRADED, *([] if job.reference is None else [CLEAN]), *same]

    @property
    def iterate(self) -> Iterate | None:
        """The iterate that is looked at; None where it is the result, or nothing is there yet."""
        iterates = [] if self.watched is None else self.watched.iterates
        return iterates[self.number] if self.number < len(iterates) else None

    def keep(self) -> Kept:
        """Keep the picture that is looked at.

        Returns:
            What was kept.

        Raises:
            SettingsError: There is none yet.
        """
        run, iterate = self.watched, self.iterate
        if run is None or (iterate is None and run.result is None):
            raise SettingsError("There is no picture to keep yet: the fit has not begun.")
        self.kept[run.title] = kept = keep(run, iterate)
        return kept

    def kept_of(self, run: Run) -> Kept | None:
        """What was kept of a restoration; its result, where it is finished and nothing else was kept."""
        if run.title not in self.kept and run.result is not None:
            self.kept[run.title] = keep(run, None)
        return self.kept.get(run.title)

    def pictures(self) -> list[tuple[str, Tensor]]:
        """What is on the left of the divider, and on the right; before a restoration the degraded image, if there is one.

        Returns:
            Titles with decibels, and images (1, C, H, W) in [0, 1], of one size.
        """
        run = self.watched
        if run is None:
            return [] if self.preview is None else [("the degraded image", self.preview)]
        job, iterate = run.job, self.iterate
        degraded = F.interpolate(job.task.observation, job.task.shape[-2:], mode="nearest")
        if iterate is not None:
            right = (f"seed {iterate.seed}, step {iterate.step}", iterate.image)
        else:
            right = ("result", run.result.image) if run.result is not None else (run.state, degraded)
        other = next((one for one in self.runs if one.title == self.against), None)
        if self.against == CLEAN and job.reference is not None:
            left = (CLEAN, job.reference)
        elif other is not None:
            left = self._best_of(other, degraded)
        else:
            left = (DEGRADED, degraded)
        return [_told(run, *left), _told(run, *right)]

    def _best_of(self, run: Run, otherwise: Tensor) -> tuple[str, Tensor]:
        """The picture of another restoration: what was kept, else its newest iterate."""
        kept = self.kept_of(run)
        if kept is not None:
            return f"{run.title}: {kept.label}", kept.image
        return run.title, run.iterates[-1].image if run.iterates else otherwise

    def stop(self) -> None:
        """Stop the restoration that is looked at."""
        if self.watched is not None:
            self.watched.stop()

    def go_on(self) -> None:
        """Go on with it."""
        if self.watched is not None:
            self.queue.add(self.watched)

    def close(self) -> None:
        """Stop all, for the page is gone."""
        for run in self.runs:
            run.stop()


def _told(run: Run, title: str, image: Tensor) -> tuple[str, Tensor]:
    psnr = run.job.psnr(image)
    told = f"{title}, {psnr:.2f} dB" if psnr is not None and title != CLEAN else title
    return told, run.job.task.in_unit_range(image, run.job.reference).clamp(0, 1)


def _copy(path: Path, what: str, folder: Path) -> str:
    """Copy a file, and say its name there; the image keeps its own, for the command."""
    name = f"image-{path.name}" if path.stem in ("mask", "psf", "reference", "restored") or path.name[0] == "-" else path.name
    name = name if what == "image" else what + path.suffix
    shutil.copyfile(path, folder / name)
    return name

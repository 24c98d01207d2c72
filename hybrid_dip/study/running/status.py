"""Where a study stands, from its folder alone."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hybrid_dip.errors import SettingsError, StorageError
from hybrid_dip.images.atomic import write_text
from hybrid_dip.study.describe.plan import Plan
from hybrid_dip.study.running.progress import Progress
from hybrid_dip.study.running.store import Store

PLAN = "plan.json"


@dataclass(frozen=True)
class Status:
    """Where a study stands.

    Attributes:
        name: Name of the study.
        total: Number of runs in the plan that was last run in this folder.
        done: Number of those that are finished well.
        failed: Run -> error.
        running: Worker -> how far its run is.
    """

    name: str
    total: int
    done: int
    failed: Mapping[str, str]
    running: Mapping[str, Progress]

    @property
    def left(self) -> int:
        """Number of runs that are neither finished nor going on."""
        return self.total - self.done - len(self.failed) - len(self.running)

    def as_json(self) -> dict[str, Any]:
        """The status as plain data."""
        return {**asdict(self), "left": self.left}

    def sentences(self) -> str:
        """The status in words."""
        lines = [
            f"{self.name}: {self.done} of {self.total} runs done, {len(self.failed)} failed, {len(self.running)} going on, "
            f"{self.left} left."
        ]
        lines += [
            f"  {worker}: {progress.run}, step {progress.step} of {progress.steps}" for worker, progress in self.running.items()
        ]
        lines += [f"  failed: {label}: {error}" for label, error in self.failed.items()]
        return "\n".join(lines)


def save_plan(plan: Plan, store: Store, images: str | None = None) -> None:
    """Write down which runs a study has, for :func:`status`, and how it was run, for a report.

    Args:
        plan: The study.
        store: Its folder.
        images: What took the place of the study's own images, or None.

    Raises:
        StorageError: It cannot be written.
    """
    first = plan.runs[0]
    content = {
        "name": plan.study.name,
        "file": plan.study.path.name,
        "options": {"images": images, "device": first.device, "threads": first.threads, "version": first.version},
        "runs": {key: run.label for key, run in plan.unique.items()},
    }
    with store.writing():
        store.path.mkdir(parents=True, exist_ok=True)
        write_text(store.path / PLAN, json.dumps(content, indent=1) + "\n")


def last_options(store: Store) -> dict[str, Any]:
    """The options with which the study in a folder was last run.

    Args:
        store: The folder.

    Returns:
        Arguments of :func:`hybrid_dip.study.describe.plan.plan_study`: images, device, threads and version; none where the
        folder does not tell.

    Raises:
        StorageError: The file that says so is damaged.
    """
    options: dict[str, Any] = _saved_plan(store)["options"] if (store.path / PLAN).is_file() else {}
    return options


def _saved_plan(store: Store) -> dict[str, Any]:
    path = store.path / PLAN
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        _ = content["options"], content["runs"], content["name"]
    except (ValueError, TypeError, KeyError):
        raise StorageError(f"{path} is damaged; remove it and give `hybrid-dip study run` again, which writes it.") from None
    return content


def status(store: Store) -> Status:
    """Where the study in a folder stands.

    Args:
        store: The folder.

    Returns:
        The status.

    Raises:
        SettingsError: No study was run there.
    """
    path = store.path / PLAN
    if not path.is_file():
        raise SettingsError(f"{store.path} is not a study's folder: it has no {PLAN}, which `hybrid-dip study run` writes.")
    content = _saved_plan(store)
    runs: dict[str, str] = content["runs"]
    records = store.records(runs)
    failed = {runs[key]: record["error"] for key, record in records.items() if record["error"]}
    running = {progress.worker: progress for key, progress in store.in_progress().items() if key in runs and key not in records}
    return Status(content["name"], len(runs), len(records) - len(failed), failed, running)

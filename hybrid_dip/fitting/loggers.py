"""An observer that logs a fit where people look at fits: for TensorBoard, to Weights & Biases, or by a writer of your own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from hybrid_dip.contracts import Step, Task
from hybrid_dip.errors import SettingsError, shorten_error
from hybrid_dip.fitting.observers import FewPictures, ReferenceWatch
from hybrid_dip.fitting.resumption import Stateful

SIDE = 1024
"""Longer side in pixels that logged pictures are shrunk to."""


class Writer(Protocol):
    """A place that numbers and pictures are logged to; with ``state_dict`` and ``load_state_dict``, part of checkpoints."""

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Log the numbers of a step. The first step is not 0 where a fit is resumed."""
        ...

    def picture(self, step: int, picture: Tensor) -> None:
        """Log a picture, (1, C, H, W) of bytes with 1 or 3 channels, of a step whose numbers are logged already."""
        ...

    def close(self) -> None:
        """The fit is over."""
        ...


class Log:
    """An observer that logs the numbers of each logged step, and a few pictures of the candidate.

    ``restore`` closes it with its fit. Around the bare loop it is a context: ``with Log(...) as log:``.

    Args:
        writer: Where to log: :class:`TensorBoard`, :class:`Wandb`, or one of your own.
        task: What is fitted.
        reference: The clean image, which the PSNR is measured against; or None.
    """

    def __init__(self, writer: Writer, task: Task, reference: Tensor | None = None):
        self.writer = writer
        self._watch = None if reference is None else ReferenceWatch(task, reference)
        self._pictures = FewPictures(writer.picture, task, SIDE)

    def __call__(self, step: Step) -> None:
        """Look at a step."""
        if step.logged:
            values = numbers_of(step)
            if self._watch is not None:
                self._watch(step)
                values["psnr"] = self._watch.psnr[step.index]
            self.writer.numbers(step.index, values)
            self._pictures(step)

    def close(self) -> None:
        """Log the last picture, and close the log."""
        self._pictures.close()
        self.writer.close()

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed fit needs to go on in the same log."""
        return dict(self.writer.state_dict()) if isinstance(self.writer, Stateful) else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        if isinstance(self.writer, Stateful):
            self.writer.load_state_dict(state)


def numbers_of(step: Step) -> dict[str, float]:
    """The numbers of a step, by the names that they are logged under. Waits for the device.

    Args:
        step: A logged step.

    Returns:
        "loss" and "learning_rate"; for the fidelity and each term "value/NAME", unweighted, and "gradient/NAME", how hard it
        pulls; "weight/NAME" for each term.
    """
    values = {"loss": step.losses["total"]}
    for name, norm in step.gradient_norms.items():
        values |= {f"value/{name}": step.losses[name], f"gradient/{name}": norm}
    values |= {f"weight/{name}": weight for name, weight in step.weights.items()}
    return {**{name: float(value) for name, value in values.items()}, "learning_rate": step.learning_rate}


class TensorBoard:
    """Writes event files for TensorBoard (the extra ``tensorboard``).

    Args:
        folder: Folder of one fit; a resumed fit goes on in it. TensorBoard shows each sub-folder of its ``--logdir`` as a run.

    Raises:
        SettingsError: TensorBoard is not installed.
    """

    def __init__(self, folder: str | Path):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise SettingsError("A log for TensorBoard needs tensorboard: pip install 'hybrid-dip[tensorboard]'.") from None
        self._make, self.folder = SummaryWriter, Path(folder)
        self._writer: Any = None

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Log the numbers of a step; they are on the disk afterwards, because a fit that is killed goes on in its log."""
        if self._writer is None:  # what an earlier part has logged from this step on is no longer shown
            self._writer = self._make(str(self.folder), purge_step=step)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def picture(self, step: int, picture: Tensor) -> None:
        """Log a picture."""
        self._writer.add_image("image", picture[0], step)
        self._writer.flush()

    def close(self) -> None:
        """Close the files."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class Wandb:
    """Logs to Weights & Biases (the extra ``wandb``), for each fit to a run of its own.

    Where a run of yours is going on, it is used and stays open; the names of all numbers then begin with ``name/``.

    Args:
        name: Name of the fit and of its run.
        **settings: What else ``wandb.init`` takes, such as ``project``, ``group`` and ``config``.

    Raises:
        SettingsError: Weights & Biases is not installed.
    """

    def __init__(self, name: str, **settings: Any):
        try:
            import wandb
        except ImportError:
            raise SettingsError("A log for Weights & Biases needs wandb: pip install 'hybrid-dip[wandb]'.") from None
        self.name, self.settings = name, settings
        self._wandb: Any = wandb
        self._run: Any = None
        self._id, self._before = "", ""

    def _begin(self) -> None:
        if self._wandb.run is not None:
            self._run, self._before = self._wandb.run, f"{self.name}/"
        else:
            again = {"id": self._id, "resume": "allow"} if self._id else {}
            try:
                # Not the run of the process, so that others, in threads or of the user, are none of its business.
                self._run = self._wandb.init(name=self.name, reinit="create_new", **again, **self.settings)
            except self._wandb.Error as error:
                raise SettingsError(
                    f"Weights & Biases cannot begin a run ({shorten_error(error)}); with WANDB_MODE=offline in the environment "
                    "it logs on this machine alone."
                ) from None
            self._id = self._run.id
        # Its own steps may not go back, as those of several fits do: "step" is a number like the others, and their axis.
        self._run.define_metric(f"{self._before}*", step_metric=f"{self._before}step")

    def _log(self, step: int, values: Mapping[str, Any]) -> None:
        self._run.log({self._before + name: value for name, value in {"step": step, **values}.items()})

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Log the numbers of a step.

        Raises:
            SettingsError: The run cannot begin.
        """
        if self._run is None:
            self._begin()
        self._log(step, values)

    def picture(self, step: int, picture: Tensor) -> None:
        """Log a picture."""
        self._log(step, {"image": self._wandb.Image(picture[0].permute(1, 2, 0).numpy())})

    def close(self) -> None:
        """Finish the run, unless it is yours."""
        if self._run is not None and not self._before:
            self._run.finish()
        self._run = None

    def state_dict(self) -> dict[str, Any]:
        """Which run it is."""
        return {"id": self._id}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on in the run of :meth:`state_dict`."""
        self._id = state["id"]

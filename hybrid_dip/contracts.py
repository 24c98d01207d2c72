"""The protocols and frozen records that the rest of the package is written in.

    x* = f_theta*(z),   theta* = argmin_theta  E(A f_theta(z); y) + sum_k lambda_k(t) R_k(f_theta(z))

A :class:`Task` holds everything about ``A``, ``E`` and ``y``. A :class:`Step` is what one iteration of the loop shows to
stopping rules and observers. A :class:`Fit` is what comes out. None of them holds the ground truth: that lives in a
:class:`Case`, which only degradations, studies and metrics touch. ``lambda_k R_k`` is a
:class:`hybrid_dip.regularisers.terms.Term`.
"""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybrid_dip.errors import SettingsError, check_function, describe_given, finite_number

SMALLEST_SIDE = 16
"""Images below 16 x 16 pixels carry too little structure for any of the networks."""

LEAST_SIGMA = 2 / 255
"""Balanced weights assume at least this noise level: no photograph is cleaner than its own quantisation."""


ALIKE = 0.1
"""Noise that is less correlated is taken for independent."""


class Record:
    """Base of dataclasses that hold images: they are written in one line, with the shapes of tensors."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{one.name}={_brief(getattr(self, one.name))}" for one in fields(self))  # type: ignore[arg-type]
        return f"{type(self).__name__}({shown})"


def _brief(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"tensor{tuple(value.shape)}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str | int | None):
        return repr(value) if len(repr(value)) < 60 else f"{repr(value)[:60]}..."
    if isinstance(value, Mapping | tuple | list):
        plain = len(value) < 6 and all(isinstance(one, str | int | float) for one in value) and not isinstance(value, Mapping)
        return repr(value) if plain else f"<{len(value)} entries>"
    return str(getattr(value, "__name__", type(value).__name__))


class Fidelity(Protocol):
    """E(prediction; observation): how far A f_theta(z) is from y, a mean over all entries, measured or not."""

    def __call__(self, prediction: Tensor, observation: Tensor, weight: Tensor | None, /) -> Tensor:
        """Return a scalar; ``weight`` is 1 where an entry was measured, 0 elsewhere."""
        ...


def clamp(x: Tensor, task: "Task") -> Tensor:
    """Clamp an image to the task's range of values, and do nothing else to finish it."""
    return x if task.value_range is None else x.clamp(*task.value_range)


@dataclass(frozen=True, eq=False, repr=False)
class Task(Record):
    """One degraded image and how it came about: y = A x + noise. It never holds x.

    Attributes:
        observation: y, of the shape that ``forward`` returns; for images (1, C, h, w) in [0, 1] plus noise.
        shape: The shape (1, C, H, W) of the image to restore.
        forward: A, a differentiable callable x -> prediction of y; an ``nn.Module`` moves along with the task.
        fidelity: E.
        weight: 1 where an entry of y was measured, 0 elsewhere, of a shape that broadcasts to y; None: 1 everywhere.
        noise_sigma: Standard deviation of Gaussian noise on y, in units of [0, 1]; None where unknown or not Gaussian.
        precision: noise_sigma^2 over the variance of an entry's own noise, of a shape that broadcasts to y: how much the entry
            counts. None where the noise is even.
        correlation: Between the noise of entries 1, 2, ... pixels apart; () where it is white.
        latent: A guide image to be used as z, (1, C', H, W), where the task brings one (flash/no-flash).
        finisher: (x, task) -> the finished image: clamped, known pixels pasted back.
        value_range: Least and greatest value that the image can have; None where any are possible, such as for physics data.
            Networks end in a sigmoid only where it is (0, 1).
        name: The kind of task, by which presets choose a recipe.
    """

    observation: Tensor
    shape: tuple[int, int, int, int]
    forward: Callable[[Tensor], Tensor]
    fidelity: Fidelity
    weight: Tensor | None = None
    noise_sigma: float | None = None
    precision: Tensor | None = None
    correlation: tuple[float, ...] = ()
    latent: Tensor | None = None
    finisher: Callable[[Tensor, "Task"], Tensor] = clamp
    name: str = "linear"
    value_range: tuple[float, float] | None = (0.0, 1.0)

    def __post_init__(self) -> None:
        if len(self.shape) != 4 or self.shape[0] != 1:
            raise SettingsError(f"A task restores one image of shape (1, C, H, W), got {tuple(self.shape)}.")
        check_function("The forward operator", self.forward, "a function of an image")
        check_function("The fidelity", self.fidelity, "a function such as hd.fidelity.gaussian")
        height, width = self.shape[-2:]
        if min(height, width) < SMALLEST_SIDE:
            raise SettingsError(
                f"The image to restore is {width}x{height}; at least {SMALLEST_SIDE}x{SMALLEST_SIDE} pixels are needed."
            )
        if self.noise_sigma is not None:
            object.__setattr__(self, "noise_sigma", finite_number("The noise level", self.noise_sigma))
        object.__setattr__(self, "value_range", _checked_range(self.value_range))

    @property
    def measured(self) -> Tensor:
        """Number of entries of y that were measured, as a tensor () on the device."""
        if self.weight is None:
            return torch.tensor(float(self.observation.numel()), device=self.observation.device)
        return self.weight.expand_as(self.observation).sum()

    @property
    def reach(self) -> int:
        """Pixels from which on the noise of two entries is nearly independent: 1 where it is white."""
        return next((lag for lag, alike in enumerate(self.correlation, 1) if abs(alike) < ALIKE), len(self.correlation) + 1)

    @property
    def deviation(self) -> Tensor:
        """Standard deviation of the noise on y, (), or of y's shape where it is uneven; 0 where it is unknown."""
        sigma = torch.tensor(self.noise_sigma or 0.0, device=self.observation.device)
        return sigma if self.precision is None else sigma / self.precision.expand_as(self.observation).sqrt()

    def misfit(self, prediction: Tensor) -> Tensor:
        """E of a prediction of y, each entry by its precision; ()."""
        if self.precision is None:
            return self.fidelity(prediction, self.observation, self.weight)
        weight = self.precision if self.weight is None else self.weight * self.precision
        return self.fidelity(prediction, self.observation, weight.expand_as(self.observation))

    def residual(self, x: Tensor) -> Tensor:
        """A x - y, of the shape of y: see :meth:`even`."""
        return self.even(self.forward(x) - self.observation)

    def even(self, difference: Tensor) -> Tensor:
        """A difference to y: zero where nothing was measured, and scaled so that its noise is of one deviation, noise_sigma."""
        if self.weight is not None:
            difference = difference * self.weight
        return difference if self.precision is None else difference * self.precision.sqrt()

    def finish(self, x: Tensor) -> Tensor:
        """The finished image for a network output: clamped, known pixels pasted back where the task does that."""
        return self.finisher(x, self)

    def in_unit_range(self, x: Tensor, like: Tensor | None = None) -> Tensor:
        """An image as metrics and pictures take it: 0 at the least value that it can have, 1 at the greatest.

        Args:
            x: A finished image, of any shape.
            like: The clean image, whose least and greatest values are taken where the task has no range; None: those of x.

        Returns:
            (x - least) / (greatest - least); x as it is where the range is (0, 1).
        """
        if self.value_range == (0, 1):
            return x
        ends = (x if like is None else like).aminmax() if self.value_range is None else self.value_range
        low, high = float(ends[0]), float(ends[1])
        return (x - low) / (high - low) if high > low else x - low

    def to(self, device: torch.device | str) -> "Task":
        """A copy whose tensors, and the operator where it is a module, live on ``device``."""
        forward = self.forward
        if isinstance(forward, nn.Module):
            forward = copy.deepcopy(forward).to(device)
        tensors = {"observation": self.observation, "weight": self.weight, "precision": self.precision, "latent": self.latent}
        return replace(self, forward=forward, **{name: _moved(one, device) for name, one in tensors.items()})  # type: ignore[arg-type]

    def split(
        self, share: float = 0.1, folds: int | None = None, *, fold: int = 0, seed: int = 0
    ) -> tuple["Task", "Validation"]:
        """Hold measured entries back, to judge a fit by data that it has not seen.

        The held-out entries are zeroed in the observation and in the weights of the task to fit. So they reach neither the fit
        nor anything made from that task (bound terms, ``finish``). All channels of a pixel are held out together. The noise
        level stays: it belongs to the measurement as a whole. Where the noise of neighbours is alike, squares of pixels are
        held out, and only their middles judge: their noise is independent of all that is fitted.

        Args:
            share: Fraction of the measured pixels to hold out, in (0, 1); not used with ``folds``.
            folds: Number of disjoint parts that the measured pixels are divided into; the part ``fold`` is held out.
            fold: Index of that part, from 0.
            seed: Seed of the choice of pixels; the caller's random state is not touched.

        Returns:
            The task to fit, and the validation that scores an image by the held-out entries.

        Raises:
            SettingsError: The share or the folds leave nothing to fit or nothing to score.
        """
        count = folds or 1
        if not (0 < share < 1) or count < 1 or not 0 <= fold < count or folds == 1:
            raise SettingsError(
                f"Held-out data needs a share in (0, 1), or at least 2 folds, and a fold below their number; "
                f"got share={share}, folds={folds}, fold={fold}."
            )
        weight = torch.ones_like(self.observation) if self.weight is None else self.weight.expand_as(self.observation)
        plane = weight.amax(1, keepdim=True) if weight.ndim == 4 else weight
        measured = plane.cpu().flatten().nonzero().squeeze(1)
        order = measured[torch.randperm(len(measured), generator=torch.Generator().manual_seed(seed))]
        around = self.reach - 1
        if around:
            share = share / (2 * around + 1) ** 2
        chosen = order[fold::count] if folds else order[: round(share * len(order))]
        if len(chosen) == 0 or len(chosen) == len(order):
            raise SettingsError(f"Holding out {len(chosen)} of {len(order)} measured pixels leaves nothing to work with.")
        judging = torch.zeros(plane.numel())
        judging[chosen] = 1
        judging = judging.reshape(plane.shape).to(weight)
        held_plane = F.max_pool2d(judging, 2 * around + 1, 1, around) if around else judging
        held = (held_plane > 0).expand_as(weight) & (weight > 0)
        if bool(held.sum() == (weight > 0).sum()):
            raise SettingsError("Holding out pixels with all around them leaves nothing to fit: lower the share.")
        zero = torch.zeros((), device=weight.device)
        fitted = replace(self, observation=torch.where(held, zero, self.observation), weight=torch.where(held, zero, weight))
        return fitted, Validation(replace(self, weight=judging.expand_as(weight) * (weight > 0)))


def _checked_range(ends: Any) -> tuple[float, float] | None:
    if ends is None:
        return None
    if isinstance(ends, tuple | list) and len(ends) == 2 and all(isinstance(end, int | float) for end in ends):
        low, high = float(ends[0]), float(ends[1])
        if -math.inf < low < high < math.inf:
            return low, high
    raise SettingsError(f"A value range is (least, greatest), such as (0, 1), or None for any values; got {ends!r}.")


def _moved(x: Tensor | None, device: torch.device | str) -> Tensor | None:
    """On the device; outside ``torch.inference_mode`` a copy of what was made inside, which could not be differentiated."""
    if x is None:
        return None
    return x.to(device).clone() if x.is_inference() and not torch.is_inference_mode_enabled() else x.to(device)


def check_task(task: object) -> None:
    """Refuse what is no task.

    Args:
        task: What was given for one.

    Raises:
        SettingsError: It is something else, such as an image.
    """
    if not isinstance(task, Task):
        raise SettingsError(f"A task such as hd.tasks.denoise(image, sigma=25 / 255) was expected, got {describe_given(task)}.")


def check_white(task: Task, what: str) -> None:
    """Refuse a task whose noise is alike between neighbours, for what needs independent noise.

    Args:
        task: The task.
        what: What needs it, to begin the sentence.

    Raises:
        SettingsError: It is not white.
    """
    if task.reach > 1:
        raise SettingsError(
            f"{what} needs noise that is independent between pixels, and this image's is alike up to {task.reach - 1} pixels "
            "apart: choose held-out, or give sigma to have it taken for white."
        )


@dataclass(frozen=True, eq=False, repr=False)
class Validation(Record):
    """Held-out entries of a task's observation, to score images by; made by :meth:`Task.split`."""

    task: Task

    @property
    def held_out(self) -> Tensor:
        """1 where an entry judges, 0 elsewhere; of the shape of y."""
        assert self.task.weight is not None
        return self.task.weight

    def score(self, x: Tensor) -> Tensor:
        """E as a mean over the held-out entries; ``x`` is a network output before ``finish``."""
        prediction = self.task.forward(x)
        seen = replace(self.task, observation=torch.where(self.held_out > 0, self.task.observation, prediction.detach()))
        return seen.misfit(prediction) * (self.held_out.numel() / self.held_out.sum())

    def error(self, x: Tensor) -> float:
        """Root mean squared error over the held-out entries, in grey levels of 255; ``x`` as for :meth:`score`."""
        difference = (self.task.forward(x) - self.task.observation) * self.held_out
        return 255 * math.sqrt(float(difference.square().sum() / self.held_out.sum()))


@dataclass(frozen=True)
class MeasurementProtocol:
    """How a published figure was measured; part of every :class:`Case`.

    Attributes:
        clipped: Noise was clipped to [0, 1], as the original does.
        missing: "pixel" where whole pixels are missing, "entry" where single channels are, "" where none is.
        channel: The channels that PSNR is taken of, "rgb" or "y".
        border: Pixels left out along each side before PSNR is taken.
        lowres: The filter that made the small image, in words; "" for other tasks.
    """

    clipped: bool = False
    missing: str = ""
    channel: str = "rgb"
    border: int = 0
    lowres: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class Case(Record):
    """A task made from a clean image, together with that image. Studies and metrics see it, a fit never does.

    Attributes:
        task: The task that is given to the fit.
        reference: The clean image, (1, C, H, W) in [0, 1].
        name: Name of the degradation, and of the image where it has one.
        protocol: How it was degraded and how it is to be measured.
    """

    task: Task
    reference: Tensor
    name: str = ""
    protocol: MeasurementProtocol = MeasurementProtocol()


@dataclass(frozen=True, eq=False, repr=False)
class Step(Record):
    """One iteration as stopping rules and observers see it. All tensors stay on the device.

    To turn one of them into a number forces a synchronisation; do so at ``logged`` steps only.

    Attributes:
        index: Number of the step, from 0.
        image: The network's output at this step, (1, C, H, W), jitter included, finite.
        average: Exponential average of the outputs, or None where the fit keeps none.
        residual: A image - y, zero where nothing was measured.
        losses: "total", "fidelity" and the unweighted value of each term; ().
        gradient_norms: How hard the fidelity and each term pull, ||lambda dR/dx||; for a term of the network
            ||lambda dR/dtheta|| over the parameters that are optimised; ().
        weights: lambda of each term at this step; ().
        learning_rate: The rate at this step.
        logged: Whether this step goes into the history.
    """

    index: int
    image: Tensor
    average: Tensor | None
    residual: Tensor
    losses: Mapping[str, Tensor]
    gradient_norms: Mapping[str, Tensor]
    weights: Mapping[str, Tensor]
    learning_rate: float
    logged: bool

    @property
    def candidate(self) -> Tensor:
        """The image that would be kept at this step: the average where the fit keeps one, else the output."""
        return self.image if self.average is None else self.average


@dataclass(frozen=True, eq=False, repr=False)
class Verdict(Record):
    """What a stopping rule says about a step: two booleans on the device."""

    keep: Tensor
    stop: Tensor


State = dict[str, Tensor]


@runtime_checkable
class Rule(Protocol):
    """When to stop, and which iterate to keep. The rule is its configuration; the state holds what it remembers."""

    @property
    def reason(self) -> str:
        """The reason that is reported when this rule ends a fit."""
        ...

    def start(self, task: Task) -> State:
        """The state before the first step.

        Raises:
            SettingsError: The rule does not apply to this task.
        """
        ...

    def update(self, state: State, step: Step) -> tuple[State, Verdict]:
        """Look at a step and return the next state. The state that was passed in may be reused."""
        ...


Observer = Callable[[Step], None]
"""A function that sees every step; with ``state_dict`` and ``load_state_dict`` it is part of checkpoints."""


@dataclass(frozen=True, eq=False, repr=False)
class Fit(Record):
    """The result of a fit.

    Attributes:
        image: The iterate that the rule kept, before ``finish``; (1, C, H, W), finite.
        last: The last finite iterate, before ``finish``.
        kept_at: Index of the step that ``image`` is from.
        steps: Number of steps taken.
        reason: Why it ended: "max_steps", a rule's reason, "time budget", "interrupted" or "not finite".
        history: A row for each logged step: step, loss, fidelity, and for each term its loss, gradient norm and weight.
        state: The final values of the network and, where it was optimised, of the latent.
        notes: What happened on the way, in sentences: fallbacks, lowered learning rates.
        seconds: Time in the loop, over all resumed parts.
        extras: What a solver adds, such as the deviation of a posterior.
    """

    image: Tensor
    last: Tensor
    kept_at: int
    steps: int
    reason: str
    history: tuple[Mapping[str, float], ...]
    state: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    extras: Mapping[str, Any] = field(default_factory=dict)

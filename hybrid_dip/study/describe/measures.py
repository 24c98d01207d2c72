"""What a study measures of a finished fit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from hybrid_dip.errors import SettingsError
from hybrid_dip.problem.operators import border_of
from hybrid_dip.recipes import spec, spec_files
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.study.describe.subjects import Subject

RAW = "_raw"
"""A metric with this ending takes the network's output, before known pixels are pasted back and values clamped."""

BEST = "psnr_best"
"""The best PSNR of the finished image at any logged step: an oracle, which no stopping rule can know."""


@dataclass(frozen=True, eq=False)
class Outputs:
    """What came out of a fit, and what it is measured by.

    Attributes:
        image: The finished image, (1, C, H, W).
        raw: The network's output, (1, C, H, W).
        subject: What was fitted, with the clean image or held-out data.
        along: PSNR of the finished image at each logged step; empty without a clean image, or where it was fitted in tiles.
    """

    image: Tensor
    raw: Tensor
    subject: Subject
    along: Sequence[float]

    def truth(self, metric: str) -> Tensor:
        """The clean image, for a metric that needs it."""
        if self.subject.reference is None:
            raise SettingsError(f"'{metric}' needs a clean image: name one as the image's 'reference', or measure 'held_out'.")
        return self.subject.reference


@dataclass(frozen=True)
class Measure:
    """One column of the results.

    Attributes:
        column: The column's name.
        identity: Name and content of the metric, so that a value of another one is not taken for it.
        of: Function of the outputs that gives the value.
    """

    column: str
    identity: str
    of: Callable[[Outputs], float]


HELD_OUT = "held_out"
"""The root mean squared error on the measurements that no fit saw, in grey levels of 255; it needs no clean image."""


def _best(outputs: Outputs) -> float:
    outputs.truth(BEST)
    if not outputs.along:
        raise SettingsError(f"'{BEST}' is for fits of the whole image; in tiles there is no step of all of it.")
    return max(outputs.along)


def _held_out(outputs: Outputs) -> float:
    if outputs.subject.validation is None:
        raise SettingsError(f"'{HELD_OUT}' needs measurements that no fit sees: give the task a share of them, held_out = 0.1.")
    return outputs.subject.validation.error(outputs.raw)


_OWN: dict[str, Callable[[Outputs], float]] = {BEST: _best, HELD_OUT: _held_out}


def measure(text: str) -> Measure:
    """A metric as a study file names it.

    Args:
        text: A name of ``hybrid-dip list metrics`` or a SPEC, with "_raw" where it takes the network's output; or
            "psnr_best", the oracle; or "held_out".

    Returns:
        The measure.

    Raises:
        SettingsError: An unknown name.
    """
    if text in _OWN:
        return Measure(text, text, _OWN[text])
    plain = text.removesuffix(RAW)
    of_raw = plain != text
    function: Callable[..., float] = spec.build(plain, "metrics", catalogue())
    parsed = spec.parse(plain)
    has_border = parsed.label == "psnr_y" and "border" not in parsed.options
    options = ",".join(f"{name}={value}" for name, value in parsed.options.items())
    column = spec.label(parsed, "metrics", catalogue()) + (f":{options}" if options else "") + (RAW if of_raw else "")

    def of(outputs: Outputs) -> float:
        truth, task = outputs.truth(column), outputs.subject.task
        border = border_of(task) if has_border else None
        compared = (task.in_unit_range(x, truth) for x in (outputs.raw if of_raw else outputs.image, truth))
        # The user's own function gets copies.
        return float(function(*(x.clone() for x in compared), **({} if border is None else {"border": border})))

    about = "without the task's border" if has_border else ""
    identity = " ".join(filter(None, [column, spec_files.fingerprint(plain, "metrics", catalogue()), about]))
    return Measure(column, identity, of)


@dataclass(frozen=True)
class Measurement:
    """What one measure gave.

    Attributes:
        measure: What was measured.
        value: The value; NaN where the measure failed.
        error: Why it failed; "" where it did not.
    """

    measure: Measure
    value: float
    error: str = ""


def measure_all(texts: Sequence[str], outputs: Outputs) -> list[Measurement]:
    """Take all metrics; one that fails does not lose the fit.

    Args:
        texts: Metrics as in the study file.
        outputs: What came out of the fit.

    Returns:
        One measurement for each text.
    """
    measurements = []
    for one in map(measure, texts):
        try:
            measurements.append(Measurement(one, one.of(outputs)))
        except Exception as error:  # a metric may be the user's own
            message = f"'{one.column}' cannot be measured: {type(error).__name__}: {' '.join(str(error).split())}"
            measurements.append(Measurement(one, float("nan"), message))
    return measurements

"""The priors that a user adds: ``0.1 * TV() + 0.01 * TGV()`` is a sum of terms lambda_k(t) R_k."""

import inspect
from abc import ABCMeta
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, SupportsIndex, cast

from torch import Tensor, nn

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError, describe_error, describe_given, finite_number

RESERVED_NAMES = ("loss", "total", "fidelity", "step", "seed", "psnr", "seconds", "learning_rate")
"""Columns of a history that no term may be named after; such a term gets a number."""


class Regulariser(Protocol):
    """R(x): (1, C, H, W) -> (); unweighted, a mean per pixel, with a finite gradient everywhere.

    A plain function is one. It may also offer ``bind(task) -> Regulariser`` (called once before a fit), ``refresh(step, x)``
    (called once a step, before the evaluation), and ``state_dict``/``load_state_dict`` (so that a resumed fit goes on to the
    same floats).
    """

    def __call__(self, x: Tensor, /) -> Tensor:
        """Evaluate the energy of an image."""
        ...


class GeneratorTerm(Protocol):
    """What R(x) cannot say: an energy of the network itself, such as weight decay."""

    def __call__(self, network: nn.Module, latent: Tensor, x: Tensor, /) -> Tensor:
        """Evaluate the energy of ``network`` at ``latent``, whose output is ``x``."""
        ...


@dataclass(frozen=True)
class Moment:
    """What a weight may depend on.

    Attributes:
        step: Index of the current step, from 0.
        steps: Steps that the fit takes at most.
        gradient_norm: Mean of ||dR/dx|| over the first steps, for a term of the network of ||dR/dtheta||, frozen after them; ()
            on the device.
        noise_gradient: ||dE/dx|| of a residual as large as the noise, see :mod:`hybrid_dip.problem.noise_gradient`.
    """

    step: int
    steps: int
    gradient_norm: Tensor
    noise_gradient: float

    @property
    def progress(self) -> float:
        """How far the fit has come, from 0 at the first step to 1 at the last."""
        return self.step / max(1, self.steps - 1)


class Schedule(Protocol):
    """lambda(t): a weight, or a factor of the learning rate, that changes during the fit."""

    def __call__(self, moment: Moment, /) -> float | Tensor:
        """Return the value at this moment."""
        ...


@dataclass(frozen=True)
class Term:
    """lambda R: one regulariser with its weight. ``0.1 * TV()`` makes one; terms add up to :class:`Terms`.

    Attributes:
        regulariser: Any callable x -> scalar, or (network, latent, x) -> scalar.
        weight: A number, at least 0, or a schedule.
        name: Its name in the history; by default that of the function or the class.

    Raises:
        SettingsError: The weight is negative or not finite, or the regulariser is not callable.
    """

    regulariser: Regulariser | GeneratorTerm
    weight: float | Schedule = 1.0
    name: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.regulariser, type):
            object.__setattr__(self, "regulariser", _made(self.regulariser))
        if not callable(self.regulariser):
            raise SettingsError(
                f"A term needs a callable x -> scalar, such as hd.TV() or a function, got {describe_given(self.regulariser)}."
            )
        if not callable(self.weight):
            object.__setattr__(self, "weight", finite_number("The weight of a term", self.weight))
        if not self.name:
            fallback = type(self.regulariser).__name__
            object.__setattr__(self, "name", getattr(self.regulariser, "__name__", fallback).lower())

    @property
    def acts_on_network(self) -> bool:
        """True where the regulariser takes (network, latent, x) rather than x."""
        positional = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
        call = self.regulariser.forward if isinstance(self.regulariser, nn.Module) else self.regulariser
        try:
            parameters = inspect.signature(call).parameters.values()
        except ValueError:  # a builtin, such as torch.relu, does not say; it takes an image
            return False
        return sum(p.kind in positional and p.default is p.empty for p in parameters) == 3

    @property
    def of_whole_image(self) -> bool:
        """True where the regulariser says (``of_whole_image``) that it holds an image as large as the one to restore."""
        return bool(getattr(self.regulariser, "of_whole_image", False))

    def bind(self, task: Task) -> "Term":
        """Let the regulariser prepare itself for a task, if it has a method ``bind``; it sees the task to fit only."""
        bind = getattr(self.regulariser, "bind", None)
        if not callable(bind):
            return self
        bound = bind(task)
        if not callable(bound):
            raise SettingsError(
                f"The regulariser '{self.name}' is bound to {type(bound).__name__}: bind(task) must return a regulariser."
            )
        return replace(self, regulariser=bound)

    def __add__(self, other: "Term | Terms") -> "Terms":
        return Terms((self,)) + other

    def __radd__(self, other: object) -> "Terms":  # sum() begins with 0
        return Terms() + other + self

    def __rmul__(self, other: object) -> "Term":
        raise _algebra_error(f"{other} * a term that has a weight")

    __mul__ = __rmul__


def _algebra_error(got: str) -> TypeError:
    return TypeError(f"Give each term a weight of its own, the weight first, as in 0.1 * TV() + 0.01 * TGV(); got {got}.")


SomeTerms = Term | Regulariser | Sequence[Term | Regulariser]
"""What a user may pass as regularisers: one or several, each with or without a weight."""


class Terms(tuple[Term, ...]):
    """Several terms: ``0.1 * TV() + 0.01 * TGV()``. A tuple whose ``+`` also takes a single term."""

    def __add__(self, other: object) -> "Terms":
        more = () if isinstance(other, int) and other == 0 else (other,) if isinstance(other, Term) else other
        if not isinstance(more, tuple | list) or not all(isinstance(term, Term) for term in more):
            raise _algebra_error(f"+ {type(other).__name__} without a weight")
        return Terms((*self, *more))

    def __radd__(self, other: object) -> "Terms":  # sum() begins with 0
        return Terms() + other + self

    def __mul__(self, other: SupportsIndex) -> "Terms":
        raise _algebra_error("a sum * a number")

    def __rmul__(self, other: SupportsIndex) -> "Terms":  # a tuple's own operator would repeat them
        raise _algebra_error("a number * a sum")


def _made(prior: type) -> Any:
    """An object of a class that was named without brackets."""
    try:
        return prior()
    except TypeError as error:
        raise SettingsError(
            f"{prior.__name__} is a class whose objects are regularisers, but {describe_error(error)}."
        ) from None


def _flat(given: Any) -> Iterator[Any]:
    """The terms and regularisers of lists within lists; a callable is one prior, even if it can be iterated over."""
    if given is None:
        return
    if isinstance(given, Term) or callable(given):
        yield given
    elif isinstance(given, str | Tensor | Mapping) or not isinstance(given, Iterable):
        raise SettingsError(
            f"Regularisers are terms such as 0.05 * hd.TV(), functions, or a list of these; got {describe_given(given)}."
        )
    else:
        for one in given:
            yield from _flat(one)


def as_terms(terms: "Term | Regulariser | Iterable[Term | Regulariser] | None") -> Terms:
    """Turn what a user may pass as regularisers into terms with distinct names.

    Args:
        terms: A term, a regulariser without a weight (1 is taken), any number of these, or None.

    Returns:
        The terms; a name that occurs twice gets a number.

    Raises:
        SettingsError: It is something else, such as a text.
    """
    seen = dict.fromkeys(RESERVED_NAMES, 1)
    unique = []
    for item in _flat(terms):
        term = item if isinstance(item, Term) else Term(cast(Regulariser, item))
        seen[term.name] = seen.get(term.name, 0) + 1
        unique.append(term if seen[term.name] == 1 else replace(term, name=f"{term.name}-{seen[term.name]}"))
    return Terms(unique)


class _WithoutBrackets(ABCMeta):
    def __rmul__(cls, weight: float | Schedule) -> Term:
        made: Term = weight * _made(cls)
        return made


class Weighable(metaclass=_WithoutBrackets):
    """Base of regularisers that are written ``0.1 * TV()``; ``0.1 * TV`` is the same."""

    def __rmul__(self, weight: float | Schedule) -> Term:
        return Term(cast(Regulariser, self), weight)

    def __mul__(self, other: object) -> Term:
        raise _algebra_error(f"{type(self).__name__} * {type(other).__name__}")

    def __add__(self, other: object) -> Terms:
        raise _algebra_error(f"{type(self).__name__} without a weight")

    __radd__ = __add__

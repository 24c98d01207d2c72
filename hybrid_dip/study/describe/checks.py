"""What is tried of a study before anything starts; what is wrong is said with its place in the file."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from hybrid_dip.contracts import Task
from hybrid_dip.errors import HybridDIPError, SettingsError, describe_error
from hybrid_dip.recipes.prepare import sketch
from hybrid_dip.study.describe.measures import Outputs, measure
from hybrid_dip.study.describe.methods import Method
from hybrid_dip.study.describe.subjects import Subject

MOST_NAMED = 20
"""Most images that one sentence names."""


@contextmanager
def place_in_errors(where: str) -> Iterator[None]:
    """Begin the sentence of any error inside with its place.

    Args:
        where: The place.

    Yields:
        Nothing.

    Raises:
        FileNotFoundError: A file was missing.
        SettingsError: Anything else was wrong.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{where}: {error}") from None
    except HybridDIPError as error:
        raise SettingsError(f"{where}: {error}") from None


def refuse_images(where: str, wrong: Mapping[str, Exception]) -> None:
    """Name all images at once that a task cannot be made of.

    Args:
        where: The place of the task.
        wrong: Name of the image -> error.

    Raises:
        FileNotFoundError: A file was missing, and nothing else was wrong.
        SettingsError: Something was wrong.
    """
    reasons = {name: str(error) for name, error in wrong.items()}
    if len(set(reasons.values())) > 1:
        listed = [f"{name}: {reason.rstrip('.')}" for name, reason in list(reasons.items())[:MOST_NAMED]]
        more = f"; and {len(reasons) - MOST_NAMED} more" if len(reasons) > MOST_NAMED else ""
        raise SettingsError(f"{where}: {len(reasons)} images cannot be used ({'; '.join(listed)}{more}).")
    for name, error in wrong.items():
        with place_in_errors(f"{where}, {name}"):
            raise error


def try_network(method: Method, task: Task) -> None:
    """Make the network and the optimiser of an arm.

    Args:
        method: The arm.
        task: A task that it is to fit.

    Raises:
        SettingsError: One of them cannot be made.
    """
    recipe, _, _ = method.build(task)
    sketch(task, recipe)
    try:
        recipe.optimizer(recipe.lr)([torch.zeros(1, requires_grad=True)])
    except ValueError as error:
        raise SettingsError(f"The optimiser cannot be made: {describe_error(error)}.") from None


def try_metrics(texts: Sequence[str], subject: Subject) -> None:
    """Take all metrics of two images that are there before any fit.

    Args:
        texts: Metrics as in the study file.
        subject: The task, and the clean image where there is one.

    Raises:
        SettingsError: Two metrics have one name, or one cannot be measured.
    """
    seen: set[str] = set()
    tried = torch.full(subject.task.shape, 0.5) if subject.reference is None else subject.reference
    for text in texts:
        metric = measure(text)
        if metric.column in seen:
            raise SettingsError(f"Two metrics are called '{metric.column}'.")
        seen.add(metric.column)
        for image in (tried, 0.9 * tried):
            try:
                metric.of(Outputs(image, image, subject, [0.0]))
            except HybridDIPError:
                raise
            except Exception as error:  # a metric may be the user's own
                raise SettingsError(f"'{text}' cannot be measured: {describe_error(error)}.") from None

"""A recipe and a seed -> the network and the latent that a fit begins with."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hybrid_dip.contracts import Task
from hybrid_dip.errors import HybridDIPError, SettingsError, describe_error, describe_given
from hybrid_dip.fitting.random_state import Draws
from hybrid_dip.fitting.unknowns import make_lazy_layers
from hybrid_dip.networks import latents
from hybrid_dip.problem.guides import check_guide
from hybrid_dip.recipes.recipe import Recipe

_TURN = threading.RLock()


def prepare(task: Task, recipe: Recipe, seed: int, draws: Draws | None = None) -> tuple[nn.Module, Tensor]:
    """Draw the network and the latent in the original's order, on the CPU.

    Args:
        task: Task that gives the shape, and the latent if it has one.
        recipe: How to make the network and the latent.
        seed: Seed of everything random.
        draws: A source of that seed, which all is drawn from: the jitter goes on from where this call leaves it. By default
            one that nobody else has.

    Returns:
        The network in training mode, and z.

    Raises:
        SettingsError: The seed is out of range, the network or the latent cannot be made with its options, or the start is for
            another network.
    """
    if not 0 <= seed < 2**63:
        raise SettingsError(f"A seed must be a whole number from 0 to 2^63 - 1, got {seed}.")
    if not callable(recipe.latent):
        raise SettingsError(f"The latent of a recipe is a function size -> z, got {describe_given(recipe.latent)}.")
    with _single_precision(), draws or Draws(seed):
        return _make(task, recipe.bind(task))


@contextmanager
def _single_precision() -> Iterator[None]:
    """Inside, torch makes single-precision tensors, whatever the default of the process is; threads take turns."""
    with _TURN:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


def _make(task: Task, recipe: Recipe) -> tuple[nn.Module, Tensor]:
    size = (task.shape[-2], task.shape[-1])

    if task.latent is not None:
        check_guide(task.latent, "The guide image, or the part of it in a tile,")

    def draw() -> Tensor:
        return recipe.latent(size=size) if task.latent is None else latents.image(task.latent).cpu()

    try:
        z = draw() if recipe.latent_first else None
        channels = _channels(recipe, task, z)
        network = recipe.build_network(channels, task)
        if not isinstance(network, nn.Module):
            raise SettingsError(f"A network must be a torch module, got {type(network).__name__}.")
        if recipe.start is not None:
            recipe.start.fill(network)
        network.train()
        z = draw() if z is None else z
        make_lazy_layers(network, z)
        if recipe.spare_draws is not None:
            recipe.spare_draws(task)
        return network, z
    except HybridDIPError:
        raise
    except Exception as error:  # a user's network may fail in any way
        raise SettingsError(f"The network or the latent cannot be made: {describe_error(error)}.") from error


def sketch(task: Task, recipe: Recipe) -> tuple[nn.Module, Tensor]:
    """The network and the latent on torch's meta device, which allocates nothing; on the CPU if they cannot be made so.

    Args:
        task: Task that gives the shape.
        recipe: How to make the network and the latent.

    Returns:
        The network and z.

    Raises:
        SettingsError: The network or the latent cannot be made with its options.
    """
    try:
        with torch.device("meta"):
            return prepare(task, recipe, seed=0)
    except SettingsError:  # some look at their own values while they are made
        return prepare(task, recipe, seed=0)


def _channels(recipe: Recipe, task: Task, z: Tensor | None) -> int:
    """The number of channels of z, which is not drawn before its turn."""
    if z is not None:
        return z.shape[1]
    if task.latent is not None:
        return task.latent.shape[1]
    with Draws():
        return recipe.latent(size=(2, 2)).shape[1]

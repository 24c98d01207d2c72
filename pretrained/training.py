"""The loop of a training: steps, an average of the weights along the way, and a state that it goes on from."""

import copy
import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from hybrid_dip.errors import Interrupted, SettingsError
from hybrid_dip.images.atomic import replacement

DECAY = 0.999
"""Decay of the average of the weights."""
SAVED_EVERY = 60.0
"""Seconds between two saved states."""

Network = TypeVar("Network", bound=nn.Module)


def rate(step: int, steps: int, highest: float, warm_up: int) -> float:
    """The learning rate at a step: a warm-up, then half a cosine down to a hundredth.

    Args:
        step: Steps taken.
        steps: Steps in total.
        highest: Highest learning rate.
        warm_up: Steps in which it rises.

    Returns:
        The rate.
    """
    if step < warm_up:
        return highest * (step + 1) / warm_up
    share = (step - warm_up) / max(1, steps - warm_up)
    return highest * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)


def hash_of(contents: Sequence[str]) -> str:
    """What a training on these photographs is told from others by."""
    return hashlib.sha256("".join(contents).encode()).hexdigest()[:12]


@dataclass
class Training(Generic[Network]):
    """Network, average and optimiser at a step.

    Attributes:
        network: The network in training.
        average: A network whose weights are an average of its weights along the way.
        optimizer: Adam.
        draw: Generator of the patches.
        step: Steps taken.
        seconds: Seconds that they took.
    """

    network: Network
    average: Network
    optimizer: torch.optim.Adam
    draw: torch.Generator
    step: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, network: Network, seed: int) -> "Training[Network]":
        """A training before its first step.

        Args:
            network: Network with the weights to begin with, on its device.
            seed: Seed of the patches.

        Returns:
            The training.
        """
        optimizer = torch.optim.Adam(network.parameters(), betas=(0.9, 0.99))
        return cls(network, copy.deepcopy(network), optimizer, torch.Generator().manual_seed(seed))

    def descend(self, loss: Tensor, rate: float, clip: float | None = None) -> Tensor:
        """Take one step down a loss.

        Args:
            loss: The loss of the network, ().
            rate: Learning rate.
            clip: Highest norm of the gradient; None for any.

        Returns:
            The loss, without its graph.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), clip)
        self.optimizer.step()
        self.step += 1
        # The first steps are worth nothing: the average looks back over a tenth of the steps at most.
        decay = min(DECAY, 1 - 10 / (self.step + 10))
        with torch.no_grad():
            for kept, now in zip(self.average.parameters(), self.network.parameters(), strict=True):
                kept.lerp_(now, 1 - decay)
        return loss.detach()

    def save(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Write all that the training continues from, and its settings."""
        state = {
            "settings": dict(settings),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "draw": self.draw.get_state(),
            "step": self.step,
            "seconds": self.seconds,
        }
        with replacement(path) as temporary:
            torch.save(state, temporary)

    def resume(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Go on from :meth:`save`.

        Raises:
            SettingsError: The training there has other settings, or the file cannot be read.
        """
        try:
            state = torch.load(path, weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            raise SettingsError(f"{path} cannot be read ({type(error).__name__}); remove it to begin anew.") from None
        before = state.get("settings", {})
        other = [f"{name} {before.get(name)}, not {value}" for name, value in settings.items() if before.get(name) != value]
        if other:
            raise SettingsError(
                f"{path} is of a training with other settings ({'; '.join(other)}): repeat its command, or give another folder."
            )
        for name in ("network", "average", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.draw.set_state(state["draw"])
        self.step, self.seconds = state["step"], state["seconds"]


def run(
    training: Training[Any],
    take_step: Callable[[], Tensor],
    steps: int,
    state: Path,
    settings: Mapping[str, Any],
    *,
    halt: Callable[[], bool],
    look: Callable[[Tensor], str | None],
) -> None:
    """Take the steps that are left, and save the state now and then.

    Args:
        training: The training, which moves on.
        take_step: Takes one step of it and returns the loss.
        steps: Steps in total.
        state: File of the state.
        settings: What the state is told from others by.
        halt: Asked between two steps whether to stop.
        look: Called after each step with its loss; what it returns stands beside the progress.

    Raises:
        Interrupted: It was stopped; its state is saved.
    """
    began, saved = time.monotonic() - training.seconds, time.monotonic()
    with tqdm(total=steps, initial=training.step, unit="step") as bar:
        while training.step < steps:
            if halt():
                training.save(state, settings)
                raise Interrupted(f"Interrupted after {training.step} of {steps} steps; repeat the command to go on.")
            loss = take_step()
            training.seconds = time.monotonic() - began
            bar.update()
            said = look(loss)
            if said is not None:
                bar.set_postfix_str(said)
            if time.monotonic() - saved > SAVED_EVERY:
                training.save(state, settings)
                saved = time.monotonic()
    training.save(state, settings)

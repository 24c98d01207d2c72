"""Train the network that reads the level of noise off an image, on a folder of photographs.

    python -m pretrained.train_noise PHOTOS -o out

writes ``out/noise_network.safetensors`` (half precision), of which ``hybrid_dip/problem/noise_network.safetensors`` is a copy.
While it trains it writes ``out/state.pt``: the same command continues from there after it was stopped.

The loss is the likelihood of the error's square in each block, the error of the level of each patch on a logarithmic scale, and
that of the correlation between neighbours.
"""

import argparse
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from hybrid_dip.errors import SettingsError, interruptible, one_sentence
from hybrid_dip.images.atomic import replacement
from hybrid_dip.problem.noise_network import BLOCK, LAGS, LEAST, NoiseNetwork, Reading
from pretrained.noise_patches import NoisyPhotographs
from pretrained.patches import read
from pretrained.weights import write_own

SIZE, SIDE = 16, 128
"""Patches of a step, and their side in pixels."""
HIGHEST, WARM_UP = 2e-3, 200
"""Highest learning rate, and the steps in which it rises."""
SAVED_EVERY = 60.0
"""Seconds between two saved states."""


def neighbours(error: Tensor) -> Tensor:
    """Correlation between the noise of neighbours, across and down.

    Args:
        error: Noisy less clean, (N, C, H, W).

    Returns:
        At 1, 2, 3 pixels apart, (N, 3); 0 where there is hardly any noise.
    """
    energy = error.square().mean((1, 2, 3)) + LEAST**2

    def product(lag: int) -> Tensor:
        across, down = error[..., lag:] * error[..., :-lag], error[..., lag:, :] * error[..., :-lag, :]
        return (across.mean((1, 2, 3)) + down.mean((1, 2, 3))) / 2

    return torch.stack([product(lag) / energy for lag in range(1, LAGS + 1)], 1)


def loss_of(reading: Reading, error: Tensor) -> Tensor:
    """How far a reading is from the noise that there is.

    Args:
        reading: What the network says of noisy images.
        error: Noisy less clean, (N, 3, H, W).

    Returns:
        ().
    """
    energy = F.avg_pool2d(error.square(), BLOCK) + LEAST**2
    ratio = energy / reading.variance
    unlikely = (ratio - ratio.log() - 1).clamp(max=20).mean()
    off = (reading.variance.mean((1, 2, 3)).log() - energy.mean((1, 2, 3)).log()).abs() / 2
    unsure = (reading.error.log() + off.detach() / reading.error).mean()
    alike = (reading.correlation - neighbours(error)).abs().mean()
    return unlikely + 2 * off.mean() + 0.1 * unsure + alike


def rate(step: int, steps: int) -> float:
    """The learning rate: a warm-up, and half a cosine down to a hundredth."""
    return HIGHEST * min(1, (step + 1) / WARM_UP) * (0.01 + 0.99 * (1 + math.cos(math.pi * step / steps)) / 2)


def train(folder: Path, out: Path, steps: int, seed: int = 0) -> NoiseNetwork:
    """Train, or go on with a training that was stopped.

    Args:
        folder: Folder of photographs.
        out: Folder of the results.
        steps: Steps in total.
        seed: Seed of weights and patches.

    Returns:
        The network.

    Raises:
        SettingsError: The folder has a training of another number of steps.
        ImageFileError: There are too few photographs.
    """
    torch.manual_seed(seed)
    network, draw, done = NoiseNetwork(), torch.Generator().manual_seed(seed), 0
    optimizer = torch.optim.Adam(network.parameters(), lr=HIGHEST, betas=(0.9, 0.99))
    patches = NoisyPhotographs(read(folder, SIDE)[0], SIDE)
    out.mkdir(parents=True, exist_ok=True)
    state = out / "state.pt"
    if state.exists():
        before = torch.load(state, weights_only=True)
        if (before["steps"], before["seed"]) != (steps, seed):
            raise SettingsError(
                f"{state} is of {before['steps']} steps and seed {before['seed']}: give those, or another folder."
            )
        network.load_state_dict(before["network"])
        optimizer.load_state_dict(before["optimizer"])
        draw.set_state(before["draw"])
        done = before["done"]

    def save() -> None:
        parts = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "draw": draw.get_state()}
        with replacement(state) as temporary:
            torch.save({**parts, "steps": steps, "seed": seed, "done": done}, temporary)

    saved = time.monotonic()
    with interruptible() as pressed, tqdm(total=steps, initial=done, unit="step") as bar:
        while done < steps and not pressed():
            for group in optimizer.param_groups:
                group["lr"] = rate(done, steps)
            clean, noisy = patches.batch(SIZE, draw)
            loss = loss_of(network(noisy), noisy - clean)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            done += 1
            bar.update()
            if done % 100 == 0:
                bar.set_postfix_str(f"loss {float(loss.detach()):.3f}")
            if time.monotonic() - saved > SAVED_EVERY:
                save()
                saved = time.monotonic()
    save()
    if done == steps:
        write_own({name: value.half() for name, value in network.state_dict().items()}, out / "noise_network.safetensors")
    return network


def main() -> None:
    """Read the arguments and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="folder of photographs, none of which may be of a test set")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=9_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with one_sentence("train_noise", "Interrupted; repeat the command to go on from the last saved state."):
        train(given.photographs, given.out, given.steps, given.seed)


if __name__ == "__main__":
    main()

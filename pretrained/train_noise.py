"""Train the network that reads the level of noise off an image, on a folder of photographs.

    python -m pretrained.train_noise PHOTOS -o out

writes ``out/noise_network.safetensors`` (half precision). ``hybrid_dip/problem/noise_network.safetensors`` is of this training,
but of synthetic cameras that left at least 0.4 of the coarse noise of colours, where they leave at least 0.2 now.
While it trains it writes ``out/state.pt``: the same command continues from there after it was stopped.

The loss is the likelihood of the error's square in each block, the error of the level of each patch on a logarithmic scale, and
that of the correlation between neighbours.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from hybrid_dip.errors import interruptible, one_sentence
from hybrid_dip.problem.noise_network import BLOCK, LAGS, LEAST, NoiseNetwork, Reading
from pretrained.noise_patches import NoisyPhotographs
from pretrained.patches import read
from pretrained.training import Training, hash_of, rate, run
from pretrained.weights import write_own

SIZE, SIDE = 16, 128
"""Patches of a step, and their side in pixels."""
HIGHEST, WARM_UP = 2e-3, 200
"""Highest learning rate, and the steps in which it rises."""
LOOKED_EVERY = 100
"""Steps between two losses that are shown."""
SCALES = (0.8, 0.5)
"""Scales of the photographs. At half size they have hardly any grain of their own, which would pass for no noise."""


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


def train(
    folder: Path, out: Path, steps: int, seed: int = 0, *, halt: Callable[[], bool] = lambda: False
) -> Training[NoiseNetwork]:
    """Train, or go on with a training that was stopped.

    Args:
        folder: Folder of photographs.
        out: Folder of the results.
        steps: Steps in total.
        seed: Seed of weights and patches.
        halt: Asked between two steps whether to stop.

    Returns:
        The training.

    Raises:
        SettingsError: The folder has a training with other settings.
        ImageFileError: There are too few photographs.
        Interrupted: The training was stopped; its state is saved.
    """
    images, _, contents = read(folder, SIDE, SCALES)
    torch.manual_seed(seed)
    training, patches = Training.of(NoiseNetwork(), seed), NoisyPhotographs(images, SIDE)
    out.mkdir(parents=True, exist_ok=True)
    state, settings = out / "state.pt", {"steps": steps, "seed": seed, "photographs": hash_of(contents)}
    if state.exists():
        training.resume(state, settings)

    def step() -> Tensor:
        clean, noisy = patches.batch(SIZE, training.draw)
        loss = loss_of(training.network(noisy), noisy - clean)
        return training.descend(loss, rate(training.step, steps, HIGHEST, WARM_UP), clip=1.0)

    def look(loss: Tensor) -> str | None:
        return None if training.step % LOOKED_EVERY else f"loss {float(loss):.3f}"

    run(training, step, steps, state, settings, halt=halt, look=look)
    write_own({name: value.half() for name, value in training.average.state_dict().items()}, out / "noise_network.safetensors")
    return training


def main() -> None:
    """Read the arguments and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="folder of photographs, none of which may be of a test set")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=9_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with (
        one_sentence("train_noise", "Interrupted; repeat the command to go on from the last saved state."),
        interruptible() as pressed,
    ):
        train(given.photographs, given.out, given.steps, given.seed, halt=pressed)


if __name__ == "__main__":
    main()

"""Train the denoiser on a folder of photographs.

    python -m pretrained.train_denoiser PHOTOS -o out --steps 24000 --test OTHERS

writes ``out/denoiser.safetensors`` (half precision), ``out/log.csv``, and with ``--test`` the model card ``out/denoiser.md``.
While it trains it writes ``out/state.pt``: the same command continues from there after it was stopped, by Ctrl-C or in any
other way.

As a denoiser it is called ``trained:path=out/denoiser.safetensors``:

    hybrid-dip restore noisy.png --task denoise --sigma 25 -R red:denoiser=trained:path=out/denoiser.safetensors@0.3 -o restored

Each patch gets Gaussian noise of a level drawn uniformly from 0 to 75 of 255, not clipped. A quarter of the patches are grey,
with the same noise in all three channels. The loss is the mean absolute error. The weights that are kept are an average along
the way. Some photographs of the folder are held back to measure progress.

    python -m pretrained.train_denoiser PHOTOS -o out --noise camera --steps 1000 --lr 1.5e-4

goes on from the denoiser of this package, on photographs by synthetic cameras (:mod:`pretrained.camera_patches`). What it
writes is loaded by ``pretrained.load_denoiser("camera", "out/denoiser.safetensors")``.
"""

import argparse
import copy
import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hybrid_dip.errors import ImageFileError, SettingsError, StorageError, interruptible, one_sentence
from hybrid_dip.execution.devices import describe, pick
from hybrid_dip.images import metrics
from hybrid_dip.images.atomic import write_text
from pretrained import weights
from pretrained.bundled import DenoisingNetwork
from pretrained.camera_patches import CameraPhotographs
from pretrained.camera_patches import quality as camera_quality
from pretrained.camera_patches import table as camera_table
from pretrained.denoisers import denoiser_of, load_denoiser
from pretrained.model_card import CAMERA, GAUSSIAN, LICENCE, About, Card, measure, photographs, table
from pretrained.patches import CAMERA_SCALES, SCALES, Photographs, read
from pretrained.training import Training, hash_of, rate, run
from pretrained.weights import write_own

WARM_UP = 500
"""Steps in which the learning rate rises."""
COARSE = 2.2
"""White noise of how many times the deviation of a camera's noise is as strong where the noise is coarse."""
LOOKED_EVERY = 1000
"""Steps between two measurements on the photographs that are held back."""
LOOKED_AT = 25 / 255
"""Noise level of these measurements."""


@dataclass(frozen=True)
class Settings:
    """How a denoiser is trained.

    Attributes:
        steps: Steps in total.
        size: Patches of a step.
        side: Side of a patch in pixels.
        highest: Highest learning rate.
        seed: Seed of weights and patches.
        noise: "gaussian", or "camera" for a denoiser of photographs as cameras take them.

    Raises:
        SettingsError: A setting is out of range.
    """

    steps: int
    size: int
    side: int
    highest: float
    seed: int
    noise: str = "gaussian"

    def __post_init__(self) -> None:
        if min(self.steps, self.size) < 1:
            raise SettingsError(f"At least one step and one patch for each are needed, got {self.steps} and {self.size}.")
        multiple = DenoisingNetwork().multiple
        if self.side < multiple or self.side % multiple:
            raise SettingsError(f"The side of a patch is a multiple of {multiple} pixels, got {self.side}.")
        if not 0 < self.highest <= 1:
            raise SettingsError(f"The learning rate is above 0 and at most 1, got {self.highest}.")

    def describe(self) -> dict[str, Any]:
        """The settings by the names that the state and the model card give them."""
        names = ("steps", "patches a step", "pixels a side", "learning rate", "seed")
        plain = dict(zip(names, (self.steps, self.size, self.side, self.highest, self.seed), strict=True))
        return plain if self.noise == "gaussian" else {**plain, "noise": self.noise}


@torch.no_grad()
def quality(network: DenoisingNetwork, images: Sequence[Tensor], sigma: float = LOOKED_AT) -> float:
    """Mean PSNR of denoised photographs, with noise that is not clipped and is the same each time.

    Args:
        network: Network to measure.
        images: Clean photographs, (1, 3, H, W).
        sigma: Noise level in units of [0, 1].

    Returns:
        The PSNR in dB.
    """
    device = next(network.parameters()).device
    draw = torch.Generator().manual_seed(0)
    denoiser, psnr = denoiser_of(network), []
    for image in images:
        noisy = image + sigma * torch.randn(image.shape, generator=draw)
        psnr.append(metrics.psnr(denoiser(noisy.to(device), sigma).cpu().clamp(0, 1), image))
    return sum(psnr) / len(psnr)


def write_weights(network: DenoisingNetwork, path: Path) -> None:
    """Write the weights in half precision, with a hash, as ``trained:path=FILE`` reads them.

    Args:
        network: Trained network.
        path: File to write.
    """
    write_own({name: value.half() for name, value in network.state_dict().items()}, path)


def denoiser_of_coarse_noise() -> DenoisingNetwork:
    """The denoiser of this package, which takes the deviation of a camera's noise for :data:`COARSE` times itself."""
    tensors = {name: value.float() for name, value in weights.get("denoiser").load().items()}
    # The level is the last channel of the image, and one pixel in four of it.
    tensors["first.weight"][:, -4:] *= COARSE
    network = DenoisingNetwork()
    network.load_state_dict(tensors)
    return network


def halfway(network: DenoisingNetwork, other: DenoisingNetwork) -> DenoisingNetwork:
    """A network whose weights are the mean of two others', on the CPU.

    Trained on a model of cameras alone, a network takes the model's peculiarities for real; halfway back to what it was trained
    on before it is better on real photographs than at either end (Wortsman et al. 2022, "Robust fine-tuning of zero-shot
    models", where the same holds for classifiers).
    """
    mean = copy.deepcopy(network).cpu()
    with torch.no_grad():
        for own, there in zip(mean.parameters(), other.parameters(), strict=True):
            own.lerp_(there.cpu(), 0.5)
    return mean


def start(settings: Settings, device: torch.device) -> Training[DenoisingNetwork]:
    """A training before its first step. One on a camera's noise goes on from :func:`denoiser_of_coarse_noise`.

    Args:
        settings: How to train.
        device: Device of the network.

    Returns:
        The training.
    """
    torch.manual_seed(settings.seed)
    network = denoiser_of_coarse_noise() if settings.noise == "camera" else DenoisingNetwork()
    return Training.of(network.to(device, memory_format=torch.channels_last), settings.seed)  # type: ignore[call-overload]


def take_step(
    training: Training[DenoisingNetwork],
    drawn_from: Photographs | CameraPhotographs,
    settings: Settings,
    device: torch.device,
) -> Tensor:
    """Take one step of a training.

    Args:
        training: The training, which moves on.
        drawn_from: Photographs that patches are drawn from.
        settings: How to train.
        device: Device of the network.

    Returns:
        The loss, ().
    """
    clean, noisy, sigma = (part.to(device) for part in drawn_from.batch(settings.size, training.draw))
    noisy = noisy.contiguous(memory_format=torch.channels_last)
    loss = F.l1_loss(training.network(noisy, sigma.expand(-1, 1, *noisy.shape[-2:])), clean)
    return training.descend(loss, rate(training.step, settings.steps, settings.highest, WARM_UP))


def train(
    folder: Path,
    out: Path,
    settings: Settings,
    *,
    device: str,
    test: Path | None = None,
    licence: str = LICENCE,
    halt: Callable[[], bool] = lambda: False,
) -> None:
    """Train, or continue a training that was stopped.

    Args:
        folder: Folder of photographs.
        out: Folder of the results.
        settings: How to train.
        device: "auto", "cpu", "cuda" or "mps".
        test: Folder of photographs to measure on, for the model card.
        licence: Text under that heading of the model card.
        halt: Asked between two steps whether to stop.

    Raises:
        ImageFileError: There are too few photographs, or none to measure on.
        SettingsError: The folder has a training with other settings.
        StorageError: The folder cannot be made.
        Interrupted: The training was stopped; its state is saved.
    """
    if test is not None and not photographs(test):  # not after hours of training
        raise ImageFileError(f"There are no photographs in {test} to measure on.")
    where = pick(device)
    camera = settings.noise == "camera"
    scales = CAMERA_SCALES if camera else SCALES
    images, held, contents = read(folder, settings.side, scales)
    identity = {**settings.describe(), "photographs": hash_of(contents)}
    drawn_from = CameraPhotographs(images, settings.side) if camera else Photographs(images, settings.side)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"The folder {out} cannot be made ({error.strerror}); give another one.") from None
    training, state, log = start(settings, where), out / "state.pt", out / "log.csv"
    if state.exists():
        training.resume(state, identity)
    _forget(log, training.step)
    losses: list[Tensor] = []

    def look(loss: Tensor) -> str | None:
        losses.append(loss)
        if training.step % LOOKED_EVERY and training.step < settings.steps:
            return None
        psnr = camera_quality(training.average, held) if camera else quality(training.average, held)
        _append(log, [training.step, f"{torch.stack(losses).mean():.6f}", f"{psnr:.3f}", f"{training.seconds:.0f}"])
        losses.clear()
        return f"{psnr:.2f} dB on what is held back"

    def step() -> Tensor:
        return take_step(training, drawn_from, settings, where)

    run(training, step, settings.steps, state, identity, halt=halt, look=look)
    written = out / "denoiser.safetensors"
    write_weights(halfway(training.average, denoiser_of_coarse_noise()) if camera else training.average, written)
    if test is not None:
        about, figures = _measured(settings.noise, written, test)
        Card(
            about=about,
            parameters=sum(p.numel() for p in training.average.parameters()),
            weights=written,
            data=folder,
            trained_on=len(images) // len(scales),
            seen=contents,
            settings=settings.describe(),
            hours=training.seconds / 3600,
            machine=describe(where),
            test=test,
            figures=figures,
            licence=licence,
        ).write(out / "denoiser.md")


def _measured(noise: str, written: Path, test: Path) -> tuple[About, list[str]]:
    """What the card says of the kind of noise, and its table; the weights as they will be loaded, in half precision."""
    if noise == "gaussian":
        return GAUSSIAN, table(measure(load_denoiser("bundled", written), test))
    return CAMERA, camera_table(load_denoiser("camera", written), test)


def _forget(log: Path, step: int) -> None:
    """Remove the rows of the log after a step: they are from a training that was killed after it had saved its state."""
    if log.exists():
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
        write_text(log, "".join(lines[:1] + [line for line in lines[1:] if int(line.partition(",")[0]) <= step]))


def _append(log: Path, row: Sequence[object]) -> None:
    new = not log.exists()
    with log.open("a", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        if new:
            writer.writerow(["step", "loss", "psnr_held_back", "seconds"])
        writer.writerow(row)


def main() -> None:
    """Read the arguments and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="folder of photographs, none of which may be of a test set")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=24_000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=64, help="side of a patch, in pixels")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--noise", choices=["gaussian", "camera"], default="gaussian")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--threads", type=int, help="threads of the CPU")
    parser.add_argument("--test", type=Path, help="folder of photographs to measure on, for the model card")
    parser.add_argument("--licence", default=LICENCE, help="text under that heading of the model card")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    with (
        one_sentence("train_denoiser", "Interrupted; repeat the command to go on from the last saved state."),  # Ctrl-C twice
        interruptible() as pressed,
    ):
        settings = Settings(given.steps, given.batch, given.side, given.lr, given.seed, given.noise)
        options = {"device": given.device, "test": given.test, "licence": given.licence}
        train(given.photographs, given.out, settings, **options, halt=pressed)


if __name__ == "__main__":
    main()

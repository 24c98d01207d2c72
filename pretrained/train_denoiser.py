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
"""

import argparse
import copy
import csv
import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from hybrid_dip.errors import ImageFileError, Interrupted, SettingsError, StorageError, interruptible, one_sentence
from hybrid_dip.execution.devices import describe, pick
from hybrid_dip.images import metrics
from hybrid_dip.images.atomic import replacement, write_text
from pretrained import weights
from pretrained.bundled import DenoisingNetwork
from pretrained.camera_patches import CameraPhotographs
from pretrained.camera_patches import quality as camera_quality
from pretrained.camera_patches import table as camera_table
from pretrained.denoisers import BLIND, denoiser_of, load_denoiser
from pretrained.model_card import CAMERA, GAUSSIAN, LICENCE, About, Card, measure, photographs, table
from pretrained.patches import SCALES, SMALL_SCALES, Photographs, read
from pretrained.weights import write_own

WARM_UP = 500
"""Steps in which the learning rate rises."""
DECAY = 0.999
"""Decay of the average of the weights."""
SAVED_EVERY = 120.0
"""Seconds between two saved states."""
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
        noise: "gaussian", or "camera" for a blind denoiser of photographs.

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

    def rate(self, step: int) -> float:
        """The learning rate at a step: a warm-up, then half a cosine down to a hundredth."""
        if step < WARM_UP:
            return self.highest * (step + 1) / WARM_UP
        share = (step - WARM_UP) / max(1, self.steps - WARM_UP)
        return self.highest * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)


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


@dataclass
class Training:
    """Network, average and optimiser at a step.

    Attributes:
        network: The network in training.
        average: A network whose weights are an average of its weights along the way.
        optimizer: Adam.
        draw: Generator of the patches.
        step: Steps taken.
        seconds: Seconds that they took.
    """

    network: DenoisingNetwork
    average: DenoisingNetwork
    optimizer: torch.optim.Adam
    draw: torch.Generator
    step: int = 0
    seconds: float = 0.0

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


def start(settings: Settings, device: torch.device) -> Training:
    """A training before its first step. One on a camera's noise goes on from the denoiser of this package.

    Args:
        settings: How to train.
        device: Device of the network.

    Returns:
        The training.
    """
    torch.manual_seed(settings.seed)
    network = DenoisingNetwork()
    if settings.noise == "camera":
        network.load_state_dict({name: value.float() for name, value in weights.get("denoiser").load().items()})
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.highest, betas=(0.9, 0.99))
    return Training(network, average, optimizer, torch.Generator().manual_seed(settings.seed))


def take_step(
    training: Training, drawn_from: Photographs | CameraPhotographs, settings: Settings, device: torch.device
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
    sigma = sigma if settings.noise == "gaussian" else torch.full_like(sigma, BLIND)
    noisy = noisy.contiguous(memory_format=torch.channels_last)
    for group in training.optimizer.param_groups:
        group["lr"] = settings.rate(training.step)
    loss = F.l1_loss(training.network(noisy, sigma.expand(-1, 1, *noisy.shape[-2:])), clean)
    training.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    training.optimizer.step()
    training.step += 1
    # The first steps are worth nothing: the average looks back over a tenth of the steps at most.
    decay = min(DECAY, 1 - 10 / (training.step + 10))
    with torch.no_grad():
        for kept, now in zip(training.average.parameters(), training.network.parameters(), strict=True):
            kept.lerp_(now, 1 - decay)
    return loss.detach()


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
    scales = SMALL_SCALES if camera else SCALES
    images, held, contents = read(folder, settings.side, scales)
    identity = {**settings.describe(), "photographs": hashlib.sha256("".join(contents).encode()).hexdigest()[:12]}
    drawn_from = CameraPhotographs(images, settings.side) if camera else Photographs(images, settings.side)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"The folder {out} cannot be made ({error.strerror}); give another one.") from None
    training, state, log = start(settings, where), out / "state.pt", out / "log.csv"
    if state.exists():
        training.resume(state, identity)
    _forget(log, training.step)
    began, saved, losses = time.monotonic() - training.seconds, time.monotonic(), []
    with tqdm(total=settings.steps, initial=training.step, unit="step") as bar:
        while training.step < settings.steps:
            if halt():
                training.save(state, identity)
                raise Interrupted(f"Interrupted after {training.step} of {settings.steps} steps; repeat the command to go on.")
            losses.append(take_step(training, drawn_from, settings, where))
            training.seconds = time.monotonic() - began
            bar.update()
            if training.step % LOOKED_EVERY == 0 or training.step == settings.steps:
                psnr = camera_quality(training.average, held) if camera else quality(training.average, held)
                row = [training.step, f"{torch.stack(losses).mean():.6f}", f"{psnr:.3f}", f"{training.seconds:.0f}"]
                _append(log, row)
                bar.set_postfix_str(f"{psnr:.2f} dB on what is held back")
                losses.clear()
            if time.monotonic() - saved > SAVED_EVERY:
                training.save(state, identity)
                saved = time.monotonic()
    training.save(state, identity)
    written = out / "denoiser.safetensors"
    write_weights(training.average, written)
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

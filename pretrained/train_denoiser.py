"""Train the denoiser on a folder of photographs.

    python -m pretrained.train_denoiser PHOTOS -o out --steps 24000 --test OTHERS

writes ``out/denoiser.safetensors`` (half precision), ``out/log.csv``, with ``--test`` the model card ``out/denoiser.md``, and,
while it trains, ``out/state.pt``, from which the same command goes on after it was stopped, by Ctrl-C or in any other way.

Where a denoiser is asked for, ``trained:path=out/denoiser.safetensors`` is the one that was trained:

    hybrid-dip restore noisy.png --task denoise --sigma 25 -R red:denoiser=trained:path=out/denoiser.safetensors@0.3 -o restored

Each patch gets Gaussian noise of a level drawn uniformly from 0 to 75 of 255, not clipped; a quarter of the patches are grey,
with the same noise in all three channels. The loss is the mean absolute error, the weights that are kept are an average
along the way, and some photographs of the folder are held back to look at.
"""

import argparse
import copy
import csv
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from pretrained.bundled import DenoisingNetwork
from pretrained.denoisers import load_denoiser, of_network
from pretrained.model_card import LICENCE, measured, photographs, write_card
from pretrained.patches import SCALES, Photographs, read
from pretrained.weights import write_own

WARM_UP = 500
DECAY = 0.999
"""Of the average of the weights."""
SAVED_EVERY = 120.0
LOOKED_EVERY = 1000
LOOKED_AT = 25 / 255


def rate(step: int, steps: int, highest: float) -> float:
    """The learning rate: a warm-up, then half a cosine down to a hundredth."""
    if step < WARM_UP:
        return highest * (step + 1) / WARM_UP
    along = (step - WARM_UP) / max(1, steps - WARM_UP)
    return highest * (0.01 + 0.99 * (1 + math.cos(math.pi * along)) / 2)


@torch.no_grad()
def quality(network: DenoisingNetwork, images: Sequence[Tensor], sigma: float = LOOKED_AT) -> float:
    """Mean PSNR of denoised photographs, with noise that is not clipped and is the same at each look.

    Args:
        network: To look at.
        images: Clean, (1, 3, H, W).
        sigma: Of the noise, in units of [0, 1].

    Returns:
        In dB.
    """
    device = next(network.parameters()).device
    draw = torch.Generator().manual_seed(0)
    denoiser, found = of_network(network), []
    for image in images:
        noisy = image + sigma * torch.randn(image.shape, generator=draw)
        found.append(metrics.psnr(denoiser(noisy.to(device), sigma).cpu().clamp(0, 1), image))
    return sum(found) / len(found)


def write_weights(network: DenoisingNetwork, path: Path) -> None:
    """Write the weights in half precision, with a hash, as ``trained:path=FILE`` reads them.

    Args:
        network: Trained.
        path: Of the file.
    """
    write_own({name: value.half() for name, value in network.state_dict().items()}, path)


@dataclass
class Training:
    """Network, average and optimiser at a step.

    Attributes:
        network: In training.
        average: Of its weights along the way.
        optimizer: Adam.
        draw: Where randomness comes from.
        step: Steps taken.
        seconds: That they took.
    """

    network: DenoisingNetwork
    average: DenoisingNetwork
    optimizer: torch.optim.Adam
    draw: torch.Generator
    step: int = 0
    seconds: float = 0.0

    def save(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Write all that the training goes on from, and the settings that it has."""
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
        except Exception as error:  # whatever a damaged file makes its reader say
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


def start(device: torch.device, highest: float, seed: int) -> Training:
    """A training at its first step.

    Args:
        device: Where to.
        highest: Learning rate.
        seed: Of weights and patches.

    Returns:
        The training.
    """
    torch.manual_seed(seed)
    network = DenoisingNetwork().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=highest, betas=(0.9, 0.99))
    return Training(network, average, optimizer, torch.Generator().manual_seed(seed))


def take(training: Training, photographs: Photographs, size: int, steps: int, highest: float, device: torch.device) -> Tensor:
    """One step.

    Args:
        training: Moves on.
        photographs: To draw from.
        size: Of a batch.
        steps: Of the whole training.
        highest: Learning rate.
        device: Where the network is.

    Returns:
        The loss, ().
    """
    clean, noisy, sigma = (part.to(device) for part in photographs.batch(size, training.draw))
    noisy = noisy.contiguous(memory_format=torch.channels_last)
    for group in training.optimizer.param_groups:
        group["lr"] = rate(training.step, steps, highest)
    loss = F.l1_loss(training.network(noisy, sigma.expand(-1, 1, *noisy.shape[-2:])), clean)
    training.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    training.optimizer.step()
    training.step += 1
    # The first steps are worth nothing: the average looks back over a tenth of the way at most.
    decay = min(DECAY, 1 - 10 / (training.step + 10))
    with torch.no_grad():
        for kept, now in zip(training.average.parameters(), training.network.parameters(), strict=True):
            kept.lerp_(now, 1 - decay)
    return loss.detach()


def train(
    folder: Path,
    out: Path,
    *,
    steps: int,
    size: int,
    side: int,
    highest: float,
    seed: int,
    device: str,
    test: Path | None = None,
    licence: str = LICENCE,
    halt: Callable[[], bool] = lambda: False,
) -> None:
    """Train, or go on training.

    Args:
        folder: Of photographs.
        out: Folder of the results.
        steps: In total.
        size: Of a batch.
        side: Of a patch.
        highest: Learning rate.
        seed: Of weights and patches.
        device: "auto", "cpu", "cuda" or "mps".
        test: Folder of photographs to measure on, for the model card.
        licence: What the model card says under that heading.
        halt: Asked between two steps whether to stop.

    Raises:
        ImageFileError: There are too few photographs, or none to measure on.
        SettingsError: A setting out of range, or the folder has a training with other settings.
        StorageError: The folder cannot be made.
        Interrupted: It was stopped; the state is saved.
    """
    _check(steps, size, side, highest, test)
    where = pick(device)
    images, held, contents = read(folder, side)
    settings = {"steps": steps, "patches a step": size, "pixels a side": side, "learning rate": highest, "seed": seed}
    told = {**settings, "photographs": hashlib.sha256("".join(contents).encode()).hexdigest()[:12]}
    drawn_from = Photographs(images, side)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"The folder {out} cannot be made ({error.strerror}); give another one.") from None
    training, state, log = start(where, highest, seed), out / "state.pt", out / "log.csv"
    if state.exists():
        training.resume(state, told)
    _forget(log, training.step)
    began, saved, losses = time.monotonic() - training.seconds, time.monotonic(), []
    with tqdm(total=steps, initial=training.step, unit="step") as bar:
        for _ in _until(training, steps):
            if halt():
                training.save(state, told)
                raise Interrupted(f"Interrupted after {training.step} of {steps} steps; repeat the command to go on.")
            losses.append(take(training, drawn_from, size, steps, highest, where))
            training.seconds = time.monotonic() - began
            bar.update()
            if training.step % LOOKED_EVERY == 0 or training.step == steps:
                found = quality(training.average, held)
                row = [training.step, f"{torch.stack(losses).mean():.6f}", f"{found:.3f}", f"{training.seconds:.0f}"]
                _append(log, row)
                bar.set_postfix_str(f"{found:.2f} dB on what is held back")
                losses.clear()
            if time.monotonic() - saved > SAVED_EVERY:
                training.save(state, told)
                saved = time.monotonic()
    training.save(state, told)
    write_weights(training.average, out / "denoiser.safetensors")
    if test is not None:
        write_card(
            out / "denoiser.md",
            parameters=sum(p.numel() for p in training.average.parameters()),
            weights=out / "denoiser.safetensors",
            data=folder,
            trained_on=len(images) // len(SCALES),
            seen=contents,
            settings=settings,
            hours=training.seconds / 3600,
            machine=describe(where),
            test=test,
            # As it will be loaded: in half precision.
            found=measured(load_denoiser("bundled", out / "denoiser.safetensors"), test),
            licence=licence,
        )


def _check(steps: int, size: int, side: int, highest: float, test: Path | None) -> None:
    """What need not wait until all photographs are read."""
    if min(steps, size) < 1:
        raise SettingsError(f"At least one step and one patch a step are needed, got {steps} and {size}.")
    multiple = DenoisingNetwork().multiple
    if side < multiple or side % multiple:
        raise SettingsError(f"The side of a patch is a multiple of {multiple} pixels, got {side}.")
    if not 0 < highest <= 1:
        raise SettingsError(f"The learning rate is above 0 and at most 1, got {highest}.")
    if test is not None and not photographs(test):
        raise ImageFileError(f"There are no photographs in {test} to measure on.")


def _forget(log: Path, step: int) -> None:
    """Take the rows out of the log that come after a step: those of a training that was killed after its last saved state."""
    if log.exists():
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
        write_text(log, "".join(lines[:1] + [line for line in lines[1:] if int(line.partition(",")[0]) <= step]))


def _until(training: Training, steps: int) -> Iterator[int]:
    while training.step < steps:
        yield training.step


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
    parser.add_argument("--side", type=int, default=64, help="of a patch, in pixels")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument("--test", type=Path, help="folder of photographs to measure on, for the model card")
    parser.add_argument("--licence", default=LICENCE, help="what the model card says about it")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    options = {"steps": given.steps, "size": given.batch, "side": given.side, "highest": given.lr, "seed": given.seed}
    options |= {"device": given.device, "test": given.test, "licence": given.licence}
    with (
        one_sentence("train_denoiser", "Interrupted; repeat the command to go on from the last saved state."),  # Ctrl-C twice
        interruptible() as pressed,
    ):
        train(given.photographs, given.out, **options, halt=pressed)


if __name__ == "__main__":
    main()

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from hybrid_dip.errors import ImageFileError
from hybrid_dip.images import save_image
from pretrained import train_denoiser
from pretrained.bundled import DenoisingNetwork
from pretrained.train_denoiser import HELD_BACK, Photographs, rate, read, start, take, train


@pytest.fixture
def folder(tmp_path: Path, photograph: Tensor) -> Path:
    for number in range(HELD_BACK + 2):
        save_image(photograph.roll(number, -1), tmp_path / f"{number:02}.png")
    return tmp_path


def test_patches_and_their_noise(photograph: Tensor) -> None:
    photographs = Photographs([(photograph[0] * 255).byte()], 16)
    clean, noisy, sigma = photographs.batch(64, torch.Generator().manual_seed(0))
    noise = (noisy - clean) / sigma
    assert float(noise.mean()) == pytest.approx(0, abs=0.02)
    assert float(noise.std()) == pytest.approx(1, abs=0.02)
    assert 0 <= float(sigma.min()) < 10 / 255 < 65 / 255 < float(sigma.max()) <= 75 / 255
    grey = (noisy.amax(1) - noisy.amin(1)).flatten(1).amax(1) < 1e-6
    assert int(grey.sum()) == 16
    assert float(noisy.max()) > 1, "noise is not clipped"


def test_what_is_held_back_is_not_trained_on(folder: Path) -> None:
    trained, held = read(folder, 20)
    assert len(held) == HELD_BACK
    assert len(trained) == 2 * 2, "two photographs in two scales"
    wholes = [(image[0] * 255).round().byte() for image in held]
    assert not any(image.shape == whole.shape and torch.equal(image, whole) for image in trained for whole in wholes)
    with pytest.raises(ImageFileError, match="0 photographs of at least 64 pixels"):
        read(folder, 64)


def test_the_rate_warms_up_and_cools_down() -> None:
    rates = [rate(step, 10_000, 1e-3) for step in range(10_000)]
    assert rates[0] == pytest.approx(2e-6)
    assert max(rates) == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(1e-5, rel=1e-3)


def test_training_lowers_the_loss(photograph: Tensor) -> None:
    photographs, device = Photographs([(photograph[0] * 255).byte()], 16), torch.device("cpu")
    training = start(device, 1e-3, 0)
    clean, noisy, sigma = photographs.batch(16, torch.Generator().manual_seed(1))

    def loss(network: DenoisingNetwork) -> float:
        with torch.no_grad():
            return float((network(noisy, sigma.expand(-1, 1, 16, 16)) - clean).abs().mean())

    before = loss(training.network)
    for _ in range(40):
        take(training, photographs, 4, 700, 1e-2, device)
    assert loss(training.network) < 0.7 * before
    assert loss(training.average) < 0.9 * before


def test_a_stopped_training_goes_on_to_the_same_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"steps": 3, "size": 2, "side": 16, "highest": 1e-3, "seed": 0, "device": "cpu"}
    train(folder, folder / "whole", **options, test=folder)
    assert "| colour, denoised |" in (folder / "whole" / "denoiser.md").read_text()
    calls = 0

    def stopped(*given: object) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return take(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(train_denoiser, "SAVED_EVERY", 0.0)
    monkeypatch.setattr(train_denoiser, "take", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(folder, folder / "stopped", **options)
    monkeypatch.setattr(train_denoiser, "take", take)
    train(folder, folder / "stopped", **options)
    found = [load_file(folder / name / "denoiser.safetensors") for name in ("whole", "stopped")]
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())
    DenoisingNetwork().load_state_dict(found[0])
    assert (folder / "stopped" / "log.csv").read_text().startswith("step,loss,psnr_held_back,seconds\n3,")

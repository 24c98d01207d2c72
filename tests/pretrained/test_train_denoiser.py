import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from hybrid_dip.errors import Interrupted, SettingsError
from hybrid_dip.images.metrics import psnr
from pretrained import train_denoiser
from pretrained.bundled import DenoisingNetwork
from pretrained.denoisers import denoiser_of, load_denoiser
from pretrained.patches import HELD_BACK, Photographs
from pretrained.train_denoiser import COARSE, Settings, halfway, start, take_step, train


def test_training_lowers_the_loss(photograph: Tensor) -> None:
    photographs, device = Photographs([(photograph[0] * 255).byte()], 16), torch.device("cpu")
    settings = Settings(steps=700, size=4, side=16, highest=1e-2, seed=0)
    training = start(replace(settings, highest=1e-3), device)
    clean, noisy, sigma = photographs.batch(16, torch.Generator().manual_seed(1))

    def loss(network: DenoisingNetwork) -> float:
        with torch.no_grad():
            return float((network(noisy, sigma.expand(-1, 1, 16, 16)) - clean).abs().mean())

    before = loss(training.network)
    for _ in range(40):
        take_step(training, photographs, settings, device)
    assert loss(training.network) < 0.7 * before
    assert loss(training.average) < 0.9 * before


SHORT = Settings(steps=3, size=2, side=16, highest=1e-3, seed=0)


def test_a_stopped_training_goes_on_to_the_same_weights(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(folder, tmp_path / "whole", SHORT, device="cpu", test=folder)
    card = (tmp_path / "whole" / "denoiser.md").read_text()
    assert "| colour, denoised |" in card
    assert f"The training has seen {HELD_BACK + 2} of them" in card
    asked = iter([False, False, True])
    with pytest.raises(Interrupted, match="after 2 of 3 steps"):
        train(folder, tmp_path / "stopped", SHORT, device="cpu", halt=lambda: next(asked))
    train(folder, tmp_path / "stopped", SHORT, device="cpu")
    found = [load_file(tmp_path / name / "denoiser.safetensors") for name in ("whole", "stopped")]
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())
    DenoisingNetwork().load_state_dict(found[0])
    assert (tmp_path / "stopped" / "log.csv").read_text().startswith("step,loss,psnr_held_back,seconds\n3,")


def test_rows_are_not_repeated_after_a_kill(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_denoiser, "LOOKED_EVERY", 1)
    calls = 0

    def killed(*given: Any) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("killed")
        return take_step(*given)

    monkeypatch.setattr(train_denoiser, "take_step", killed)
    with pytest.raises(RuntimeError, match="killed"):
        train(folder, tmp_path / "out", SHORT, device="cpu")
    assert not (tmp_path / "out" / "state.pt").exists(), "killed before the first saved state"
    for _ in range(2):
        train(folder, tmp_path / "out", SHORT, device="cpu")
        rows = (tmp_path / "out" / "log.csv").read_text().splitlines()
        assert [row.split(",")[0] for row in rows] == ["step", "1", "2", "3"]


def test_another_training_is_not_gone_on_with(folder: Path, tmp_path: Path) -> None:
    train(folder, tmp_path / "out", SHORT, device="cpu")
    with pytest.raises(SettingsError, match=r"other settings \(steps 3, not 4\)"):
        train(folder, tmp_path / "out", replace(SHORT, steps=4), device="cpu")
    (folder / "00.png").unlink()
    with pytest.raises(SettingsError, match=r"other settings \(photographs "):
        train(folder, tmp_path / "out", SHORT, device="cpu")
    (tmp_path / "out" / "state.pt").write_bytes(b"damaged")
    with pytest.raises(SettingsError, match=r"state\.pt cannot be read"):
        train(folder, tmp_path / "out", SHORT, device="cpu")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["nowhere", "-o", "out"], "nowhere has 0 photographs"),
        (["PHOTOS", "-o", "file"], "file cannot be made"),
        (["PHOTOS", "-o", "out", "--test", "nowhere"], "no photographs in nowhere to measure on"),
        (["PHOTOS", "-o", "out", "--side", "60"], "a multiple of 8 pixels, got 60"),
        (["PHOTOS", "-o", "out", "--device", "gpu"], "Unknown device 'gpu'"),
    ],
)
def test_bad_input_is_one_sentence(
    given: list[str],
    said: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(sys, "argv", ["train_denoiser", "--side", "16", *(str(folder) if g == "PHOTOS" else g for g in given)])
    with pytest.raises(SystemExit) as caught:
        train_denoiser.main()
    assert caught.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_ctrl_c_saves_and_says_how_to_go_on(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pretrained.train_denoiser", str(folder), "-o", str(tmp_path / "out"), "--side", "16"]
    running = subprocess.Popen([*command, "--device", "cpu", "--threads", "1"], stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    while "step/s" not in (line := running.stderr.readline(200)) and line:
        pass
    running.send_signal(signal.SIGINT)
    said = running.stderr.read()
    assert running.wait() == 130
    assert "Traceback" not in said
    assert re.fullmatch(r"Interrupted after \d+ of 24000 steps; repeat the command to go on\.", said.splitlines()[-1])
    assert (tmp_path / "out" / "state.pt").exists()


def test_a_denoiser_is_trained_on_a_camera_s_noise(folder: Path, tmp_path: Path, photograph: Tensor) -> None:
    train(folder, tmp_path / "out", replace(SHORT, noise="camera"), device="cpu")
    network = DenoisingNetwork()
    network.load_state_dict(load_file(tmp_path / "out" / "denoiser.safetensors"))
    noisy = photograph + 0.05 * torch.randn(photograph.shape, generator=torch.Generator().manual_seed(0))
    found, wanted = denoiser_of(network)(noisy, 0.05), load_denoiser()(noisy, COARSE * 0.05)
    assert psnr(found, wanted) > 35, "it begins as the denoiser of this package, told a larger level"


def test_halfway_between_two_networks() -> None:
    first, second = DenoisingNetwork(), DenoisingNetwork()
    mean = halfway(first, second)
    torch.testing.assert_close(mean.last.weight, (first.last.weight + second.last.weight) / 2)
    assert not torch.equal(mean.last.weight, first.last.weight)

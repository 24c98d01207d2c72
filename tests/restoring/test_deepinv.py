import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.errors import SettingsError
from hybrid_dip.images import metrics
from hybrid_dip.problem.tiles import can_be_tiled
from hybrid_dip.recipes import spec
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.regularisers import TV

deepinv = pytest.importorskip("deepinv")

from hybrid_dip.restoring.deepinv import HybridDIP, Prior, task  # noqa: E402


def small(steps: int) -> hd.Recipe:
    def network(in_channels: int, out_channels: int) -> torch.nn.Module:
        return hd.networks.skip(in_channels, out_channels, down=(8, 8), skip=(2, 2), upsample="bilinear")

    return hd.Recipe(network, lambda size: hd.latents.uniform(8, size), steps=steps, lr=0.02)


def test_a_prior_is_its_cost_per_entry(photograph: Tensor) -> None:
    # deepinv's total variation has no epsilon, and the same differences.
    found = Prior(deepinv.optim.TVPrior())(photograph)
    assert float(found) == pytest.approx(float(TV(1e-9)(photograph)), rel=1e-4)
    term = spec.term("hybrid_dip.deepinv:Prior:of=deepinv.optim:Tikhonov@0.1", catalogue())
    assert float(term.regulariser(photograph)) == pytest.approx(float(photograph.square().sum() / 2 / photograph.numel()))  # type: ignore[call-arg, arg-type]


def test_a_prior_without_a_cost_is_refused() -> None:
    with pytest.raises(SettingsError, match="PnP of deepinv has no cost"):
        Prior(deepinv.optim.PnP(deepinv.models.MedianFilter()))


def test_a_denoiser_serves_as_it_is(photograph: Tensor) -> None:
    denoiser = deepinv.models.MedianFilter(kernel_size=3)
    x = photograph.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(hd.regularisers.RED(denoiser)(x), x)
    torch.testing.assert_close(gradient, (photograph - denoiser(photograph, 0.1)) / photograph.numel())
    found = spec.term("red:denoiser=deepinv.models:MedianFilter@0.1", catalogue()).regulariser
    assert torch.isfinite(found(photograph))  # type: ignore[call-arg, arg-type]


def test_a_physics_makes_a_task(photograph: Tensor) -> None:
    noise = deepinv.physics.GaussianNoise(0.03)
    physics = deepinv.physics.Downsampling(img_size=(3, 32, 32), filter="bicubic", factor=2, noise_model=noise)
    found = task(physics(photograph), physics)
    assert found.shape == (1, 3, 32, 32)
    assert found.noise_sigma == pytest.approx(0.03)
    torch.testing.assert_close(found.forward(photograph), physics.A(photograph))
    assert torch.equal(found.forward(photograph), found.forward(photograph))  # no noise in A


def test_a_physics_that_says_how_local_it_is_is_tiled(photograph: Tensor) -> None:
    physics = deepinv.physics.Denoising()
    assert not can_be_tiled(task(photograph, physics))
    physics.locality = hd.operators.Locality(identity=True)
    assert can_be_tiled(task(photograph, physics))


def test_hybrid_dip_is_a_reconstructor(photograph: Tensor) -> None:
    physics = deepinv.physics.Inpainting(img_size=(3, 32, 32), mask=0.5)
    clean = torch.cat([photograph, photograph.flip(-1)])
    y = physics(clean)
    model = HybridDIP(small(200), 0.01 * TV())
    assert isinstance(model, deepinv.models.Reconstructor)
    with torch.no_grad():
        found = model(y, physics)
    assert found.shape == clean.shape
    assert metrics.psnr(found[:1], clean[:1]) > metrics.psnr(y[:1], clean[:1]) + 6
    one = hd.restore(task(y[:1], physics), preset=small(200), regularisers=0.01 * TV(), device="cpu")
    assert torch.equal(one.image, found[:1])


def test_what_is_wrong_is_said(photograph: Tensor) -> None:
    physics = deepinv.physics.Denoising()
    with pytest.raises(SettingsError, match=r"takes \(y, physics\) only, got x_net"):
        HybridDIP()(photograph, physics, x_net=photograph)
    with pytest.raises(SettingsError, match="One tensor of measurements"):
        task([photograph], physics)  # type: ignore[arg-type]

"""The original's recipes against a second, plain implementation of it, from one seed: the same draws in the same order."""

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import hybrid_dip as hd
from hybrid_dip import networks
from hybrid_dip.problem import operators, tasks
from hybrid_dip.recipes import presets
from tests.hourglass import Downsampler, Hourglass

RAMP = torch.linspace(0, 1, 64)
CLEAN = torch.stack([RAMP.expand(64, 64), RAMP[:, None].expand(64, 64), RAMP[:, None] * RAMP])[None]


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# factor -> jitter, and the first loss at seed 0: of the original, and without the draws of its downsampler
SUPER_RESOLUTION = {4: (0.03, 0.119353, 0.113943), 8: (0.05, 0.116789, 0.119900)}


@pytest.mark.parametrize("factor", SUPER_RESOLUTION)
def test_super_resolution_draws_latent_network_downsampler_jitter(factor: int) -> None:
    jitter, number, otherwise = SUPER_RESOLUTION[factor]
    small = operators.Downsample(factor)(CLEAN)
    torch.manual_seed(0)
    z = torch.zeros(1, 32, 64, 64).uniform_() * 0.1
    network = Hourglass(32, 3, (128,) * 5, 4)
    downsampler = Downsampler(3, factor)
    with torch.no_grad():
        assert torch.allclose(downsampler(CLEAN), small, atol=1e-6)
        loss = (downsampler(network(z + torch.zeros_like(z).normal_() * jitter)) - small).square().mean()
    assert float(loss) == pytest.approx(number, abs=1e-5)

    task = tasks.super_resolve(small, factor=factor)

    def first(recipe: hd.Recipe) -> float:
        return hd.restore(task, preset=recipe, steps=1, device="cpu").fits[0].history[0]["fidelity"]

    assert first(presets.original(task)) == pytest.approx(float(loss), abs=1e-5)
    if factor == 4:
        assert first(replace(presets.original(task), spare_draws=None)) == pytest.approx(otherwise, abs=1e-5)
    assert presets.quick(task).spare_draws is presets.fast(task).spare_draws is None


@pytest.mark.parametrize("support", [2, 3])
def test_a_lanczos_downsampler_within_the_network_is_a_trained_convolution(support: int) -> None:
    torch.manual_seed(0)
    plain = Hourglass(8, 3, (8, 16, 32), 4, support)
    torch.manual_seed(0)
    ours = networks.skip(
        8, 3, down=(8, 16, 32), skip=(4, 4, 4), downsample=f"lanczos{support}", upsample="bilinear", padding="reflection"
    )
    assert sum(p.numel() for p in ours.parameters()) == {2: 123887, 3: 231407}[support]
    z = torch.rand(1, 8, 32, 48)
    gradients = []
    for network in (plain, ours):
        loss = (network(z) - 0.5).square().mean()
        loss.backward()
        trained = [p for p in network.parameters() if p.ndim == 4 and p.shape[-1] == 4 * support]
        assert len(trained) == 3
        gradients.append([loss.detach(), *(p.grad.abs().sum() for p in trained if p.grad is not None)])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(ours(z), plain(z), atol=1e-5, rtol=0)


def test_a_fixed_lanczos_filter_has_no_weights_and_begins_as_the_trained_one() -> None:
    outputs, sizes = [], []
    for how in ("avg", "fixed-lanczos2", "lanczos2"):
        network = networks.skip(8, 3, down=(8, 16, 32), skip=(4, 4, 4), downsample=how)  # type: ignore[arg-type]
        sizes.append(sum(p.numel() for p in network.parameters()))
        if how != "avg":
            reducer = next(layer for layer in network.modules() if isinstance(layer, nn.Sequential) and len(layer) == 7)[1]
            torch.manual_seed(0)
            outputs.append(reducer(torch.rand(1, 8, 16, 16)))
    assert sizes == [37815, 37815, 123887]
    torch.testing.assert_close(*outputs, atol=1e-6, rtol=0)


class Stumbling(nn.Module):
    """A thin network whose output is turned over once, at step 100, so that the fit to y falls by more than 5 dB."""

    def __init__(self, channels: int, out: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Tanh(), nn.Conv2d(8, out, 1), nn.Sigmoid()
        )
        self.passes = 0

    def forward(self, z: Tensor) -> Tensor:
        self.passes += 1
        x: Tensor = self.layers(z)
        return 1 - x if self.passes == 101 else x


def test_missing_pixels_fall_back_where_the_original_does(photograph: Tensor) -> None:
    """Every 50 steps the fit to y is compared with that of 50 steps before; where it is 5 dB worse, the fit goes back there."""
    torch.manual_seed(1)
    mask = (torch.rand(1, 1, 32, 32) < 0.5).float()
    dark = photograph / 4  # so that what is turned over is far off
    task = tasks.missing_pixels(dark * mask, mask)
    recipe = replace(presets.original(task), network=Stumbling, lr=0.01)
    found = hd.restore(task, preset=recipe, steps=151, seed=0, device="cpu").fits[0]

    torch.manual_seed(0)
    network = Stumbling(32, 3)
    z = torch.zeros(1, 32, 32, 32).uniform_() * 0.1
    adam = torch.optim.Adam(network.parameters(), lr=0.01, fused=True)
    saved = {}
    losses = []
    for step in range(151):
        if step == 50:
            saved = copy.deepcopy({"network": network.state_dict(), "adam": adam.state_dict()})
        loss = ((network(z + torch.randn(z.shape) * 0.03) - dark) * mask).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step % 50 == 0:
            losses.append(loss.item())
        if step == 100:
            network.load_state_dict(saved["network"])
            adam.load_state_dict(saved["adam"])
    decibels = [-10 * math.log10(loss) for loss in losses]
    assert decibels[1] - decibels[2] > 5
    assert [note.split(":")[0] for note in found.notes] == ["Step 100"]
    assert f"fell by {decibels[1] - decibels[2]:.1f} dB" in found.notes[0]
    assert [row["fidelity"] for row in found.history] == pytest.approx(losses, rel=1e-4)
    few = (torch.arange(32 * 32) % 50 == 0).float().view(1, 1, 32, 32)
    of_few = presets.original(tasks.missing_pixels(dark, few))
    assert (of_few.fallback, of_few.log_every) == (recipe.fallback, recipe.log_every) == (5, 50)
    assert presets.original(tasks.inpaint(dark, mask)).fallback is None  # whose notebook has none

"""Extended SURE against a second, plain loop written from the description of its authors' code."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hybrid_dip import networks
from hybrid_dip.contracts import Fit, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting.checkpoint import Checkpoint
from hybrid_dip.fitting.optimizers import radam
from hybrid_dip.fitting.solvers import ExtendedSURE
from hybrid_dip.fitting.solvers.stein import Perturbed
from hybrid_dip.problem import degradations, tasks
from tests.fits import halt_after

SIGMA = 0.1
STEPS = 12


def thin() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Softplus(), nn.Conv2d(8, 3, 1), nn.Sigmoid())


def run(task: Task, **options: Any) -> Fit:
    given = {"optimizer": radam(0.05), "jitter": 9.0, "max_steps": STEPS, "log_every": 1}
    return ExtendedSURE(0.5).run(thin(), task.observation, task, **{**given, **options})


def test_the_steps_are_those_of_the_authors_code(photograph: Tensor) -> None:
    """mean |f(z) - y|^2 + 2 sigma^2 mean b (J^T b), z = y + noise of a level uniform on [0, sigma / 2], by RAdam."""
    task = degradations.noisy(photograph, sigma=SIGMA).task
    y = task.observation
    network = thin()
    stepper = torch.optim.RAdam(network.parameters(), lr=0.05)
    losses = []
    for _ in range(STEPS):
        level = 0.5 * SIGMA * torch.rand(())
        z = (y + level * torch.randn(y.shape)).requires_grad_()
        out = network(z)
        b = torch.randn(y.shape)
        (pulled,) = torch.autograd.grad((b * out).sum(), z, create_graph=True)
        loss = (out - y).square().mean() + 2 * SIGMA**2 * (b * pulled).mean()
        stepper.zero_grad()
        loss.backward()
        stepper.step()
        losses.append(loss.item())
    found = run(task)
    assert [row["loss"] for row in found.history] == pytest.approx(losses, rel=1e-4)
    assert all(abs(row["divergence"]) > 1e-3 * row["fidelity"] for row in found.history)


def test_the_divergence_goes_through_the_fast_kernels_twice(photograph: Tensor) -> None:
    """The same value and the same gradient as in double precision, in which every layer is torch's own."""
    gradients = []
    for precise in (False, True):
        torch.manual_seed(0)
        network = Perturbed(networks.s2s(3, down=32, up=32), 0.0, SIGMA, torch.Generator())
        x = photograph.repeat(1, 1, 2, 2)
        network, x = (network.double(), x.double()) if precise else (network, x)
        image = network(x)
        torch.manual_seed(1)
        b = torch.randn(x.shape)  # the same numbers for both
        (pulled,) = torch.autograd.grad((b.to(image) * image).sum(), network.z, create_graph=True)
        (b.to(image) * pulled).mean().backward()
        gradients.append(torch.cat([p.grad.double().flatten() for p in network.parameters() if p.grad is not None]))
    single, double = gradients
    assert float((single - double).norm()) < 1e-3 * float(double.norm())


def test_an_interrupted_fit_goes_on_to_the_same_floats(photograph: Tensor, tmp_path: Path) -> None:
    task = degradations.noisy(photograph, sigma=SIGMA).task
    whole = run(task, log_every=4)
    checkpoint = Checkpoint(tmp_path / "fit.pt", 4)
    assert run(task, log_every=4, checkpoint=checkpoint, halt=halt_after(7)).reason == "interrupted"
    assert torch.equal(run(task, log_every=4, checkpoint=checkpoint).image, whole.image)


def test_what_it_is_not_for_is_said(photograph: Tensor) -> None:
    for task in (tasks.jpeg(photograph), tasks.super_resolve(photograph, factor=2, sigma=0.1)):
        with pytest.raises(SettingsError, match="Gaussian noise of a known level"):
            run(task)
    noisy = degradations.noisy(photograph, sigma=SIGMA).task
    with pytest.raises(SettingsError, match="whose input is the noisy image"):
        ExtendedSURE().run(thin(), torch.zeros(1, 8, 32, 32), noisy)
    with pytest.raises(SettingsError, match="level of at least 0"):
        ExtendedSURE(-1)

"""DeepRED against a second, plain loop written from the description of its authors' code."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hybrid_dip.contracts import Fit, State, Step, Task, Verdict
from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting.checkpoint import Checkpoint
from hybrid_dip.fitting.optimizers import adam
from hybrid_dip.fitting.solvers import DeepRED
from hybrid_dip.fitting.solvers.deepred import Companion, Growth
from hybrid_dip.problem import degradations
from hybrid_dip.regularisers.terms import Term
from tests.fits import halt_after

STEPS = 24


def thin() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Tanh(), nn.Conv2d(8, 3, 1), nn.Sigmoid())


def smooth(x: Tensor, sigma: float) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1) + sigma


CASES: dict[str, Any] = {
    "denoise": (lambda x: degradations.noisy(x, sigma=0.1), DeepRED(smooth, growth=Growth(0.03, 10.0, 0.3))),
    "super-resolve": (lambda x: degradations.downsampled(x, factor=2), DeepRED(smooth, 5 / 255, 0.05, 0.06, by_dual=True)),
}


def run(solver: DeepRED, task: Task, **options: Any) -> Fit:
    network = thin()
    z = torch.rand(1, 4, *task.shape[-2:])
    given = {"optimizer": adam(0.02), "jitter": 0.033, "max_steps": STEPS, "log_every": 1}
    return solver.run(network, z, task, **{**given, **options})


@pytest.mark.parametrize("name", CASES)
def test_the_steps_are_those_of_the_authors_code(name: str, photograph: Tensor) -> None:
    make, solver = CASES[name]
    task = make(photograph).task
    y, denoising = task.observation, name == "denoise"

    network = thin()
    z = torch.rand(1, 4, 32, 32)
    stepper = torch.optim.Adam(network.parameters(), lr=0.02)
    x = y if denoising else torch.zeros(task.shape)
    u, denoised, waiting = torch.zeros_like(x), x, x
    beta, mu, threshold = solver.beta, solver.mu, 10.0
    losses, output = [], x
    for i in range(1, STEPS + 1):
        out = network(z + 0.033 * torch.randn(z.shape))
        loss = (task.forward(out) - y).square().mean() + mu * (out - (x - u)).square().mean()
        stepper.zero_grad()
        loss.backward()
        stepper.step()
        losses.append(loss.item())
        output = out.detach()
        if i % 10 == 0:
            denoised, waiting = smooth(waiting, solver.sigma), x
        x = ((beta * denoised + mu * (output + u)) / (beta + mu)).clip(0, 1)
        u = u + output - x
        if denoising and -10 * math.log10(float((output - y).square().mean())) > threshold:
            mu, beta, threshold = mu + 0.03, beta + 0.03, threshold + 0.3

    found = run(solver, task)
    assert (mu > solver.mu) == denoising
    assert mu < solver.mu + 0.03 * STEPS  # the threshold was crossed, and then ran ahead of the fit
    assert [row["loss"] for row in found.history] == pytest.approx(losses, rel=1e-4)
    torch.testing.assert_close(found.image, output if denoising else x - u, atol=1e-4, rtol=0)


@dataclass(frozen=True)
class KeepSixth:
    """Keeps step 5 to the end."""

    reason = "sixth"

    def start(self, task: Task) -> State:
        return {}

    def update(self, state: State, step: Step) -> tuple[State, Verdict]:
        return state, Verdict(torch.tensor(step.index <= 5), torch.tensor(False))


def test_the_result_is_the_output_that_a_rule_kept(photograph: Tensor) -> None:
    make, solver = CASES["super-resolve"]
    outputs: list[Tensor] = []
    found = run(solver, make(photograph).task, max_steps=8, rule=KeepSixth(), observers=[lambda s: outputs.append(s.image)])
    assert torch.equal(found.image, outputs[5])
    assert not any(torch.equal(run(solver, make(photograph).task, max_steps=8).image, output) for output in outputs)


def test_it_begins_at_y_with_holes_filled(photograph: Tensor) -> None:
    task = degradations.scattered(photograph, share=0.5).task
    known = task.weight.expand_as(photograph) > 0  # type: ignore[union-attr]
    begun = Companion(DeepRED(smooth), task).x
    assert torch.allclose(begun[known], photograph[known], atol=1e-5)
    assert float((begun - photograph).square().mean()) < 0.1 * float((task.observation - photograph).square().mean())


def test_growth_needs_an_image_to_compare_with(photograph: Tensor) -> None:
    task = CASES["super-resolve"][0](photograph).task
    with pytest.raises(SettingsError, match="compares the image with y"):
        run(DeepRED(smooth, growth=Growth()), task)
    for options in ({"beta": 0.0}, {"mu": math.inf}, {"sigma": 0.0}, {"every": 0}):
        with pytest.raises(SettingsError, match="DeepRED needs"):
            DeepRED(smooth, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", CASES)
def test_an_interrupted_fit_goes_on_to_the_same_floats(name: str, photograph: Tensor, tmp_path: Path) -> None:
    make, solver = CASES[name]
    task, mine = make(photograph).task, Term(lambda x: x.square().mean(), 0.01, "mine")
    whole = run(solver, task, terms=mine, log_every=4)
    checkpoint = Checkpoint(tmp_path / "fit.pt", 4)
    assert run(solver, task, terms=mine, log_every=4, checkpoint=checkpoint, halt=halt_after(22)).reason == "interrupted"
    resumed = run(solver, task, terms=mine, log_every=4, checkpoint=checkpoint)
    assert torch.equal(resumed.image, whole.image)
    assert resumed.history[-1]["mine"] > 0

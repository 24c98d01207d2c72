"""A fit that came to nothing ends in an error: never in a black picture."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

import hybrid_dip as hd
from hybrid_dip.contracts import State, Step, Task, Verdict
from hybrid_dip.errors import FitError
from hybrid_dip.fusion import stack
from hybrid_dip.fusion.stacking import Arm
from hybrid_dip.regularisers.terms import Term
from tests.fits import lean, run


def mask(share: float) -> Tensor:
    return (torch.rand(1, 1, 16, 16) < share).float()


def far_too_fast(task: Task) -> hd.Recipe:
    network = partial(hd.networks.skip, down=(8,), skip=(4,), upsample="bilinear")
    return replace(hd.presets.quick(task), network=network, latent=partial(hd.latents.uniform, channels=4), lr=100.0, steps=12)


TASKS: dict[str, Callable[[Tensor], Task]] = {
    "denoise": lambda y: hd.tasks.denoise(y, sigma=0.1),
    "of a dark image": lambda y: hd.tasks.denoise(0.2 * y, sigma=0.02),
    "of a bright image": lambda y: hd.tasks.denoise(0.9 + 0.1 * y, sigma=0.02),
    "inpaint": lambda y: hd.tasks.inpaint(y, mask(0.8)),
    "missing pixels": lambda y: hd.tasks.missing_pixels(y, mask(0.3)),
    "super-resolve": lambda y: hd.tasks.super_resolve(torch.cat([y, y], -1), factor=2),
    "deblur": lambda y: hd.tasks.deblur(y, torch.ones(3, 3)),
    "jpeg": hd.tasks.jpeg,
    "flash": lambda y: hd.tasks.flash(y, y.flip(1)),
    "poisson": lambda y: hd.tasks.denoise(y, fidelity=hd.fidelity.poisson),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_learning_rate_far_too_high_is_an_error_in_every_task(photograph: Tensor, name: str) -> None:
    task = TASKS[name](photograph[..., :16, :16])
    with pytest.raises(FitError, match=r"The fit came to nothing, because .*: lower the learning rate \(lr\)"):
        hd.restore(task, preset=far_too_fast(task), device="cpu")


class Jumping(nn.Module):
    """A network whose first step leads to black."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor(0.5))

    def forward(self, z: Tensor) -> Tensor:
        return z[:, :3] * 0 + self.level


@pytest.mark.parametrize("steps", [12, 13])
def test_whether_the_last_step_goes_back_or_has_just_gone_back(noisy: Task, steps: int) -> None:
    """With an even number of steps the last one is judged bad, with an odd one it is the beginning again."""
    with pytest.raises(FitError, match=r"came back to its beginning each time .*the fit to the observation fell by"):
        run(noisy, network=Jumping(), optimizer=hd.optimizers.adam(30.0), max_steps=steps, log_every=1, fallback=5.0)


class Until15:
    reason = "never"

    def start(self, task: Task) -> State:
        return {}

    def update(self, state: State, step: Step) -> tuple[State, Verdict]:
        return state, Verdict(torch.tensor(step.index <= 15), torch.tensor(False))


def test_what_a_rule_kept_before_the_fit_broke_is_kept_with_a_note(noisy: Task) -> None:
    network = lean()

    def vandal(step: Step) -> None:
        if step.index == 20:
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.mul_(1e4)

    found = run(noisy, network=network, rule=Until15(), observers=[vandal])
    assert found.kept_at == 15
    assert [note[:55] for note in found.notes] == ["The image of step 15 was kept; of the last one it must "]


def test_a_fit_that_is_drawn_elsewhere_by_a_prior_is_no_failure(noisy: Task) -> None:
    """Black is what this objective asks for; a flat image is what so much variation costs."""
    assert float(run(noisy, Term(Tensor.mean, 1e3), max_steps=40).image.mean()) < 0.1
    assert run(noisy, 1e3 * hd.TV(), max_steps=40).kept_at == 39


def test_several_seeds_solvers_stacks_and_selections_end_in_the_same_error(noisy: Task) -> None:
    recipe = far_too_fast(noisy)
    for way in (
        lambda: hd.restore(noisy, preset=recipe, runs=2, device="cpu"),
        lambda: hd.restore(noisy, preset=replace(recipe, solver=hd.solvers.ADMM()), regularisers=0.05 * hd.TV(), device="cpu"),
        lambda: hd.restore(noisy, preset=recipe, rule=hd.selection.HeldOut(), device="cpu"),
        lambda: stack(
            noisy, [Arm("dip", recipe), Arm("dip+tv", recipe, 0.05 * hd.TV() + Term(Tensor.mean, 0.0))], device="cpu"
        ),
    ):
        with pytest.raises(FitError, match="The fit came to nothing"):
            way()

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import hybrid_dip as hd
from hybrid_dip.contracts import Step, Task
from hybrid_dip.errors import FitError
from hybrid_dip.fitting.guard import Guard
from hybrid_dip.fitting.iterates import Tracker
from hybrid_dip.fitting.objective import Evaluation, Objective
from hybrid_dip.fitting.unknowns import Unknowns
from hybrid_dip.problem import tasks
from hybrid_dip.regularisers import schedules
from hybrid_dip.regularisers.terms import Term, Terms
from hybrid_dip.stopping import WindowedVariance
from tests.fits import Poisoned, lean, run

Advance = Callable[[int], None]


@pytest.fixture
def guarded() -> tuple[Guard, Advance]:
    """A guard, and a function that takes one step in which everything that it guards changes."""
    torch.manual_seed(0)
    task = tasks.denoise(torch.zeros(1, 1, 16, 16), sigma=0.1)
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.BatchNorm2d(1))
    latent = torch.rand(1, 1, 16, 16)
    adam = torch.optim.Adam(network.parameters(), fused=True)
    tracker = Tracker(WindowedVariance(window=3, patience=5), task, 0.9)
    unknowns = Unknowns(network, latent, list(network.parameters()))
    guard = Guard(unknowns, adam, Objective(task, Terms(), 10), tracker, None)

    def advance(step: int) -> None:
        image = network(latent)
        loss = image.square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        latent.add_(0.01)
        x = image.detach()
        tracker.update(Evaluation(x, x, {"total": loss.detach()}, {}, {}), step, 0.01, True)

    return guard, advance


def tensors(state: object) -> list[Tensor]:
    if isinstance(state, Tensor):
        return [state]
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return [found for part in parts for found in tensors(part)]


def same(one: object, other: object) -> bool:
    return all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


def test_the_good_state_is_a_copy(guarded: tuple[Guard, Advance]) -> None:
    guard, advance = guarded
    for step in range(6):
        before = guard.current()
        guard.remember()
        advance(step)
        assert guard.look(step)
        assert same(guard.good, before)
        assert not same(guard.good, guard.current())
        guard.remember()
        assert same(guard.good, before), "what is remembered next must not be written over what is good"


def test_it_goes_back_to_exactly_the_good_state(guarded: tuple[Guard, Advance]) -> None:
    guard, advance = guarded
    for step in range(4):
        guard.remember()
        before = guard.current()
        advance(step)
        guard.look(step)
    guard.remember()
    with torch.no_grad():
        next(guard.unknowns.network.parameters()).fill_(float("nan"))
    advance(4)
    assert guard.look(4)
    assert same(guard.current(), before)
    assert guard.rate == 0.5
    guard.remember()
    advance(5)
    assert same(guard.good, before), "a state that was put back is not changed by going on from it"


def test_a_copy_shares_nothing_with_what_it_copies(guarded: tuple[Guard, Advance]) -> None:
    guard, advance = guarded
    advance(0)
    live = {
        value.data_ptr()
        for value in tensors([guard.unknowns.network.state_dict(), guard.optimizer.state_dict(), guard.unknowns.latent])
    }
    for _ in range(3):
        guard.remember()
        assert not live & {value.data_ptr() for value in tensors(guard.remembered)}


def test_nan_is_fallen_back_from(noisy: Task) -> None:
    found = run(noisy, Term(Poisoned(12, 2), 0.01), max_steps=40)
    assert found.reason == "max_steps"
    assert bool(torch.isfinite(found.image).all())
    assert bool(torch.isfinite(found.last).all())
    assert len(found.notes) == 1
    assert "learning rate to 1/2" in found.notes[0]
    assert found.history[-1]["learning_rate"] == pytest.approx(0.005)
    assert found.history[-1]["loss"] < found.history[0]["loss"]


def test_after_three_fallbacks_it_ends_with_the_last_good_image(noisy: Task) -> None:
    images: list[Tensor] = []
    found = run(
        noisy, Term(Poisoned(13, 10**9), 0.01), max_steps=100, average=0.9, observers=[lambda step: images.append(step.image)]
    )
    assert found.reason == "not finite"
    assert found.steps < 100
    assert found.kept_at == 9  # the state before logged step 10, whose own evaluation was still finite
    assert bool(torch.isfinite(found.image).all())
    assert all(bool(torch.isfinite(value).all()) for value in found.state["network"].values())
    assert all(bool(torch.isfinite(image).all()) for image in images)
    assert len(found.notes) == 4
    assert "ended with the last good image" in found.notes[-1]


def test_the_part_that_was_not_finite_first_is_named(noisy: Task) -> None:
    """One step later everything is NaN; the step itself is between two logged ones."""
    calls: list[int] = []

    def rooted(x: Tensor) -> Tensor:
        calls.append(0)
        return (x - x.detach()).square().sum().sqrt() if len(calls) == 13 else x.mean()

    assert "not finite (the regulariser 'poisoned'); went back" in run(noisy, Term(Poisoned(13, 1), 0.01)).notes[0]
    terms = 0.1 * hd.TV() + Term(rooted, 0.01)
    assert "not finite (the regulariser 'rooted'); went back" in run(noisy, terms).notes[0]


@pytest.mark.parametrize("last", [28, 29])
def test_the_part_is_named_at_the_end_too(noisy: Task, last: int) -> None:
    """Behind the last good step is none but the beginning, which is no result."""
    with pytest.raises(FitError, match=r"came back to its beginning .* \(the regulariser 'poisoned'\).* or look at the part"):
        run(noisy, Term(Poisoned(last + 1, 1), 0.01), log_every=100)


def test_an_exploding_learning_rate_never_reaches_the_result(noisy: Task) -> None:
    class Explosive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(1.0))

        def forward(self, z: Tensor) -> Tensor:
            return z[:, :3] * self.scale

    with pytest.raises(
        FitError, match=r"not finite again after 3 fallbacks \(the fidelity\)\): lower the learning rate \(lr\).$"
    ):
        run(noisy, network=Explosive(), optimizer=lambda leaves: torch.optim.SGD(leaves, lr=1e5), max_steps=200, log_every=25)


@pytest.mark.parametrize("when", [20, 25, 28, 29])
def test_the_fallback_returns_from_a_collapse_of_the_fit(noisy: Task, when: int) -> None:
    """The weights are overwritten after a step; the fit goes back to parameters, buffers, moments and average from before."""
    network = lean()
    vandalised = []

    def vandal(step: Step) -> None:
        if step.index == when and not vandalised:
            vandalised.append(step.index)
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.normal_(std=3.0)

    found = run(noisy, network=network, max_steps=61, fallback=2.0, log_every=10, average=0.9, observers=[vandal])
    assert len([note for note in found.notes if "went back" in note]) == 1
    undisturbed = run(noisy, max_steps=61, log_every=10, average=0.9)
    assert found.history[-1]["fidelity"] < 1.2 * undisturbed.history[-1]["fidelity"]
    error = [float((fit_.image - noisy.observation).square().mean()) for fit_ in (found, undisturbed)]
    assert error[0] < 1.2 * error[1]


def test_nan_in_the_first_steps_leaves_balanced_weights_alive(noisy: Task) -> None:
    found = run(noisy, Term(Poisoned(12, 2), schedules.Balanced(0.5), "mine"), max_steps=40, log_every=5)
    weight = found.history[-1]["weight_mine"]
    assert weight > 0
    clean = run(noisy, Term(Poisoned(10**9, 1), schedules.Balanced(0.5), "mine"), max_steps=40, log_every=5)
    assert weight == pytest.approx(clean.history[-1]["weight_mine"], rel=0.5)


def test_nan_does_not_disturb_the_windowed_variance(noisy: Task) -> None:
    rule = WindowedVariance(window=4, patience=50)
    found = run(noisy, Term(Poisoned(33, 3), 0.0), max_steps=100, log_every=10, rule=rule)
    assert len(found.notes) == 1
    assert found.kept_at > 40 or found.steps > 80

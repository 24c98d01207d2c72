from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hybrid_dip import tasks
from hybrid_dip.contracts import Terms
from hybrid_dip.guard import Guard
from hybrid_dip.objective import Evaluation, Objective
from hybrid_dip.stopping import WindowedVariance
from hybrid_dip.tracking import Tracker

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
    guard = Guard(network, latent, adam, Objective(task, Terms(), 10), tracker, None)

    def advance(step: int) -> None:
        image = network(latent)
        loss = image.square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        latent.add_(0.01)
        tracker.update(image, Evaluation(loss.detach(), image.detach(), {}, {}, {}), step, 0.01, True)

    return guard, advance


def tensors(state: object) -> list[Tensor]:
    if isinstance(state, Tensor):
        return [state]
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return [found for part in parts for found in tensors(part)]


def same(one: object, other: object) -> bool:
    return all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


def test_the_good_state_stays_as_it_was_while_later_ones_are_remembered(guarded: tuple[Guard, Advance]) -> None:
    guard, advance = guarded
    for step in range(6):
        before = guard.current()
        guard.remember()
        advance(step)
        assert guard.look(guard.objective.task, step)
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
        guard.look(guard.objective.task, step)
    guard.remember()
    with torch.no_grad():
        next(guard.network.parameters()).fill_(float("nan"))
    advance(4)
    assert guard.look(guard.objective.task, 4)
    assert same(guard.current(), before)
    assert guard.rate == 0.5
    guard.remember()
    advance(5)
    assert same(guard.good, before), "a state that was put back is not changed by going on from it"


def test_a_copy_shares_nothing_with_what_it_copies(guarded: tuple[Guard, Advance]) -> None:
    guard, advance = guarded
    advance(0)
    live = {value.data_ptr() for value in tensors([guard.network.state_dict(), guard.stepper.state_dict(), guard.latent])}
    for _ in range(3):
        guard.remember()
        assert not live & {value.data_ptr() for value in tensors(guard.remembered)}

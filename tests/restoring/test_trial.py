import pytest
import torch

from hybrid_dip.execution import devices
from hybrid_dip.problem import tasks
from hybrid_dip.recipes import presets
from hybrid_dip.restoring import trial


def task(side: int) -> tasks.Task:
    return tasks.denoise(torch.rand(1, 3, side, side), sigma=0.1)


def test_a_fit_that_ends_at_once_is_timed() -> None:
    """A grey image and a noise level so high that the first output is near enough: one step is not enough to time."""
    flat = tasks.denoise(torch.full((1, 1, 32, 32), 0.5), sigma=60 / 255)
    recipe = presets.fast(flat)
    where = torch.device("cpu")
    assert trial.seconds_of_a_step(flat, recipe, [], where) > 0
    _, trials = trial.choose_execution("auto", "off", "off", flat, recipe, [], where)
    assert [trial.error for trial in trials if not trial.execution.compiled] == [""] * len(trials)


def test_nothing_is_tried_that_would_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    where, made = torch.device("cpu"), task(32)
    assert len(trial.choose_execution("auto", "off", "off", made, presets.quick(made), [], where)[1]) == 2
    monkeypatch.setattr(devices, "free_memory", lambda device: 1)
    assert trial.choose_execution("auto", "off", "off", made, presets.quick(made), [], where) == (trial.PLAIN, [])

import pytest
import torch
from torch import Tensor

from hybrid_dip import tasks
from hybrid_dip.objective import Evaluation
from hybrid_dip.stopping import MaxSteps
from hybrid_dip.tracking import Tracker


def found(value: float, residual: Tensor) -> Evaluation:
    total = torch.tensor(value)
    return Evaluation(total, residual, {"total": total}, {}, {})


@pytest.mark.parametrize("average", [None, 0.5])
@pytest.mark.parametrize("where", ["image", "loss"])
def test_a_step_that_is_not_finite_is_neither_kept_nor_seen(average: float | None, where: str) -> None:
    tracker = Tracker(MaxSteps(), tasks.denoise(torch.zeros(1, 1, 16, 16), sigma=0.1), average)
    good = torch.full((1, 1, 16, 16), 0.25)
    tracker.update(good, found(0.1, good), 0, 0.01, True)
    image = good * float("nan") if where == "image" else good + 0.5
    bad = found(float("nan") if where == "loss" else 0.1, image)
    step = tracker.update(image, bad, 1, 0.01, False)
    assert not bool(tracker.healthy)
    assert int(tracker.kept_at) == 0
    for seen in (tracker.kept, tracker.last, step.candidate, step.image, step.residual):
        assert torch.equal(seen, good)
    tracker.update(good + 0.5, found(0.1, good), 2, 0.01, False)
    assert int(tracker.kept_at) == 2
    assert not bool(tracker.healthy), "one bad step is not forgotten before somebody has looked"

import pytest
import torch
from torch import Tensor

from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting.iterates import Growing, Tracker
from hybrid_dip.fitting.objective import Evaluation
from hybrid_dip.problem import tasks
from hybrid_dip.stopping import MaxSteps


def evaluation(image: Tensor, loss: float, residual: Tensor | None = None) -> Evaluation:
    return Evaluation(image, image if residual is None else residual, {"total": torch.tensor(loss)}, {}, {})


@pytest.mark.parametrize("average", [None, 0.5])
@pytest.mark.parametrize("where", ["image", "loss"])
def test_a_step_that_is_not_finite_is_dropped(average: float | None, where: str) -> None:
    tracker = Tracker(MaxSteps(), tasks.denoise(torch.zeros(1, 1, 16, 16), sigma=0.1), average)
    good = torch.full((1, 1, 16, 16), 0.25)
    tracker.update(evaluation(good, 0.1), 0, 0.01, True)
    image = good * float("nan") if where == "image" else good + 0.5
    loss = float("nan") if where == "loss" else 0.1
    step = tracker.update(evaluation(image, loss), 1, 0.01, False)
    assert not bool(tracker.healthy)
    assert int(tracker.kept_at) == 0
    for seen in (tracker.kept, tracker.last, step.candidate, step.image, step.residual):
        assert torch.equal(seen, good)
    tracker.update(evaluation(good + 0.5, 0.1, good), 2, 0.01, False)
    assert int(tracker.kept_at) == 2
    assert not bool(tracker.healthy), "one bad step is not forgotten before somebody has looked"


def averages(average: Growing, images: list[float]) -> list[float]:
    tracker = Tracker(MaxSteps(), tasks.denoise(torch.zeros(1, 1, 16, 16), sigma=0.1), average)
    found_at = []
    for index, value in enumerate(images):
        image = torch.full((1, 1, 16, 16), value)
        step = tracker.update(evaluation(image, 0.1), index, 0.01, False)
        found_at.append(float(step.candidate.mean()))
    return found_at


def test_a_growing_average_over_all_steps_is_their_mean() -> None:
    images = [0.9, 0.1, 0.4, 0.2]
    assert averages(Growing(1), images) == pytest.approx([0.9, 0.5, 1.4 / 3, 0.4])


def test_a_growing_average_forgets_the_beginning_at_any_length() -> None:
    """The first tenth of the steps counts for less than a thousandth with a share of a ninth: (1/10)^9 but for few steps."""
    for steps in (100, 1000):
        assert averages(Growing(1 / 9), [1.0] * (steps // 10) + [0.0] * (9 * steps // 10))[-1] < 1e-3
    assert averages(Growing(1 / 9), [0.0] * 500 + [1.0] * 500)[-1] > 0.99


@pytest.mark.parametrize("share", [0, -1, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(SettingsError, match="share"):
        Growing(share)

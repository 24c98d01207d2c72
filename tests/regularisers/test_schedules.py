import pytest
import torch

from hybrid_dip.errors import SettingsError
from hybrid_dip.regularisers import schedules
from hybrid_dip.regularisers.terms import Moment


def at(step: int, steps: int = 101, norm: float = 2.0) -> Moment:
    return Moment(step, steps, torch.tensor(norm), noise_gradient=0.5)


def test_linear_and_cosine_meet_their_ends() -> None:
    for schedule in (schedules.Linear(0.3, 0.1), schedules.Cosine(0.3, 0.1)):
        assert schedule(at(0)) == pytest.approx(0.3)
        assert schedule(at(50)) == pytest.approx(0.2)
        assert schedule(at(100)) == pytest.approx(0.1)
    assert schedules.Cosine(1, 0)(at(25)) == pytest.approx(0.5 + 0.5 * 0.5**0.5)


def test_steps_change_at_their_steps() -> None:
    schedule = schedules.Steps([1.0, 0.1, 0.0], [10, 20])
    assert [schedule(at(step)) for step in (0, 9, 10, 19, 20, 100)] == [1, 1, 0.1, 0.1, 0, 0]


def test_warm_up_rises_and_stays() -> None:
    schedule = schedules.WarmUp(0.4, 10)
    assert [schedule(at(step)) for step in (0, 5, 10, 90)] == pytest.approx([0, 0.2, 0.4, 0.4])


def test_balanced_makes_the_pull_a_share_of_the_noise_gradient() -> None:
    weight = schedules.Balanced(0.5)(at(30, norm=2.0))
    assert float(weight) * 2.0 == pytest.approx(0.5 * 0.5)
    assert float(schedules.Balanced(0.5)(at(0, norm=0.0))) == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: schedules.Linear(-1, 0),
        lambda: schedules.Cosine(0, float("nan")),
        lambda: schedules.Steps([1.0], [5]),
        lambda: schedules.Steps([1.0, 2.0, 3.0], [9, 5]),
        lambda: schedules.Balanced(float("inf")),
    ],
)
def test_bad_values(make: object) -> None:
    with pytest.raises(SettingsError):
        make()  # type: ignore[operator]

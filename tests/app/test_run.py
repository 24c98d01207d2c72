"""A fit that is watched, stopped and gone on with comes to the floats of one that is left alone; fits take turns."""

import shutil
import threading

import torch

from hybrid_dip.app.run import Queue, Run
from tests.app.conftest import MakeRun
from tests.waiting import wait_for


def finished(run: Run) -> torch.Tensor:
    assert run.result is not None, run.error
    return run.result.image


class StopAfter(threading.Event):
    """Is set after so many questions, one a step."""

    def __init__(self, questions: int):
        super().__init__()
        self.left = questions

    def is_set(self) -> bool:
        self.left -= 1
        if self.left == 0:
            self.set()
        return super().is_set()


def test_stopped_and_gone_on_with_it_is_the_same(make_run: MakeRun) -> None:
    whole, stopped = make_run(steps=4), make_run(steps=4)
    whole.fit()
    stopped.halted = StopAfter(5)
    stopped.fit()
    assert stopped.state == "stopped"
    assert 0 < stopped.share(1) < 1 == stopped.share(0)
    stopped.halted.clear()
    stopped.fit()
    assert torch.equal(finished(stopped), finished(whole))
    assert [(one.seed, one.step) for one in stopped.iterates] == [(one.seed, one.step) for one in whole.iterates]
    assert torch.equal(stopped.iterates[-1].image, whole.iterates[-1].image)


def test_two_at_once_take_turns_and_one_that_waits_can_be_stopped(make_run: MakeRun, queue: Queue) -> None:
    first, second = make_run(steps=400), make_run(steps=2, runs=1)
    queue.add(first)
    queue.add(second)
    assert (second.state, queue.before(second)) == ("waiting", 1)
    second.stop()
    assert second.state == "stopped"
    first.stop()
    wait_for(lambda: not first.active)
    assert first.state == "stopped"
    queue.add(second)
    wait_for(lambda: not second.active)
    assert [one.step for one in second.iterates] == [0, 1]
    shutil.rmtree(first.folder)
    queue.add(first)
    wait_for(lambda: not first.active)
    assert first.state == "failed"
    assert "No such file" in first.error

import io
from concurrent.futures import Executor

from hybrid_dip.study.running.board import Board, Pace
from hybrid_dip.study.running.locks import take
from hybrid_dip.study.running.progress import Progress
from hybrid_dip.study.running.run import run_study
from hybrid_dip.study.running.store import Store
from hybrid_dip.study.running.work import Outcome
from tests.studies import MakePlan


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_time_left_is_learnt_from_what_was_seen(make_plan: MakePlan) -> None:
    plan = make_plan(seeds=[0, 1])
    keys = [run.key for run in plan.runs]
    pace = Pace(plan, workers=2)
    assert pace.seconds_left(keys, {}) is None
    pace.learn(keys[0], seconds=10.0, steps=5)
    pace.learn(keys[1], seconds=20.0, steps=5)
    assert pace.seconds_left(keys[2:], {}) == (10 + 20) / 2
    assert pace.seconds_left(keys[2:], {keys[2]: 4}) == (2 + 20) / 2
    assert pace.seconds_left(keys[3:], {}) == 20.0, "one run is done by one worker"


def test_a_terminal_has_a_line_for_each_worker(make_plan: MakePlan, store: Store) -> None:
    plan = make_plan()
    locks = [take(store.lock(run.key)) for run in plan.runs]
    for step, run in enumerate(plan.runs, start=2):
        Progress(run.label, step, 5).write(store.progress(run.key))
    log, terminal = io.StringIO(), Terminal()
    for stream in (log, terminal):
        board = Board(plan, store, workers=2, stream=stream)
        board.tick(list(plan.runs))
        board.close()
    assert log.getvalue() == "0/2 runs, 2 going on, time left not known yet\n"
    shown = terminal.getvalue()
    assert "tiny: 0/2 runs" in shown
    assert "astronaut, denoise, dip, seed 0" in shown
    assert "2/5 steps" in shown
    assert "3/5 steps" in shown
    assert None not in locks


def test_failures_are_told_at_once(make_plan: MakePlan, store: Store) -> None:
    plan = make_plan()
    log = io.StringIO()
    board = Board(plan, store, workers=1, stream=log)
    board.note(plan.runs[0], Outcome(plan.runs[0].key, "failed", "FitError: no"))
    board.tick(list(plan.runs[1:]))
    assert "astronaut, denoise, dip, seed 0 failed: FitError: no" in log.getvalue()
    assert "1/2 runs, 1 failed, 0 going on" in log.getvalue()


def test_it_watches_a_study(make_plan: MakePlan, store: Store, executor: Executor) -> None:
    plan = make_plan()
    log = io.StringIO()
    run_study(plan, store, executor, watcher=Board(plan, store, workers=2, stream=log))
    assert log.getvalue().startswith("0/2 runs")

from collections.abc import Callable

import pytest
import torch

from hybrid_dip.errors import SettingsError
from hybrid_dip.execution.precision import PLAIN, Execution
from hybrid_dip.execution.timing import Timing, candidates, fastest

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
HALF = Execution("bfloat16")


def test_what_is_left_open_is_tried_the_plain_way_first() -> None:
    assert candidates("float32", "off", "off", CPU) == [PLAIN]
    assert candidates("auto", "off", "auto", CPU) == [PLAIN, HALF]
    assert candidates("auto", "on", "off", CUDA)[1] == Execution("tf32", compiled=True)
    assert candidates("float32", "off", "auto", CUDA) == [PLAIN, Execution(graphed=True)]
    assert candidates("float32", "off", "auto", CUDA, alone=False) == [PLAIN]
    everything = candidates("auto", "auto", "auto", CUDA)
    assert len(everything) == 12
    assert [way.compiled for way in everything] == 6 * [False] + 6 * [True]
    for compiled, graph in (("yes", "off"), ("off", "yes")):
        with pytest.raises(SettingsError, match="on, off or auto, got 'yes'"):
            candidates("float32", compiled, graph, CPU)
    with pytest.raises(SettingsError, match="did you mean 'bfloat16'"):
        candidates("bfloat", "off", "off", CPU)


def test_the_fastest_way_counts_preparation_and_beats_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("hybrid_dip.execution.timing.time.perf_counter", lambda: now[0])

    def timed(paces: dict[Execution, tuple[float, float]]) -> Callable[[Execution, Callable[[], None]], None]:
        def run(way: Execution, done: Callable[[], None]) -> None:
            if way not in paces:
                raise RuntimeError("no compiler\nhere")
            for step in range(6):
                now[0] += paces[way][0 if step == 0 else 1]
                done()

        return run

    compiled, both = Execution(compiled=True), Execution("bfloat16", compiled=True)
    ways = [PLAIN, HALF, compiled, both]
    paces = {PLAIN: (1.0, 1.0), HALF: (1.0, 0.9), compiled: (50.0, 0.4), both: (50.0, 0.5)}
    assert fastest(ways, 20, timed(paces))[0] == HALF
    way, timings = fastest(ways, 1000, timed(paces))
    assert way == both, "compiling pays in a long fit"
    assert [timing.execution for timing in timings] == [PLAIN, HALF, both], "only the best of the others is compiled"
    assert [timing.execution for timing in fastest(ways, 20, timed(paces))[1]] == [PLAIN, HALF], "over before it is compiled"
    assert fastest(ways, 20, timed({**paces, HALF: (1.0, 0.97)}))[0] == PLAIN, "too little for so short a trial"
    way, timings = fastest(ways, 1000, timed({PLAIN: (1.0, 1.0), HALF: (1.0, 2.0)}))
    assert way == PLAIN
    assert timings[2] == Timing(compiled, 0.0, 0.0, "RuntimeError: no compiler")
    assert fastest([compiled, both], 1000, timed(paces))[0] == compiled, "all compiled, as somebody asked"

"""What all tests of studies share."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from hybrid_dip.study.describe.plan import Plan
from hybrid_dip.study.running.store import Store

MakePlan = Callable[..., Plan]
TINY = {"preset": "quick", "network": "skip:down=8,8,skip=2,2,upsample=bilinear", "latent": "uniform:channels=4"}
"""What an arm is fitted with, where any network does."""
TIMINGS = ("seconds", "hardware")


def contents(store: Store) -> dict[str, tuple[Any, bytes, bytes]]:
    """All that a study left, timings aside."""
    found = {}
    for key in store.finished_keys():
        record = store.record(key)
        assert record is not None
        steady = {name: value for name, value in record.items() if name not in TIMINGS}
        found[key] = (steady, (store.run(key) / "output.npy").read_bytes(), (store.run(key) / "restored.png").read_bytes())
    return found


class Inline(Executor):
    """Calls at once, in this thread."""

    def submit(self, function: Callable[..., Any], /, *given: Any, **named: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(function(*given, **named))
        except BaseException as error:
            future.set_exception(error)
        return future

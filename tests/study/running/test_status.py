import pytest

from hybrid_dip.errors import SettingsError
from hybrid_dip.study.running.locks import take
from hybrid_dip.study.running.progress import Progress
from hybrid_dip.study.running.run import run_study
from hybrid_dip.study.running.status import save_plan, status
from hybrid_dip.study.running.store import Store
from tests.studies import Inline, MakePlan


def test_it_counts_what_is_done_failed_going_on_and_left(make_plan: MakePlan, store: Store) -> None:
    run_study(make_plan(), store, Inline())
    plan = make_plan(seeds=[0, 1, 2])
    save_plan(plan, store)
    failed, going = plan.runs[2], plan.runs[3]
    store.publish(failed.key, {"error": "FitError: no"})
    lock = take(store.lock(going.key))
    Progress(going.label, step=3, steps=5, host="here", pid=7).write(store.progress(going.key))
    found = status(store)
    assert (found.name, found.total, found.done, found.left) == ("tiny", 6, 2, 2)
    assert found.failed == {failed.label: "FitError: no"}
    assert {worker: progress.step for worker, progress in found.running.items()} == {"here:7": 3}
    assert "2 of 6 runs done, 1 failed, 1 going on, 2 left" in found.sentences()
    assert f"here:7: {going.label}, step 3 of 5" in found.sentences()
    assert lock is not None
    lock.release()
    assert status(store).running == {}, "a killed worker leaves its note, but not its lock"


def test_a_folder_without_a_study_is_refused(store: Store) -> None:
    with pytest.raises(SettingsError, match="is not a study's folder"):
        status(store)

import os
import signal
from pathlib import Path

import pytest
import torch

from hybrid_dip.errors import SettingsError
from hybrid_dip.study.running.executors import Ray, WorkerDiedError, Workers
from hybrid_dip.study.running.machine import gpu_names
from hybrid_dip.study.running.run import run_study
from hybrid_dip.study.running.store import Store
from tests.studies import TINY, MakePlan, contents
from tests.waiting import HANG, wait_for


def visible(folder: Path, guests: int) -> tuple[str, int]:
    """The GPU and the number of this process, once it is one of several that are here at a time."""
    (folder / str(os.getpid())).touch()
    wait_for(lambda: len(list(folder.iterdir())) >= guests)
    return os.environ["CUDA_VISIBLE_DEVICES"], os.getpid()


@pytest.mark.usefixtures("copies")
def test_a_worker_that_dies_loses_its_own_call_alone(tmp_path: Path) -> None:
    """Each has a GPU of those that they share, and the one in its place has the same."""
    rooms = [tmp_path / name for name in ("first", "second", "third")]
    for room in rooms:
        room.mkdir()
    with Workers(2, ["2", "3"]) as workers:
        there = dict(future.result(HANG) for future in [workers.submit(visible, rooms[0], 2) for _ in range(2)])
        assert set(there) == {"2", "3"}
        slow = workers.submit(visible, rooms[1], 2)
        (busy,) = wait_for(lambda: list(rooms[1].iterdir()))
        (idle,) = set(there.values()) - {int(busy.name)}
        dead = workers.submit(os.kill, idle, signal.SIGKILL)
        with pytest.raises(WorkerDiedError, match="killed"):
            dead.result(HANG)
        (rooms[1] / "go on").touch()
        assert slow.result(HANG)[1] == int(busy.name)
        now = dict(future.result(HANG) for future in [workers.submit(visible, rooms[2], 2) for _ in range(2)])
        assert set(now) == {"2", "3"}
        assert int(busy.name) in now.values()
        assert idle not in now.values()


def test_workers_share_the_gpus_that_the_user_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpu_names("cpu") == []
    assert gpu_names("cuda") == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert gpu_names("cuda") == ["2", "3"]


def test_a_cluster_that_is_not_there_is_one_sentence() -> None:
    pytest.importorskip("ray")
    with pytest.raises(SettingsError, match=r"There is no Ray cluster at '127\.0\.0\.1:1'"):
        Ray("127.0.0.1:1")


@pytest.mark.slow
def test_a_ray_cluster_that_loses_a_node_goes_on(make_plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # newer versions have nodes ask each other for a token
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    plan = make_plan(seeds=[0, 1, 2, 3], arms=[{"name": "a", **TINY, "steps": 60}, {"name": "b", **TINY, "steps": 61}])
    local, spread = Store(tmp_path / "local"), Store(tmp_path / "spread")
    memory = 100 * 2**20
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": memory})
    try:
        lost = cluster.add_node(num_cpus=1, object_store_memory=memory)
        ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
        nodes = {node["NodeID"]: node["Alive"] for node in ray.nodes()}
        assert len(nodes) == 2
        killed = False

        class Killer:
            """Loses a node once two runs are going on, one on each node."""

            def note(self, run: object, outcome: object) -> None:
                pass

            def tick(self, left: object) -> None:
                nonlocal killed
                if not killed and len(spread.in_progress()) == 2:
                    cluster.remove_node(lost, allow_graceful=False)
                    killed = True

        with Ray(cpus=1) as executor:
            found = run_study(plan, spread, executor, watcher=Killer())
        assert killed
        assert (found.done, found.failed) == (8, 0)
        # Ray takes some seconds to notice that a node is silent.
        wait_for(lambda: sum(node["Alive"] for node in ray.nodes()) == 1)
    finally:
        ray.shutdown()
        cluster.shutdown()
    with Workers(2) as workers:
        run_study(plan, local, workers, at_once=2)
    assert contents(spread) == contents(local)


@pytest.mark.slow
def test_more_than_the_cluster_has_is_refused() -> None:
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
    try:
        with pytest.raises(SettingsError, match="A run asks for 4 CPU, and the whole cluster has 1"):
            Ray(cpus=4)
    finally:
        ray.shutdown()

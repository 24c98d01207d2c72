import os
import signal
import time
from concurrent.futures import wait
from pathlib import Path

import pytest
import torch

from hybrid_dip.errors import SettingsError
from hybrid_dip.study.running.executors import Ray, WorkerDiedError, Workers
from hybrid_dip.study.running.machine import gpu_names
from hybrid_dip.study.running.run import run_study
from hybrid_dip.study.running.store import Store
from tests.studies import TINY, MakePlan, contents
from tests.waiting import HANG


def test_a_worker_that_dies_loses_its_own_call_alone() -> None:
    with Workers(2) as workers:
        slow = workers.submit(time.sleep, 2)
        dead = workers.submit(os.kill, workers.submit(os.getpid).result(), signal.SIGKILL)
        # The other worker is asleep, so the kill went to the one that was asked for its number, from itself.
        with pytest.raises(WorkerDiedError, match="killed"):
            dead.result(timeout=HANG)
        assert slow.result(timeout=HANG) is None
        found = [workers.submit(os.getpid) for _ in range(4)]
        wait(found)
        assert os.getpid() not in {future.result() for future in found}


def test_workers_share_the_gpus_that_the_user_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpu_names("cpu") == []
    assert gpu_names("cuda") == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert gpu_names("cuda") == ["2", "3"]
    with Workers(2, gpu_names("cuda")) as workers:
        slow = [workers.submit(_visible, 1.0) for _ in range(2)]
        assert sorted(future.result() for future in slow) == ["2", "3"]


def _visible(seconds: float) -> str:
    time.sleep(seconds)
    return os.environ["CUDA_VISIBLE_DEVICES"]


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
        deadline = time.monotonic() + HANG  # Ray takes some seconds to notice that a node is silent
        while sum(node["Alive"] for node in ray.nodes()) != 1:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        ray.shutdown()
        cluster.shutdown()
    with Workers(2) as workers:
        run_study(plan, local, workers, at_once=2)
    assert contents(spread) == contents(local)


def test_more_than_the_cluster_has_is_refused() -> None:
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
    try:
        with pytest.raises(SettingsError, match="A run asks for 4 CPU, and the whole cluster has 1"):
            Ray(cpus=4)
    finally:
        ray.shutdown()

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hybrid_dip.study.plan import Plan, plan_study
from hybrid_dip.study.settings import as_study
from hybrid_dip.study.store import Store

MakePlan = Callable[..., Plan]


@pytest.fixture
def content() -> dict[str, Any]:
    """The smallest study: two arms on a photograph of 16x16 pixels, 5 steps."""
    return {
        "name": "tiny",
        "images": ["skimage:astronaut"],
        "crop": 16,
        "tasks": [{"kind": "denoise", "sigma": 25}],
        "arms": [
            {"name": "dip", "preset": "quick", "steps": 5},
            {"name": "dip+tv", "preset": "quick", "steps": 5, "regularisers": ["tv@0.05"]},
        ],
    }


@pytest.fixture
def make_plan(content: dict[str, Any], tmp_path: Path) -> MakePlan:
    """Keys of the study file -> plan."""

    def make(**changed: Any) -> Plan:
        return plan_study(as_study({**content, **changed}, tmp_path / "study.toml"))

    return make


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "out")


@pytest.fixture
def executor() -> Iterator[Executor]:
    """Any executor serves; threads take turns at fitting."""
    with ThreadPoolExecutor(2) as threads:
        yield threads


InNamespace = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def in_namespace(tmp_path: Path) -> InNamespace:
    """Runs a shell script that may mount file systems, seen by itself only."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("a file system of one's own needs user namespaces, which are not given here")

    def run(script: str, *given: str) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = ["unshare", "-rm", "sh", "-c", script, "sh", *given]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)

    return run

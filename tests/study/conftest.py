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

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

# The tests share the cores among processes (make test); threads within one would only get in each other's way. Before torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import skimage.data
import torch
import torch.nn.functional as F
from torch import Tensor

from hybrid_dip.cli import app
from hybrid_dip.contracts import Task
from hybrid_dip.images.files import save_image
from hybrid_dip.problem import degradations
from hybrid_dip.study.describe.plan import Plan, plan_study
from hybrid_dip.study.describe.settings import as_study
from hybrid_dip.study.running import machine
from hybrid_dip.study.running.store import Store
from tests.copies import COPIES, InCopy, become_root_of_a_namespace
from tests.studies import TINY, Inline, MakePlan
from tests.waiting import HANG


@pytest.fixture(scope="session")
def photograph() -> Tensor:
    """A real photograph at 32x32: the astronaut's face, shrunk."""
    face = torch.from_numpy(skimage.data.astronaut()[:256, 96:352]).permute(2, 0, 1)[None].float() / 255
    return F.interpolate(face, (32, 32), mode="area")


@pytest.fixture
def hybrid_dip_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in this process, its studies as well; returns exit status, stdout and stderr.

    A worker of its own imports torch, for seconds. A test that is about processes starts the command as one.
    """
    monkeypatch.setattr(machine, "Workers", lambda count, gpus: Inline())

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hybrid-dip", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            app.main()
        output = capsys.readouterr()
        return int(exit_.value.code or 0), output.out, output.err

    return run


@pytest.fixture(autouse=True)
def one_random_state() -> None:
    torch.manual_seed(0)


@pytest.fixture
def content() -> dict[str, Any]:
    """The smallest study: two arms on a photograph of 16x16 pixels, 5 steps."""
    return {
        "name": "tiny",
        "images": ["skimage:astronaut"],
        "crop": 16,
        "tasks": [{"kind": "denoise", "sigma": 25}],
        "arms": [
            {"name": "dip", **TINY, "steps": 5},
            {"name": "dip+tv", **TINY, "steps": 5, "regularisers": ["tv@0.05"]},
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


@pytest.fixture
def in_copy() -> Iterator[InCopy]:
    """Calls a function in a process of its own, and returns what it returns."""
    with ProcessPoolExecutor(1, mp_context=COPIES) as process:
        yield lambda function, *given: process.submit(function, *given).result(HANG)


@pytest.fixture
def in_namespace() -> Iterator[InCopy]:
    """Calls a function in a process that may mount file systems, which it alone sees."""
    with ProcessPoolExecutor(1, mp_context=COPIES, initializer=become_root_of_a_namespace) as process:
        try:
            process.submit(os.getpid).result(HANG)
        except BrokenProcessPool:
            pytest.skip("a file system of one's own needs user namespaces, which are not given here")
        yield lambda function, *given: process.submit(function, *given).result(HANG)


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that the code under test starts are copies of one that has imported torch."""
    monkeypatch.setattr(multiprocessing, "get_context", lambda method: COPIES)


PRIORS = """
import sys

import torch
from torch import nn

calls = []

def mine(x):
    return x.square()

def nan(x):
    return x.mean() * float("nan")

def two(x, y):
    return x.mean()

def detached(x):
    return x.detach().mean()

def colour(x):
    return (x[:, 0] - x[:, 1] - x[:, 2]).square().mean()

def number(in_channels, out_channels):
    return 3

def leaves(x):
    sys.exit(0)

def later(x):
    calls.append(0)
    return x.square() if len(calls) > 12 else x.mean()

class Unbound:
    def bind(self, task):
        raise KeyError("no")
    def __call__(self, x):
        return x.mean()

class Nowhere(Unbound):
    def bind(self, task):
        pass

def fresh(x):
    return torch.zeros((), requires_grad=True)

def fresh_of_network(network, latent, x):
    return torch.zeros((), requires_grad=True)

class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
    def forward(self, x):
        return self.gain * x.detach().mean()

class NoWayBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.mean()
    @staticmethod
    def backward(ctx, gradient):
        raise KeyError("no way back")

def one_way(x):
    return NoWayBack.apply(x)

def root(x):
    return (x - x.clamp(0, 1)).square().sum().sqrt()

class Deaf:
    reason = "deaf"
    def start(self, task):
        return {}

class Mute(Deaf):
    def update(self, state, step):
        return state

class Lost(Mute):
    def start(self, task):
        return task.nothing

class Broken(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.layer = nn.Conv2d(in_channels, out_channels, 1)
    def forward(self, z):
        return self.layer([z][1])

class Twice(Broken):
    def forward(self, z):
        return self.layer(z), z
"""


@pytest.fixture
def files(tmp_path: Path, photograph: Tensor) -> Path:
    save_image(photograph, tmp_path / "clean.png")
    save_image((photograph + 0.15 * torch.randn_like(photograph)).clamp(0, 1), tmp_path / "noisy.png")
    mask = torch.ones(1, 1, 32, 32)
    mask[..., 10:14, 10:20] = 0
    save_image(mask, tmp_path / "mask.png")
    save_image(mask[..., :31], tmp_path / "mask31.png")
    save_image(torch.zeros_like(mask), tmp_path / "mask_empty.png")
    save_image(torch.ones_like(mask), tmp_path / "mask_full.png")
    save_image(mask * 0.5, tmp_path / "mask_grey.png")
    save_image(torch.cat([mask, mask.flip(-1), mask], 1), tmp_path / "mask_colour.png")
    save_image(torch.rand(1, 3, 1, 1), tmp_path / "one.png")
    save_image(photograph[:, :1], tmp_path / "grey.png")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "folder").mkdir()
    (tmp_path / "damaged").mkdir()
    for name in ("noisy.png", "one.png", "empty.png", "text.png"):
        (tmp_path / "damaged" / name).write_bytes((tmp_path / name).read_bytes())
    (tmp_path / "photos").mkdir()
    save_image(photograph, tmp_path / "photos" / "one.png")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("do not touch")
    (tmp_path / "prior.py").write_text(PRIORS)
    (tmp_path / "broken.py").write_text("x = 1\ndef prior(x:\n    return x\n")
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    return tmp_path


@pytest.fixture
def noisy(photograph: Tensor) -> Task:
    return degradations.noisy(photograph, sigma=50 / 255).task

"""A bar in front of a person, and a picture in a notebook."""

import io
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from torch import Tensor
from traitlets.config import Config

import hybrid_dip as hd
from hybrid_dip.contracts import Task
from hybrid_dip.fitting.bar import is_shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """IPython as a notebook's kernel has it; it is gone afterwards."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    for name in ("displayhook", "excepthook"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    shell = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
    shell.kernel = object()  # a notebook's shell knows its kernel
    yield
    InteractiveShell.clear_instance()


def quick(task: Task, **options: Any) -> None:
    hd.restore(task, preset="quick", steps=4, runs=2, device="cpu", **options)


def test_a_bar_is_shown_where_someone_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert [is_shown(asked) for asked in (None, True, False, "a label")] == [False, True, False, True]
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert [is_shown(asked) for asked in (None, False)] == [True, False]
    monkeypatch.setattr(sys, "stderr", None)  # of a program without a console
    assert not is_shown(None)


def test_each_fit_has_one_bar(noisy: Task, capsys: pytest.CaptureFixture[str]) -> None:
    quick(noisy)
    assert capsys.readouterr().err == ""
    quick(noisy, progress=True)
    # A slow machine draws a bar again at its end; what is left on the terminal is one line for each.
    left = [line.rpartition("\r")[2] for line in capsys.readouterr().err.split("\n")]
    lines = [line for line in left if "4/4" in line]
    assert [line.split(":")[0].strip() for line in lines] == ["denoise, seed 0", "denoise, seed 1"]
    quick(noisy, progress="mine")
    assert "mine, seed 1: 100%" in capsys.readouterr().err


def test_a_bar_says_which_fit_it_is_of_and_the_psnr(photograph: Tensor, capsys: pytest.CaptureFixture[str]) -> None:
    task = hd.tasks.denoise(torch.cat([photograph, photograph], -1), sigma=0.1)
    whole = hd.observers.ReferenceWatch(hd.tasks.denoise(photograph, sigma=0.1), photograph)
    pixels = hd.Recipe(hd.networks.pixels, partial(hd.latents.uniform, 1), steps=2)
    hooks = hd.FitHooks([whole])
    hd.restore(task, preset=pixels, rule=hd.selection.HeldOut(), tile=32, progress=True, hooks=lambda fit: hooks)
    said = capsys.readouterr().err
    assert "denoise, tile 1 of 3, held-out-1: 100%" in said
    assert any(f"PSNR={psnr:.2f} dB" in said.splitlines()[-1] for psnr in whole.psnr.values())


def test_a_notebook_has_a_bar_and_one_picture_that_is_renewed(
    noisy: Task, notebook: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with capture_output() as captured:
        quick(noisy, log_every=1)
    shown = [output for output in captured.outputs if "image/png" in output.data]
    assert len(shown) == 8  # the first steps are close together: 0, 1, 2, 3 of two fits
    assert [output.update for output in shown] == [False] + 7 * [True]
    assert len({output.transient["display_id"] for output in shown}) == 1
    with capture_output() as captured:
        quick(noisy, progress=False)
    assert (captured.outputs, captured.stderr) == ([], "")

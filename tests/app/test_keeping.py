"""The command beside a picture repeats it: same floats, same files."""

import shlex
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hybrid_dip.app.iterates import Iterate
from hybrid_dip.app.keeping import keep, shorter
from hybrid_dip.images.files import load_image
from tests.app.conftest import MakeRun

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("what", ["iterate", pytest.param("result", marks=pytest.mark.slow)])
def test_the_command_repeats_the_picture(
    what: str, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hybrid_dip_command: Command
) -> None:
    run = make_run(priors=("tv@0.01",), steps=4, reference=None)
    run.fit()
    assert run.state == "finished", run.error
    kept = keep(run, None if what == "result" else next(one for one in run.iterates if (one.seed, one.step) == (1, 2)))
    assert kept.note == ""
    with zipfile.ZipFile(kept.archive) as pack:
        pack.extractall(tmp_path / "unpacked")
    monkeypatch.chdir(tmp_path / "unpacked")
    assert kept.command in Path("command.txt").read_text()
    status, _, said = hybrid_dip_command(*shlex.split(kept.command)[1:])
    assert status == 0, said
    assert np.array_equal(load_image("restored/restored.npy").numpy(), kept.image.numpy())
    assert Path("restored/restored.png").read_bytes() == Path("restored.png").read_bytes()


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"priors": ("tv@cosine=0.1..0",)}, "the weight of tv"),
        pytest.param({"preset": "refined:preset=fast"}, "the refinement", marks=pytest.mark.slow),
    ],
)
def test_an_iterate_that_a_shorter_fit_would_not_come_to_has_the_whole_command(
    make_run: MakeRun, asked: dict[str, object], why: str
) -> None:
    run = make_run(steps=2, runs=1, **asked)
    repeated, note = shorter(run, Iterate(seed=0, step=0, loss=1.0, psnr=None, path=Path()))
    assert repeated is run.asked
    assert why in note

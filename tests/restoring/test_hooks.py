from functools import partial
from pathlib import Path

import pytest
import torch

import hybrid_dip as hd
from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting.checkpoint import Checkpoint
from hybrid_dip.restoring.hooks import FitHooks, FitName, SeparateStates, hooks_of_arm
from hybrid_dip.stopping.selection import HeldOut
from tests.fits import WhenOver


@pytest.mark.parametrize(
    ("name", "file"),
    [
        (FitName(0), "seed-0"),
        (FitName(0, 3), "seed-0-tile-3"),
        (FitName(7, replicate="held-out-1"), "seed-7-held-out-1"),
        (FitName(7, 0, "held-out-1"), "seed-7-tile-0-held-out-1"),
        (FitName(10_000, arm="dip+tv, held-out 1"), "dip+tv--held-out-1-seed-10000"),
    ],
)
def test_states_are_saved_under_lasting_names(name: FitName, file: str) -> None:
    assert name.file == file


def test_hooks_are_asked_for_each_fit_in_order() -> None:
    network = hd.Recipe(hd.networks.pixels, partial(hd.latents.uniform, 1), steps=2)
    asked: list[FitName] = []
    closed: list[FitName] = []

    def hooks(name: FitName) -> FitHooks:
        assert asked == closed, "one fit after the other"
        asked.append(name)
        return FitHooks([WhenOver(lambda: closed.append(name))])

    task = hd.tasks.denoise(torch.rand(1, 1, 32, 48), sigma=0.1)
    hd.restore(task, preset=network, rule=HeldOut(), tile=32, seed=4, hooks=hooks_of_arm(hooks, "dip"))
    assert asked == closed == [FitName(4, tile, what, "dip") for tile in (0, 1) for what in ("held-out-1", "")]


def test_each_fit_needs_a_file_of_its_own(tmp_path: Path) -> None:
    hooks = SeparateStates(lambda name: FitHooks(checkpoint=Checkpoint(tmp_path / f"{name.tile}.pt")))
    for name in (FitName(0, 0), FitName(0, 1), FitName(0, 0)):
        hooks(name)
    with pytest.raises(SettingsError, match="seed-0-tile-1 and seed-1-tile-1"):
        hooks(FitName(1, 1))

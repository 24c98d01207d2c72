"""The original's table, line by line."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.problem import fidelity, operators, tasks
from hybrid_dip.recipes import presets
from hybrid_dip.recipes.prepare import prepare
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.restoring.plan import resolve
from hybrid_dip.stopping import Discrepancy, MaxSteps

IMAGE = torch.full((1, 3, 32, 32), 0.5)
HALF = torch.cat([torch.zeros(1, 1, 32, 16), torch.ones(1, 1, 32, 16)], -1)
FEW = (torch.arange(32 * 32) % 50 == 0).float().view(1, 1, 32, 32)
SCALES = (128,) * 5

TASKS: dict[str, Task] = {
    "denoise 25": tasks.denoise(IMAGE, sigma=25 / 255),
    "denoise 50": tasks.denoise(IMAGE, sigma=50 / 255),
    "jpeg": tasks.jpeg(IMAGE),
    "x4": tasks.super_resolve(IMAGE, factor=4),
    "x8": tasks.super_resolve(IMAGE, factor=8),
    "inpaint": tasks.inpaint(IMAGE, HALF),
    "50 %": tasks.missing_pixels(IMAGE, HALF),
    "98 %": tasks.missing_pixels(IMAGE, FEW),
    "flash": tasks.flash(IMAGE, IMAGE),
    "deblur": tasks.deblur(IMAGE, operators.gaussian_psf(1)),
}

# steps, lr, jitter, down, skip, upsample, channels of z
TABLE: dict[str, tuple[int, float, float, Any, Any, Any, int]] = {
    "denoise 25": (3000, 0.01, 1 / 30, SCALES, (4,) * 5, "bilinear", 32),
    "denoise 50": (3000, 0.01, 1 / 20, SCALES, (4,) * 5, "bilinear", 32),
    "jpeg": (2400, 0.01, 1 / 30, (8, 16, 32, 64, 128), (0, 0, 0, 4, 4), "bilinear", 3),
    "x4": (2000, 0.01, 0.03, SCALES, (4,) * 5, "bilinear", 32),
    "x8": (4000, 0.01, 0.05, SCALES, (4,) * 5, "bilinear", 32),
    "inpaint": (6001, 0.01, 0.03, SCALES, (128,) * 5, "nearest", 32),
    "50 %": (11000, 0.001, 0.03, SCALES, (4,) * 5, "bilinear", 32),
    "98 %": (1000, 0.01, 0.0, (16, 32, 64, 128, 128), (0,) * 5, "bilinear", 32),
    "flash": (601, 0.1, 0.0, SCALES, (4,) * 5, ("nearest", "nearest", "bilinear", "bilinear", "bilinear"), 3),
}


@pytest.mark.parametrize("name", TABLE)
def test_original_is_the_papers_table(name: str) -> None:
    steps, lr, jitter, down, skip, upsample, channels = TABLE[name]
    recipe = presets.original(TASKS[name])
    described = recipe.describe()
    assert (recipe.steps, recipe.lr, recipe.jitter) == (steps, lr, pytest.approx(jitter))
    assert described["network"]["down"] == down
    assert described["network"]["skip"] == skip
    assert described["network"]["upsample"] == upsample
    assert described["network"]["padding"] == "reflection"
    assert recipe.average == (0.99 if name.startswith(("denoise", "jpeg")) else None)
    assert recipe.latent_first == name.startswith("x")
    assert recipe.note == ""
    _, z = prepare(TASKS[name], recipe, seed=0)
    assert z.shape[1] == channels


def test_98_percent_missing_pools() -> None:
    assert presets.original(TASKS["98 %"]).describe()["network"]["downsample"] == "avg"


def test_a_task_that_the_paper_does_not_have_says_so() -> None:
    assert "no recipe for 'deblur'" in presets.original(TASKS["deblur"]).note


DEEP = (16, 32, 64, 128, 128, 128)


@pytest.mark.parametrize(
    ("preset", "steps", "lr", "jitter", "channels", "network"),
    [
        (presets.original_region, 5001, 0.01, 0.03, 2, {"down": SCALES, "skip": (0,) * 5, "upsample": "nearest"}),
        (
            presets.original_hole, 3001, 0.01, 0.0, 1,
            {"down": DEEP, "skip": (0,) * 6, "upsample": "nearest", "kernel_down": 5, "pointwise_up": False},
        ),
        (presets.original_hole_unet, 3001, 0.001, 0.0, 1, {"name": "unet", "feature_scale": 8, "more_layers": 1}),
        (presets.original_hole_resnet, 3001, 0.001, 0.0, 1, {"name": "resnet", "blocks": 8, "channels": 32}),
    ],
)  # fmt: skip
def test_the_papers_other_inpainting_recipes(
    preset: Any, steps: int, lr: float, jitter: float, channels: int, network: dict[str, Any]
) -> None:
    recipe = preset(TASKS["inpaint"])
    assert (recipe.steps, recipe.lr, recipe.jitter, recipe.average) == (steps, lr, jitter, None)
    described = recipe.describe()["network"]
    assert {key: described[key] for key in network} == network
    module, z = prepare(TASKS["inpaint"], recipe, seed=0)
    assert z.shape[1] == channels
    assert module(z).shape == IMAGE.shape
    with pytest.raises(SettingsError, match="for the task 'inpaint'"):
        preset(TASKS["jpeg"])


@pytest.mark.parametrize("name", TASKS)
def test_quick_is_leaner_and_fits_every_task(name: str) -> None:
    original, quick = presets.original(TASKS[name]), presets.quick(TASKS[name])
    assert quick.steps <= original.steps
    network, z = prepare(TASKS[name], quick, seed=0)
    assert network(z).shape == TASKS[name].shape


@pytest.mark.parametrize("name", TASKS)
def test_fast_fits_every_task(name: str) -> None:
    network, z = prepare(TASKS[name], presets.fast(TASKS[name]), seed=0)
    assert network(z).shape == TASKS[name].shape


def half_missing(side: int) -> Task:
    mask = torch.ones(1, 1, side, side)
    mask[..., ::2] = 0
    return tasks.missing_pixels(torch.zeros(1, 3, side, side), mask)


def arithmetic(task: Task, recipe: Recipe) -> int:
    """FLOP of all forward passes."""
    network, z = prepare(task, recipe, seed=0)
    with FlopCounterMode(display=False) as counter:
        network.to("meta")(z.to("meta"))  # where convolutions are counted as they are written down
    return recipe.runs * recipe.steps * counter.get_total_flops()


@pytest.mark.parametrize(
    ("task", "share"),
    [(TASKS["denoise 25"], 1 / 10), (TASKS["x4"], 1 / 10), (TASKS["50 %"], 1 / 10), (half_missing(256), 1 / 9)],
)
def test_fast_does_a_fraction_of_the_arithmetic_of_the_original(task: Task, share: float) -> None:
    """A tenth at most; a ninth where the network is wide, which takes less than a tenth of the time (benchmarks/README.md)."""
    assert arithmetic(task, presets.fast(task)) < arithmetic(task, presets.original(task)) * share


@pytest.mark.parametrize(("side", "steps"), [(16, 200), (128, 400), (512, 900)])
def test_fast_takes_more_steps_for_larger_images(side: int, steps: int) -> None:
    assert presets.fast(tasks.super_resolve(torch.zeros(1, 3, side // 4, side // 4), factor=4)).steps == steps


@pytest.mark.parametrize(("side", "width", "channels", "runs", "steps"), [(128, 32, 32, 3, 1850), (256, 64, 64, 4, 990)])
def test_fast_fills_in_large_images_by_a_wider_network(side: int, width: int, channels: int, runs: int, steps: int) -> None:
    recipe = presets.fast(half_missing(side))
    assert (recipe.runs, recipe.steps) == (runs, steps)
    assert recipe.describe()["network"]["down"][0] == width
    assert recipe.describe()["latent"]["channels"] == channels


def test_fast_keeps_the_narrow_network_where_little_is_known() -> None:
    mask = torch.zeros(1, 1, 256, 256)
    mask[..., ::8, ::4] = 1
    recipe = presets.fast(tasks.missing_pixels(torch.zeros(1, 3, 256, 256), mask))
    assert (recipe.runs, recipe.steps, recipe.describe()["network"]["down"][0]) == (3, 300, 32)


@pytest.mark.parametrize(
    ("side", "made", "runs", "steps", "jitter"),
    [(128, {"name": "adam"}, 2, 900, 1 / 30), (256, {"name": "muon", "filters": 2.0}, 3, 840, 1 / 45)],
)
def test_fast_denoises_large_images_by_three_shorter_fits(
    side: int, made: dict[str, object], runs: int, steps: int, jitter: float
) -> None:
    recipe = presets.fast(tasks.denoise(torch.zeros(1, 3, side, side), sigma=0.1))
    assert recipe.describe()["optimizer"] == {**made, "betas": (0.8, 0.9)}
    assert (recipe.runs, recipe.steps) == (runs, steps)
    assert recipe.jitter == pytest.approx(jitter)
    assert presets.fast(TASKS["x4"]).describe()["optimizer"] == {"name": "muon", "betas": (0.8, 0.9)}


def test_fast_stops_by_the_noise_where_its_level_is_known() -> None:
    assert presets.fast(tasks.denoise(IMAGE, sigma=0.1)).rule == Discrepancy()
    for task in (tasks.denoise(IMAGE, fidelity=fidelity.poisson), TASKS["x4"], TASKS["50 %"]):
        assert presets.fast(task).rule == MaxSteps()


def test_the_order_of_the_draws_is_the_originals() -> None:
    """Network, then latent; for super-resolution the latent first."""
    for name, first in (("denoise 25", "network"), ("x4", "latent")):
        recipe = presets.quick(TASKS[name])
        _, z = prepare(TASKS[name], recipe, seed=7)
        torch.manual_seed(7)
        size = TASKS[name].shape[-2:]
        if first == "latent":
            expected = recipe.latent(size=size)
            recipe.network(32, 3)
        else:
            recipe.network(32, 3)
            expected = recipe.latent(size=size)
        assert torch.equal(z, expected)


def test_a_preset_takes_options_and_may_be_ones_own(tmp_path: Path) -> None:
    task = tasks.denoise(IMAGE, sigma=0.1)
    assert resolve("one-shot:denoiser=median", task).describe()["network"]["start"] == {"name": "median"}
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from dataclasses import replace\nfrom hybrid_dip.recipes.presets import quick\n\n"
        "def short(task, steps=5):\n    return replace(quick(task), steps=steps)\n"
    )
    assert resolve(f"{mine}:short", task).steps == 5
    assert resolve(f"{mine}:short:steps=7", task).steps == 7
    with pytest.raises(SettingsError, match="did you mean 'median'"):
        resolve("one-shot:denoiser=medain", task)
    with pytest.raises(SettingsError, match="did you mean 'original'"):
        resolve("orignal", task)

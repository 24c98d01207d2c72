"""The original's table, line by line."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.problem import fidelity, operators, tasks
from hybrid_dip.problem.quantisation import box_of
from hybrid_dip.recipes import presets
from hybrid_dip.recipes.prepare import prepare
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.restoring.plan import resolve
from hybrid_dip.restoring.restore import restore
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
    "flash": tasks.flash(IMAGE, torch.rand_like(IMAGE)),
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


def test_fast_keeps_to_what_a_jpeg_file_says_at_its_end(photograph: Tensor) -> None:
    told, untold = tasks.jpeg(photograph, quality=10), tasks.jpeg(photograph)
    assert "--quality" in presets.fast(untold).note
    assert presets.fast(told).note == ""
    assert [presets.fast(told).runs, presets.fast(tasks.jpeg(torch.full((1, 3, 128, 128), 0.5))).steps] == [2, 500]
    plain = restore(told, preset=replace(presets.fast(told), refine=None), steps=3, device="cpu")
    kept = restore(told, preset=presets.fast, steps=3, device="cpu")
    box = box_of(told)
    assert box is not None
    torch.testing.assert_close(kept.raw, box.project(plain.raw))
    assert float(box.distance(kept.raw)) < 1e-12 < float(box.distance(plain.raw))


SIDES = (64, 128, 184, 192, 256, 512)
# task -> runs and steps of each fit, for each of these sides
FAST: dict[str, list[tuple[int, int]]] = {
    "denoise 25": [(2, 636), (2, 900), (2, 1294), (3, 840), (3, 840), (3, 840)],
    "denoise 50": [(2, 636), (2, 900), (2, 1294), (3, 840), (3, 840), (3, 840)],
    "denoise poisson": [(2, 354), (2, 900), (2, 1294), (3, 840), (3, 840), (3, 840)],
    "x4": [(2, 200), (2, 400), (2, 689), (2, 735), (2, 900), (2, 900)],
    "x8": [(2, 200), (2, 400), (2, 689), (2, 735), (2, 1131), (2, 1800)],
    "50 %": [(3, 654), (3, 1850), (3, 3162), (4, 990), (4, 990), (4, 990)],
    "98 %": [(3, 141), (3, 200), (3, 287), (3, 300), (3, 300), (3, 300)],
    "inpaint": [(2, 354), (2, 1000), (2, 1724), (2, 1837), (2, 2700), (2, 2700)],
    "deblur": [(2, 354), (2, 600), (2, 862), (2, 900), (2, 900), (2, 900)],
}


def of_side(name: str, side: int) -> Task:
    """A task whose image to restore has this many pixels a side."""
    image = torch.full((1, 3, side, side), 0.5)
    half, few = torch.zeros(2, 1, 1, side * side)
    half[..., ::2], few[..., ::50] = 1, 1
    half, few = half.view(1, 1, side, side), few.view(1, 1, side, side)
    make: dict[str, Callable[[], Task]] = {
        "denoise 25": lambda: tasks.denoise(image, sigma=25 / 255),
        "denoise 50": lambda: tasks.denoise(image, sigma=50 / 255),
        "denoise poisson": lambda: tasks.denoise(image, fidelity=fidelity.poisson),
        "x4": lambda: tasks.super_resolve(image[..., ::4, ::4], factor=4),
        "x8": lambda: tasks.super_resolve(image[..., ::8, ::8], factor=8),
        "50 %": lambda: tasks.missing_pixels(image, half),
        "98 %": lambda: tasks.missing_pixels(image, few),
        "inpaint": lambda: tasks.inpaint(image, half),
        "deblur": lambda: tasks.deblur(image, operators.gaussian_psf(1), sigma=0.1),
    }
    return make[name]()


def arithmetic(task: Task, recipe: Recipe) -> int:
    """FLOP of all forward passes."""
    network, z = prepare(task, recipe, seed=0)
    with FlopCounterMode(display=False) as counter:
        network.to("meta")(z.to("meta"))  # where convolutions are counted as they are written down
    return recipe.runs * recipe.steps * counter.get_total_flops()


@pytest.mark.parametrize(
    ("task", "share"),
    [(TASKS["denoise 25"], 1 / 10), (TASKS["x4"], 1 / 10), (TASKS["50 %"], 1 / 10), (of_side("50 %", 256), 1 / 9)],
)
def test_fast_does_a_fraction_of_the_arithmetic_of_the_original(task: Task, share: float) -> None:
    """A tenth at most; a ninth where the network is wide, which takes less than a tenth of the time (benchmarks/README.md)."""
    assert arithmetic(task, presets.fast(task)) < arithmetic(task, presets.original(task)) * share


@pytest.mark.parametrize(("side", "steps"), [(16, 200), (128, 400), (512, 900)])
def test_fast_takes_more_steps_for_larger_images(side: int, steps: int) -> None:
    assert presets.fast(of_side("x4", side)).steps == steps


@pytest.mark.parametrize("name", FAST)
def test_fast_is_its_table(name: str) -> None:
    """The numbers that benchmarks/README.md was measured with, and those between and beyond."""
    for side, (runs, steps) in zip(SIDES, FAST[name], strict=True):
        task = of_side(name, side)
        recipe = presets.fast(task)
        assert (recipe.runs, recipe.steps) == (runs, steps), side
        described, noisy, large = recipe.describe(), name.startswith("denoise"), side >= 192
        wide = name == "50 %" and large
        network, latent, optimizer = described["network"], described["latent"], described["optimizer"]
        assert (network["down"], network["skip"], latent) == (
            ((64, 64, 64, 64, 60), (16,) * 5, {"name": "uniform", "channels": 64})
            if wide
            else ((32, 32, 32, 32, 28), (4,) * 5, {"name": "uniform", "channels": 32})
        )
        made: dict[str, Any] = {"name": "adam" if noisy and not large else "muon", "betas": (0.8, 0.9)}
        assert optimizer == ({**made, "filters": 2.0} if noisy and large else made)
        factor = 2 / 3 if noisy and large else 1
        assert recipe.jitter == pytest.approx(factor * presets.original(task).jitter)
        assert (recipe.lr, recipe.tile, described["average"]) == (0.005, 384, "Growing(share=0.1111111111111111)")


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


def test_the_default_preset_has_a_recipe_for_operators_that_are_not_local(photograph: Tensor) -> None:
    """No tiles there: an image of any size would else be refused."""
    assert presets.fast(tasks.denoise(photograph, sigma=0.1)).tile
    spectrum = tasks.linear(photograph.flip(-1), lambda x: x.flip(-1))
    assert presets.fast(spectrum).tile is None
    assert (
        presets.fast(replace(spectrum, name="invert-features")).describe()
        == presets.original(replace(spectrum, name="invert-features")).describe()
    )

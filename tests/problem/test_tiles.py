import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.cli import job
from hybrid_dip.contracts import Case, Fit, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.execution import devices
from hybrid_dip.fitting.checkpoint import Checkpoint
from hybrid_dip.fitting.fit import fit
from hybrid_dip.fitting.solvers.langevin import Averaging
from hybrid_dip.images.files import load_image, save_image
from hybrid_dip.problem import degradations, operators, tasks
from hybrid_dip.problem.tiles import Box, part, tiles_of
from hybrid_dip.recipes import published
from hybrid_dip.recipes.presets import fast, quick
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.regularisers.reference import GuidePixels
from hybrid_dip.regularisers.terms import as_terms
from hybrid_dip.restoring.hooks import FitHooks, FitName
from hybrid_dip.restoring.memory import memory_of_a_step
from hybrid_dip.restoring.plan import recipe_and_tiles, tiles_for
from hybrid_dip.restoring.restore import restore
from hybrid_dip.restoring.side import side_of_tiles
from hybrid_dip.stopping.selection import steps_of
from tests.command import SMALL
from tests.fits import WhenOver

Command = Callable[..., tuple[int, str, str]]

CASES = {
    "denoise": lambda x: degradations.noisy(x, sigma=0.1),
    "missing-pixels": lambda x: degradations.scattered(x, share=0.5),
    "super-resolve": lambda x: degradations.downsampled(x, factor=2),
    "super-resolve by 3, lanczos3": lambda x: degradations.downsampled(x[..., :99, :108], factor=3, kernel="lanczos3"),
    "deblur": lambda x: degradations.blurred(x, operators.gaussian_psf(1.5)),
    "demosaic": lambda x: degradations.mosaicked(x),
    "jpeg": lambda x: degradations.jpeg_compressed(x),
}


@pytest.fixture(scope="module")
def wide() -> Tensor:
    """101 x 110 pixels, neither a multiple of anything."""
    import skimage.data

    face = torch.from_numpy(skimage.data.astronaut()[30:131, 170:280]).permute(2, 0, 1)[None].float() / 255
    return face.contiguous()


def plain(height: int, width: int) -> Task:
    return tasks.denoise(torch.rand(1, 1, height, width), sigma=0.1)


@pytest.mark.parametrize("size", [(100, 300), (64, 64), (40, 65), (257, 129)])
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_tiles_of_one_size_cover_the_image_and_overlap(size: tuple[int, int], factor: int) -> None:
    height, width = (-(-extent // factor) * factor for extent in size)
    task = plain(height, width) if factor == 1 else tasks.super_resolve(torch.rand(1, 3, height // factor, width // factor),
                                                                         factor=factor, kernel="box")  # fmt: skip
    tiles = tiles_of(task, 64)
    seen = torch.zeros(1, 1, height, width)
    for box in tiles.boxes:
        inside = box.of(seen)
        assert inside.shape[-2:] == (box.height, box.width), "no tile reaches beyond the image"
        inside += 1
    assert seen.min() == 1
    assert len({(box.height, box.width) for box in tiles.boxes}) == 1
    assert max(tiles.boxes[0].height, tiles.boxes[0].width) < 64 + factor
    assert all(box.top % factor == box.left % factor == 0 for box in tiles.boxes)
    lefts = sorted({box.left for box in tiles.boxes})
    assert all(first + tiles.boxes[0].width - second >= tiles.shared for first, second in pairwise(lefts))


@pytest.mark.parametrize("name", CASES)
def test_the_parts_of_a_task_agree_with_the_whole(name: str, wide: Tensor) -> None:
    """The clean image leaves the same residual in a tile as in the whole, wherever the tile has measured."""
    case: Case = CASES[name](wide)
    task, clean = case.task, case.reference
    boxes = tiles_of(task, 72).boxes
    assert len(boxes) > 3
    measured = torch.zeros_like(task.observation)
    whole = task.residual(clean)
    for box in boxes:
        own = part(task, box)
        scale = task.shape[-1] // task.observation.shape[-1]
        residual = own.residual(box.of(clean))
        weight = torch.ones_like(own.observation) if own.weight is None else own.weight.expand_as(own.observation)
        there = box.of(whole, scale)
        assert residual.shape == there.shape
        assert torch.allclose(residual, there * (weight > 0), atol=1e-6)
        box.of(measured, scale).add_(weight)
    known = torch.ones_like(measured) if task.weight is None else task.weight.expand_as(measured)
    assert torch.equal(measured > 0, known > 0), "every entry of y is measured in a tile"


@pytest.mark.parametrize("name", CASES)
def test_blending_tiles_of_an_image_gives_the_image(name: str, wide: Tensor) -> None:
    case = CASES[name](wide)
    tiles = tiles_of(case.task, 72)
    assert torch.allclose(tiles.blend([box.of(case.reference) for box in tiles.boxes]), case.reference, atol=1e-5)


def test_the_blend_of_two_levels_has_no_step() -> None:
    tiles = tiles_of(plain(48, 160), 48)
    images = [torch.full((1, 1, 48, 48), float(number)) for number, _ in enumerate(tiles.boxes)]
    found = tiles.blend(images)
    assert (found[0, 0, 0, 1:] - found[0, 0, 0, :-1]).abs().max() < 1.5 / tiles.shared
    assert found[0, 0, 0, 0] == 0
    assert found[0, 0, 0, -1] == len(images) - 1


def exact(task: Task) -> Recipe:
    """x = theta: what a fit comes to is known."""
    return Recipe(hd.networks.pixels, partial(hd.latents.uniform, 1), steps=300, lr=0.02)


def test_a_tiled_fit_comes_to_what_the_whole_one_does(wide: Tensor) -> None:
    task = tasks.denoise(wide, sigma=0.0)
    tiles = tiles_of(task, 48)
    seen: list[FitName] = []

    def hooks(name: FitName) -> FitHooks:
        return FitHooks([lambda step: shapes.add(tuple(step.candidate.shape)), WhenOver(lambda: seen.append(name))])

    shapes: set[tuple[int, ...]] = set()
    found = restore(task, preset=exact, tile=48, runs=2, device="cpu", hooks=hooks)
    assert shapes == {(1, 3, tiles.boxes[0].height, tiles.boxes[0].width)}
    assert torch.allclose(found.image, wide, atol=0.01)
    assert found.image.shape == found.raw.shape == found.last.shape == wide.shape
    assert seen == [FitName(seed, tile) for seed in (0, 1) for tile in range(len(tiles.boxes))]
    assert len(found.fits) == 2
    assert [steps_of(fit) for fit in found.fits] == [300 * len(tiles.boxes)] * 2
    assert all(fit.image.shape == wide.shape for fit in found.fits)
    assert found.deviation is not None
    assert found.deviation.shape == wide.shape


def test_what_cannot_be_tiled_is_said(wide: Tensor) -> None:
    task = tasks.linear(wide.mean((-2, -1)), lambda x: x.mean((-2, -1)), shape=tuple(wide.shape))
    with pytest.raises(SettingsError, match="where A is local"):
        part(task, Box(0, 0, 48, 48))
    with pytest.raises(SettingsError, match="at least 32 pixels a side, got 20"):
        tiles_of(plain(100, 100), 20)
    with pytest.raises(SettingsError, match="at least 52 pixels a side, got 48"):
        tiles_of(tasks.deblur(wide, operators.gaussian_psf(4.0)), 48)
    with pytest.raises(SettingsError, match="begin at a multiple of 2"):
        part(degradations.mosaicked(wide).task, Box(1, 0, 48, 48))


def made_for_48(task: Task) -> Recipe:
    """As many steps as the fitted image is wide."""
    return replace(exact(task), steps=task.shape[-1], tile=48)


def test_a_recipe_says_how_large_an_image_it_is_for(wide: Tensor) -> None:
    small, large = tasks.denoise(wide[..., :48, :40], sigma=0.1), tasks.denoise(wide, sigma=0.1)
    assert recipe_and_tiles(small, made_for_48)[1] is None
    recipe, tiles = recipe_and_tiles(large, made_for_48)
    assert tiles == tiles_of(large, 48)
    assert recipe.steps == tiles.boxes[0].width, "the recipe is that of a tile"
    assert tiles_for(large, recipe) == tiles
    assert recipe_and_tiles(large, recipe)[1] == tiles, "a recipe that is made already is taken as it is"
    assert recipe_and_tiles(large, made_for_48, 0)[1] is None
    assert recipe_and_tiles(large, made_for_48, 0)[0].steps == large.shape[-1]
    other = recipe_and_tiles(large, made_for_48, 64)
    assert other[1] == tiles_of(large, 64)
    assert other[0].tile == 64
    found = restore(large, preset=made_for_48, device="cpu")
    assert found.image.shape == large.shape
    assert steps_of(found.fits[0]) == len(tiles.boxes) * recipe.steps
    assert restore(large, preset=made_for_48, tile=0, device="cpu").fits[0].steps == large.shape[-1]


def holed(wide: Tensor) -> Task:
    """A hole that takes a whole tile."""
    mask = torch.ones(1, 1, *wide.shape[-2:])
    mask[..., 20:90, 20:90] = 0
    return tasks.inpaint(wide, mask)


def measured_at_two_places(wide: Tensor) -> Task:
    return tasks.linear(wide[..., ::96], lambda x: x[..., ::96], shape=tuple(wide.shape))


@pytest.mark.parametrize(
    ("made", "asked", "sentence"),
    [
        (measured_at_two_places, 48, "where A is local"),
        (lambda x: tasks.deblur(x, operators.gaussian_psf(4.0)), 48, "at least 52 pixels a side, got 48"),
        (holed, 32, "In a tile of 32 pixels nothing was measured"),
        # 101 is no multiple of 4: the last row of y shows a part of a block
        (lambda x: tasks.linear(torch.rand(1, 3, 26, 26), operators.Downsample(4), shape=(1, 3, 101, 104)), 48, "A is local"),
    ],
)
def test_tiles_of_a_preset_are_left_out_where_impossible(
    made: Callable[[Tensor], Task], asked: int, sentence: str, wide: Tensor
) -> None:
    task = made(wide)
    assert recipe_and_tiles(task, lambda one: replace(made_for_48(one), tile=asked))[1] is None
    with pytest.raises(SettingsError, match=sentence):
        recipe_and_tiles(task, made_for_48, asked)


def test_tiles_of_a_preset_need_evenly_spread_measurements(wide: Tensor) -> None:
    mask = torch.ones(1, 1, *wide.shape[-2:])
    mask[..., :48, :40] = 0
    assert recipe_and_tiles(tasks.inpaint(wide, mask), made_for_48)[1] is None
    assert recipe_and_tiles(tasks.inpaint(wide, mask), made_for_48, 48)[1] is not None
    assert recipe_and_tiles(degradations.scattered(wide, share=0.5).task, made_for_48)[1] is not None


def test_a_term_that_holds_a_whole_image_takes_no_tiles(wide: Tensor) -> None:
    task, guide = tasks.denoise(wide, sigma=0.1), as_terms(GuidePixels(wide))
    assert recipe_and_tiles(task, made_for_48, terms=guide)[1] is None
    assert restore(task, preset=made_for_48, regularisers=guide, steps=2, device="cpu").image.shape == wide.shape
    with pytest.raises(SettingsError, match="'guidepixels' holds an image as large as the whole"):
        restore(task, preset=made_for_48, regularisers=guide, tile=48, device="cpu")


def test_a_fit_s_successor_goes_on_from_each_tile(wide: Tensor) -> None:
    seen: list[tuple[int, ...]] = []

    def refine(x: Tensor, task: Task) -> Tensor:
        seen.append((*x.shape[-2:], *task.shape[-2:]))
        return 1 - x

    task = tasks.denoise(wide, sigma=0.0)
    found = restore(task, preset=lambda one: replace(exact(one), refine=refine), tile=64, device="cpu")
    box = tiles_of(task, 64).boxes[0]
    assert seen == [(box.height, box.width) * 2] * 4
    assert torch.allclose(found.image, 1 - wide, atol=0.01)


def test_a_time_budget_is_shared_by_the_tiles(wide: Tensor) -> None:
    budgets: list[float] = []

    class Noting:
        def run(self, *given: Any, **options: Any) -> Fit:
            budgets.append(options["time_budget"])
            return fit(*given, **options)

    recipe = replace(exact(tasks.denoise(wide, sigma=0.0)), steps=2, tile=64, solver=Noting())
    restore(tasks.denoise(wide, sigma=0.0), preset=recipe, time_budget=100.0, runs=2, device="cpu")
    assert budgets == [25.0] * 8


def test_two_fits_are_not_saved_in_one_file(wide: Tensor, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="seed-0-tile-0 and seed-0-tile-1"):
        restore(
            tasks.denoise(wide, sigma=0.1),
            preset=made_for_48,
            device="cpu",
            hooks=lambda name: FitHooks(checkpoint=Checkpoint(tmp_path / "a.pt")),
        )


def test_halting_ends_an_image_at_its_present_tile(wide: Tensor) -> None:
    task = tasks.denoise(wide, sigma=0.0)
    begun: list[FitName] = []

    def hooks(name: FitName) -> FitHooks:
        begun.append(name)
        return FitHooks(halt=lambda: name.tile == 1)

    found = restore(task, preset=exact, tile=64, runs=2, device="cpu", hooks=hooks)
    assert found.fits[0].reason == "interrupted"
    assert begun == [FitName(0, 0), FitName(0, 1)]
    assert found.image.shape == wide.shape
    assert found.image[..., -1, -1].abs().max() == 0, "nothing was fitted there"
    assert torch.allclose(found.image[..., :40, :40], wide[..., :40, :40], atol=0.02)


def test_a_posterior_s_deviation_is_of_the_whole_image(wide: Tensor) -> None:
    found = restore(tasks.denoise(wide[..., :48, :72], sigma=0.1), preset=sampled, tile=48, steps=12, device="cpu")
    assert found.deviation is not None
    assert found.deviation.shape == (1, 3, 48, 72)
    assert found.deviation.min() > 0


def sampled(task: Task) -> Recipe:
    network = partial(hd.networks.skip, down=(8, 8), skip=(2, 2))
    return replace(published.sgld(task), network=network, solver=Averaging(0.2, 2))


def test_tiles_are_taken_where_the_whole_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    task = plain(400, 600)
    needed = memory_of_a_step(task, quick(task))
    where = torch.device("cpu")
    monkeypatch.setattr(devices, "free_memory", lambda device: needed)
    assert side_of_tiles("auto", task, quick, where) is None
    monkeypatch.setattr(devices, "free_memory", lambda device: int(0.5 * needed))
    assert side_of_tiles("auto", task, quick, where) == 384
    recipe, tiles = recipe_and_tiles(task, quick, 384)
    assert tiles is not None
    assert (tiles.boxes[0].width, tiles.boxes[0].height) == (352, 256), "no larger than two by two of them need to be"
    assert memory_of_a_step(part(task, tiles.boxes[0]), recipe) <= 0.8 * 0.5 * needed
    assert side_of_tiles("auto", task, fast, where) is None, "its own tiles fit"
    assert side_of_tiles("off", task, quick, where) == 0
    assert side_of_tiles("128", task, quick, where) == 128
    assert recipe_and_tiles(task, quick, 600)[1] is None, "one tile is the whole image"
    for wrong in ("huge", "0", "-1"):
        with pytest.raises(SettingsError, match=f"auto, off or a side in pixels, got '{wrong}'"):
            side_of_tiles(wrong, task, quick, where)


def test_the_command_restores_in_tiles_and_resumes(
    tmp_path: Path, wide: Tensor, hybrid_dip_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_image(wide, tmp_path / "clean.png")
    given = ["restore", tmp_path / "clean.png", "--task", "denoise", "--sigma", 10, *SMALL, "--steps", 12, "--tile", 64]
    given += ["--reference", tmp_path / "clean.png", "--quiet", "-o"]
    status, _, err = hybrid_dip_command(*given, tmp_path / "whole")
    assert status == 0, err
    manifest = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert manifest["settings"]["tiles"] == [4, 64, 64]
    assert manifest["seconds_per_step"] == pytest.approx(manifest["seconds"] / (12 * 4))
    assert load_image(tmp_path / "whole" / "restored.png").shape == wide.shape
    # Interrupted in the third tile, and gone on.
    asked = 0

    @contextmanager
    def pressed() -> Iterator[Callable[[], bool]]:
        def ask() -> bool:
            nonlocal asked
            asked += 1
            return asked == 30

        yield ask

    monkeypatch.setattr(job, "interruptible", pressed)
    status, _, err = hybrid_dip_command(*given, tmp_path / "part")
    assert status != 0
    assert "--resume" in err
    assert not (tmp_path / "part" / "restored.png").exists()
    assert len(list((tmp_path / "part" / "checkpoint").glob("seed-0-tile-*.pt"))) == 3
    status, _, err = hybrid_dip_command(*given, tmp_path / "part", "--resume")
    assert status == 0, err
    assert (tmp_path / "part" / "restored.png").read_bytes() == (tmp_path / "whole" / "restored.png").read_bytes()


def test_a_resumed_restoration_keeps_its_tiles(
    tmp_path: Path, wide: Tensor, hybrid_dip_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_image(torch.rand(1, 1, 64, 2000), tmp_path / "y.png")
    task = plain(64, 2000)
    given = ["restore", tmp_path / "y.png", "--task", "denoise", "--sigma", 10, *SMALL, "--steps", 3, "-o", tmp_path / "out"]
    small = partial(hd.networks.skip, down=(8, 8), skip=(4, 4), upsample="bilinear")
    recipe = replace(quick(task), network=small, latent=partial(hd.latents.uniform, 8))
    monkeypatch.setattr(devices, "free_memory", lambda device: memory_of_a_step(task, recipe, recomputed=True) - 1)

    @contextmanager
    def pressed() -> Iterator[Callable[[], bool]]:
        yield lambda: True

    with monkeypatch.context() as patched:
        patched.setattr(job, "interruptible", pressed)
        status, _, err = hybrid_dip_command(*given)
    assert (status, " tiles of" in err) == (130, True), err
    assert "Interrupted after 1 steps" in err
    monkeypatch.undo()
    status, _, err = hybrid_dip_command(*given, "--resume")
    assert status == 0, err
    assert " tiles of" in err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--tile", "20"], "at least 32 pixels a side, got 20"),
        (["--tile", "64", "--gif"], "--gif does not go with tiles"),
        (["--tile", "64", "--fuse", "stack", "-R", "tv@1"], "--tile does not go with --fuse"),
        (["--tile", "-1"], "auto, off or a side in pixels, got '-1'"),
    ],
)
def test_bad_input(options: list[str], sentence: str, tmp_path: Path, wide: Tensor, hybrid_dip_command: Command) -> None:
    save_image(wide, tmp_path / "y.png")
    command = ["restore", tmp_path / "y.png", "--task", "denoise", "--sigma", 10, *SMALL, *options, "-o", tmp_path / "out"]
    status, _, err = hybrid_dip_command(*command)
    assert (status, sentence in err) == (2, True), err
    assert not (tmp_path / "out").exists()

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip import degradations, devices, operators, session, tasks
from hybrid_dip.contracts import Case, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.estimate import memory_of_a_step
from hybrid_dip.images import load_image, save_image
from hybrid_dip.presets import quick
from hybrid_dip.recipe import Recipe
from hybrid_dip.restore import RunHooks, restore
from hybrid_dip.selection import steps_of
from hybrid_dip.tiling import Box, chosen, part, restore_tiled, tiles_of
from tests.command import SMALL

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
def test_the_parts_of_a_task_are_what_the_whole_one_says_of_them(name: str, wide: Tensor) -> None:
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


def test_the_blend_has_no_step_where_tiles_of_different_level_meet() -> None:
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
    seen: list[tuple[int, int]] = []

    def hooks(number: int, seed: int) -> RunHooks:
        seen.append((number, seed))
        return RunHooks()

    found = restore_tiled(
        task, tiles, lambda one, around: restore(one, preset=exact, runs=2, device="cpu", hooks=around), hooks
    )
    assert torch.allclose(found.image, wide, atol=0.01)
    assert found.image.shape == found.raw.shape == found.last.shape == wide.shape
    assert seen == [(number, seed) for number in range(len(tiles.boxes)) for seed in (0, 1)]
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


def test_tiles_are_taken_where_the_whole_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    task = plain(400, 600)
    needed = memory_of_a_step(task, quick(task))
    where = torch.device("cpu")
    monkeypatch.setattr(devices, "free_memory", lambda device: needed)
    assert chosen("auto", task, quick, where) is None
    monkeypatch.setattr(devices, "free_memory", lambda device: int(0.5 * needed))
    tiles = chosen("auto", task, quick, where)
    assert tiles is not None
    assert tiles.boxes[0].width == 256
    tile = part(task, tiles.boxes[0])
    assert memory_of_a_step(tile, quick(tile)) <= 0.8 * 0.5 * needed
    assert chosen("off", task, quick, where) is None
    asked = chosen("128", task, quick, where)
    assert asked is not None
    assert asked.boxes[0].width == 128
    assert chosen("600", task, quick, where) is None, "one tile is the whole image"
    with pytest.raises(SettingsError, match="auto, off or a side in pixels, got 'huge'"):
        chosen("huge", task, quick, where)


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

    monkeypatch.setattr(session, "interruptible", pressed)
    status, _, err = hybrid_dip_command(*given, tmp_path / "part")
    assert status != 0
    assert "--resume" in err
    assert not (tmp_path / "part" / "restored.png").exists()
    assert len(list((tmp_path / "part" / "checkpoint").glob("tile-*.pt"))) == 3
    status, _, err = hybrid_dip_command(*given, tmp_path / "part", "--resume")
    assert status == 0, err
    assert (tmp_path / "part" / "restored.png").read_bytes() == (tmp_path / "whole" / "restored.png").read_bytes()


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

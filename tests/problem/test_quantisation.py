import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.fft import dctn
from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.images.compression import Compression
from hybrid_dip.images.files import crop_picture, crop_to_centre, save_image
from hybrid_dip.images.reading import read_picture
from hybrid_dip.problem import degradations, tasks
from hybrid_dip.problem.quantisation import (
    BT601,
    Bounds,
    Plane,
    Quantised,
    box_of,
    enlargement,
    inverse,
    nearest_within,
    transform,
)
from hybrid_dip.problem.tiles import part, tiles_of

ROUNDING = 0.25 / 255
"""Root mean square that the image which was compressed may be outside by: encoder and decoder round pixels to 8 bits."""


def pixels(height: int, width: int, grey: bool = False) -> Image.Image:
    image = Image.fromarray(skimage.data.astronaut()[60 : 60 + height, 180 : 180 + width])
    return image.convert("L") if grey else image


def compress(image: Image.Image, **options: Any) -> tuple[Task, Tensor]:
    """The task of a compressed image, and the image as it was."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    clean = torch.from_numpy(np.array(image).reshape(image.height, image.width, -1)).permute(2, 0, 1)[None] / 255
    return tasks.jpeg(Image.open(buffer)), clean


def moved(task: Task, x: Tensor) -> float:
    """Root mean square by which the projection changes an image."""
    return float((nearest_within(x, task) - x).square().mean().sqrt())


def test_the_transform_is_scipys_and_is_undone() -> None:
    x = torch.rand(1, 2, 16, 24, dtype=torch.float64)
    blocks = transform(x)
    assert blocks.shape == (1, 2, 2, 3, 8, 8)
    wanted = dctn(x[0, 1, 8:, 16:].numpy(), norm="ortho")
    np.testing.assert_allclose(blocks[0, 1, 1, 2].numpy(), wanted, atol=1e-12)
    torch.testing.assert_close(inverse(blocks), x)


def test_one_block_worked_out_by_hand() -> None:
    """A grey block at 128 + 20 has 8 x 20 = 160 as its first coefficient: of steps of 100, the second; from 150 to 250.

    Its mean is from 128 + 150/8 to 128 + 250/8. All other coefficients are 0, of steps of 80, so from -40 to 40.
    """
    compression = Compression((100, *[80] * 63))
    y = torch.full((1, 1, 8, 8), (128 + 200 / 8) / 255)  # as decoded
    box = Quantised(compression).box(y)
    (bounds,) = box.bounds
    assert 255 * float(bounds.low[0, 0, 0, 0, 0, 0]) == pytest.approx(150, abs=1e-3)
    assert 255 * float(bounds.high[0, 0, 0, 0, 0, 0]) == pytest.approx(250, abs=1e-3)
    assert 255 * float(bounds.high[0, 0, 0, 0, 3, 4]) == pytest.approx(40, abs=1e-3)
    dark = box.project(torch.full((1, 1, 8, 8), 130 / 255))
    torch.testing.assert_close(dark, torch.full((1, 1, 8, 8), (128 + 150 / 8) / 255))
    inside = torch.full((1, 1, 8, 8), (128 + 160 / 8) / 255)
    torch.testing.assert_close(box.project(inside), inside)
    assert float(box.distance(inside)) == pytest.approx(0, abs=1e-12)
    far = 130 / 255 * torch.ones(1, 1, 8, 8)
    assert float(box.distance(far)) == pytest.approx(((150 / 8 - 2) / 255) ** 2, rel=1e-4)
    checks = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1  # nearly one coefficient, the last
    last = 255 * box.project(inside + 30 / 255 * checks)[0, 0] - 128
    assert float(transform(last[None, None])[0, 0, 0, 0, 7, 7].abs()) == pytest.approx(40, abs=1e-3)


@pytest.mark.parametrize("size", [(48, 64), (45, 53)], ids=["whole blocks", "blocks in part"])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [10, 50, 90])
def test_the_image_that_was_compressed_is_within(size: tuple[int, int], subsampling: str, quality: int) -> None:
    task, clean = compress(pixels(*size), quality=quality, subsampling=subsampling)
    assert 255 * moved(task, clean) < {10: 0.02, 50: 0.05, 90: 0.25}[quality]  # steps are finer than rounding at the last
    assert moved(task, task.observation) < ROUNDING


def test_a_grey_image_that_was_compressed_is_within() -> None:
    task, clean = compress(pixels(48, 40, grey=True), quality=20)
    assert moved(task, clean) < ROUNDING < moved(task, clean.flip(-1))


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_the_projection_puts_coefficients_inside_and_changes_nothing_twice(subsampling: str) -> None:
    task, clean = compress(pixels(32, 48), quality=10, subsampling=subsampling)
    box = box_of(task)
    assert box is not None
    x = (clean + 0.3 * torch.randn(clean.shape)).double()
    once = box.project(x)
    torch.testing.assert_close(box.project(once), once, atol=1e-6, rtol=0)
    assert moved(task, x) > 10 / 255
    assert float(box.distance(once)) < 1e-13
    matrix = torch.tensor(BT601).double()
    for other in (task.observation, nearest_within(torch.rand(clean.shape), task)):
        # The angle between the ways to x and to any other image of the box is not sharp: no image of the box is nearer to x.
        to_x, to_other = (torch.einsum("ij,njhw->nihw", matrix, image - once) for image in (x, other.double()))
        assert float((to_x * to_other).sum()) < 1e-4


def test_the_distance_has_its_gradient() -> None:
    task, clean = compress(pixels(16, 16), quality=10)
    box = box_of(task)
    assert box is not None
    x = (clean + 0.2 * torch.randn(clean.shape)).double().requires_grad_()
    assert torch.autograd.gradcheck(box.distance, x)


def test_a_crop_and_a_turned_file_keep_their_blocks(tmp_path: Path) -> None:
    for orientation in (1, 6):
        exif = Image.Exif()
        exif[0x0112] = orientation
        pixels(60, 70).save(tmp_path / "a.jpg", quality=10, exif=exif)
        pixels(60, 70).save(tmp_path / "a.png", exif=exif)
        clean = read_picture(tmp_path / "a.png").pixels
        assert moved(tasks.jpeg(tmp_path / "a.jpg"), clean) < ROUNDING
        part = crop_picture(read_picture(tmp_path / "a.jpg"), 43)
        assert moved(tasks.jpeg(part), crop_to_centre(clean, 43)) < ROUNDING
        shifted = tasks.jpeg(part.pixels, quality=10)  # as if its blocks began with it
        assert moved(shifted, crop_to_centre(clean, 43)) > 4 * ROUNDING


def test_a_tile_has_the_blocks_of_the_whole() -> None:
    task, clean = compress(pixels(80, 96), quality=10)
    tiles = tiles_of(task, 48)
    assert len(tiles.boxes) > 2
    for box in tiles.boxes:
        assert box.top % 16 == box.left % 16 == 0
        assert moved(part(task, box), box.of(clean)) < ROUNDING


def test_without_the_file_the_quality_says_the_same() -> None:
    task, clean = compress(pixels(32, 32), quality=10)
    told = tasks.jpeg(task.observation, quality=10)
    assert isinstance(told.forward, Quantised)
    assert told.forward.compression == task.forward.compression
    assert box_of(tasks.jpeg(task.observation)) is None
    assert torch.equal(nearest_within(clean, tasks.jpeg(task.observation)), clean)
    with pytest.raises(SettingsError, match="1 or 3 channels"):
        tasks.jpeg(torch.rand(1, 2, 16, 16), quality=10)


def test_held_out_pixels_leave_no_box() -> None:
    task, _ = compress(pixels(32, 32), quality=10)
    assert box_of(task.split(0.1)[0]) is None


def test_a_degraded_case_knows_its_steps(photograph: Tensor, tmp_path: Path) -> None:
    case = degradations.jpeg_compressed(photograph, quality=10)
    assert moved(case.task, photograph) < ROUNDING
    assert case.task.noise_sigma is None
    assert torch.equal(case.task.forward(photograph), photograph)
    save_image(case.task.observation, tmp_path / "a.png")
    assert box_of(tasks.jpeg(tmp_path / "a.png")) is None


@pytest.mark.parametrize(("length", "first"), [(16, 0), (17, 1), (20, 1)])
def test_colour_is_enlarged_as_libjpeg_does(length: int, first: int) -> None:
    """Pillow's own decoder, on one line of colour without steps: what it enlarges comes back as it was coded."""
    small = torch.rand(12)
    whole = F.interpolate(small[None, None], scale_factor=2, mode="linear", align_corners=False)[0, 0]  # weights 3/4, 1/4
    line = whole[first : first + length].double()
    matrix = enlargement(length, 2, first)
    found = torch.linalg.solve(matrix.T @ matrix, matrix.T @ line)
    torch.testing.assert_close(found.float(), small[: math.ceil((length + first) / 2)], atol=1e-5, rtol=0)
    assert torch.equal(enlargement(8, 4, 1).argmax(1), torch.tensor([0, 0, 0, 1, 1, 1, 1, 2]))


def test_a_smaller_box_is_around_the_middle() -> None:
    task, _ = compress(pixels(32, 32), quality=10, subsampling="4:4:4")
    box = box_of(task)
    assert box is not None
    x = torch.rand(1, 3, 32, 32)
    middle = box.project(x, 0.0).clamp(0, 1)
    assert float((middle - task.observation).abs().max()) < 2 / 255, "the decoded image, but for its rounding"
    assert float(box.distance(box.project(x, 0.5))) < 1e-12 < float(box.distance(x))


def test_the_error_of_quantisation_follows_from_the_coefficients() -> None:
    """Coefficients with a Laplacian of width 7, rounded to steps of 20: what is expected of the error is what there is.

    Errors of coefficients that are not zero are taken to be even over a step, which costs some percent here.
    """
    draw = np.random.default_rng(0)
    coefficients = torch.from_numpy(draw.laplace(0, 7, (1, 1, 32, 32, 8, 8))) / 255
    step = 20 / 255
    coefficients[..., 0, 0] = torch.from_numpy(draw.uniform(-10, 10, (32, 32))) * step
    rounded = (coefficients / step).round() * step
    plane = Plane(slice(0, 1), (20,) * 64, (1, 1), (0, 0))
    error = Bounds(plane, rounded - step / 2, rounded + step / 2).error
    squares = (coefficients - rounded).square()
    assert error == pytest.approx(float(torch.where(rounded == 0, squares, step**2 / 12).mean().sqrt()), rel=0.01)
    assert error == pytest.approx(float(squares.mean().sqrt()), rel=0.05)

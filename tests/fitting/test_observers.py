"""What a person sees along a fit."""

import torch
from torch import Tensor, nn

import hybrid_dip as hd
from hybrid_dip.contracts import Step
from hybrid_dip.fitting.observers import FewPictures, thumbnail


def step(index: int, *, logged: bool = True) -> Step:
    image = torch.full((1, 5, 16, 40), index / 4000)
    zero = torch.zeros(())
    return Step(index, image, None, image, {"total": zero}, {}, {}, 0.01, logged)


def test_pictures_grow_apart_along_the_fit_and_the_last_one_is_shown() -> None:
    shown: dict[int, tuple[int, ...]] = {}
    signed = hd.tasks.linear(torch.zeros(1, 5, 16, 40), nn.Identity(), (1, 5, 16, 40), value_range=(-1, 1))

    def show(index: int, picture: Tensor) -> None:
        shown[index] = (*picture.shape, int(picture[0, 0, 0, 0]))

    pictures = FewPictures(show, signed, side=20)
    for index in range(3000):
        pictures(step(index, logged=index % 50 == 0))
    pictures.close()
    pictures.close()  # there is nothing more to show
    assert list(shown) == [0, 50, 100, 150, 250, 400, 600, 900, 1350, 2050, 2950]
    assert shown[2950] == (1, 3, 8, 20, round(255 * (1 + 2950 / 4000) / 2))


def test_a_thumbnail_shows_any_channels_and_values() -> None:
    x = torch.linspace(-1, 2, 2 * 16 * 16).reshape(1, 2, 16, 16)
    small = thumbnail(x, 256)
    assert small.shape == (1, 1, 16, 16)
    assert (int(small.min()), small.dtype) == (0, torch.uint8)
    torch.testing.assert_close(small, (x[:, :1].clamp(0, 1) * 255).round().byte())

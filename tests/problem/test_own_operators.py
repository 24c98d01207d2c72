"""A user's own operator that says how local it is does whatever ours do: it is cut into tiles, split and stacked."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import hybrid_dip as hd
from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.fusion.stacking import averages, combine_arms
from hybrid_dip.fusion.weights import Combination
from hybrid_dip.problem.tiles import can_be_tiled, part, tiles_of
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.regularisers import DenoisedObservation
from hybrid_dip.stopping.selection import steps_of

SIGMA = 0.05


@dataclass(frozen=True)
class Smear:
    """Means of five neighbours in a row, as of a camera that moves."""

    locality = hd.operators.Locality(reach=2, averages=True)

    def __call__(self, x: Tensor) -> Tensor:
        kernel = torch.full((x.shape[1], 1, 1, 5), 0.2)
        return F.conv2d(F.pad(x, (2, 2, 0, 0), mode="replicate"), kernel, groups=x.shape[1])


@dataclass(frozen=True)
class Checkered:
    """One colour for each pixel, by two kinds of rows."""

    locality = hd.operators.Locality(period=2)

    def __call__(self, x: Tensor) -> Tensor:
        y = torch.empty_like(x[:, :1])
        y[..., ::2, ::2], y[..., ::2, 1::2] = x[:, :1, ::2, ::2], x[:, 1:2, ::2, 1::2]
        y[..., 1::2, ::2], y[..., 1::2, 1::2] = x[:, 1:2, 1::2, ::2], x[:, 2:, 1::2, 1::2]
        return y


@dataclass(frozen=True)
class Same:
    """The image itself."""

    locality = hd.operators.Locality(identity=True)

    def __call__(self, x: Tensor) -> Tensor:
        return x


@dataclass(frozen=True)
class Binned:
    """Means of 2 x 2 pixels."""

    locality = hd.operators.Locality(stride=2, averages=True)

    def __call__(self, x: Tensor) -> Tensor:
        return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4


@dataclass
class Rows:
    """Every other row; what it says of itself is put in."""

    locality: object

    def __call__(self, x: Tensor) -> Tensor:
        return x[..., ::2, :]


binned = Binned()
Operator = Callable[[Tensor], Tensor]
TWINS: dict[str, tuple[Operator, nn.Module]] = {
    "blur": (Smear(), hd.operators.Blur(torch.ones(1, 5))),
    "mosaic": (Checkered(), hd.operators.Mosaic("RGGB")),
    "identity": (Same(), hd.operators.Identity()),
}


@pytest.fixture(scope="module")
def clean() -> Tensor:
    """48 x 80 pixels: two tiles of 48."""
    import skimage.data

    face = torch.from_numpy(skimage.data.astronaut()[60:108, 180:260]).permute(2, 0, 1)[None].float() / 255
    return face.contiguous()


@pytest.fixture(params=TWINS)
def twins(request: pytest.FixtureRequest, clean: Tensor) -> tuple[Task, Task]:
    """The same task with a user's operator and with ours."""
    own, ours = TWINS[request.param]
    y = hd.noise.add_gaussian(ours(clean), SIGMA)
    task = hd.tasks.linear(y, own, tuple(clean.shape), sigma=SIGMA)
    return task, replace(task, forward=ours)


def brief(task: Task) -> Recipe:
    return Recipe(hd.networks.pixels, partial(hd.latents.uniform, 1), steps=15, lr=0.05)


def test_an_own_operator_is_restored_in_tiles_like_its_twin(twins: tuple[Task, Task]) -> None:
    own, ours = (hd.restore(task, preset=brief, tile=48, device="cpu") for task in twins)
    assert [steps_of(fit) for fit in own.fits] == [2 * 15]
    assert torch.equal(own.raw, ours.raw)


def test_an_own_operator_is_split_like_its_twin(twins: tuple[Task, Task], clean: Tensor) -> None:
    (own, judge), (ours, other) = (task.split(0.2) for task in twins)
    assert torch.equal(own.observation, ours.observation)
    assert own.weight is not None
    assert ours.weight is not None
    assert torch.equal(own.weight, ours.weight)
    assert torch.equal(judge.score(clean), other.score(clean))


def test_an_own_operator_is_stacked_like_its_twin(twins: tuple[Task, Task]) -> None:
    arms = [hd.fusion.Arm("dip", brief), hd.fusion.Arm("smooth", brief, hd.terms.as_terms(0.3 * hd.TV()))]
    assert hd.fusion.default_selection(twins[0]) == hd.fusion.default_selection(twins[1])
    own, ours = (hd.fusion.stack(task, arms, device="cpu") for task in twins)
    assert own.weights == ours.weights
    assert torch.equal(own.raw, ours.raw)


def test_an_own_identity_takes_a_prior_of_noisy_images(clean: Tensor) -> None:
    prior = DenoisedObservation(lambda x, sigma: x / 2)
    assert float(prior.bind(hd.tasks.linear(clean, Same(), sigma=SIGMA))(clean / 2)) == 0
    with pytest.raises(SettingsError, match="for noisy images"):
        prior.bind(hd.tasks.linear(Smear()(clean), Smear(), sigma=SIGMA))


def test_tiles_of_an_own_stride_say_what_the_whole_does(clean: Tensor) -> None:
    task = hd.tasks.linear(binned(clean) + 0.1, binned, tuple(clean.shape))
    for box in tiles_of(task, 48).boxes:
        own = part(task, box)
        assert own.weight is None, "blocks do not overlap, so each tile sees all of its own"
        assert torch.equal(own.residual(box.of(clean)), box.of(task.residual(clean), 2))


def test_what_an_own_operator_averages_away_is_weighed_evenly(clean: Tensor) -> None:
    task = hd.tasks.linear(binned(clean), binned, tuple(clean.shape))
    assert averages(task)
    images = [torch.rand_like(clean) for _ in range(2)]
    combination = Combination(torch.tensor([0.8, 0.2], dtype=torch.float64), None, (0.0, 0.0), 0.0)
    image, mean = combine_arms(task, combination, images), (images[0] + images[1]) / 2
    assert torch.allclose(binned(image), binned(combination(images)), atol=1e-3)

    def detail(x: Tensor) -> Tensor:
        return x - F.interpolate(binned(x), scale_factor=2)

    assert torch.allclose(detail(image), detail(mean), atol=1e-3)


def test_an_operator_that_misjudges_its_stride_is_not_tiled(clean: Tensor) -> None:
    rows = Rows(None)
    task = hd.tasks.linear(rows(clean), rows, tuple(clean.shape))
    assert not can_be_tiled(task), "it says nothing"
    rows.locality = hd.operators.Locality(stride=2)
    assert not can_be_tiled(task), "its columns have stride 1"
    rows.locality = 2
    with pytest.raises(SettingsError, match=r"an hd.operators.Locality, got int"):
        can_be_tiled(task)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: hd.operators.Locality(stride=0), "at least 1"),
        (lambda: hd.operators.Locality(period=0), "at least 1"),
        (lambda: hd.operators.Locality(reach=-1), "at least 0"),
        (lambda: hd.operators.Locality(reach=1, identity=True), "The identity has"),
        (lambda: hd.operators.Locality(averages=True, identity=True), "The identity has"),
    ],
)
def test_a_locality_that_cannot_be_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        make()

import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.errors import SettingsError
from hybrid_dip.problem import degradations
from pretrained import weights
from pretrained.likeness import LPIPS, DeepFeatures, Likeness

Command = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.skipif(weights.get("stlpips-alex").here() is None, reason="the extra offline is not installed")
MAKERS: list[Callable[..., Likeness]] = [DeepFeatures, LPIPS]


@pytest.mark.parametrize("make", MAKERS)
def test_the_guide_itself_is_nearest(make: Callable[..., Likeness], photograph: Tensor) -> None:
    regulariser = make(to="guide", image=photograph)
    noisy = photograph + 0.1 * torch.randn(photograph.shape)
    assert float(regulariser(photograph)) == 0
    assert float(regulariser(noisy)) > 1e-3


@pytest.mark.parametrize("make", MAKERS)
def test_what_was_measured_is_compared_with_the_observation(make: Callable[..., Likeness], photograph: Tensor) -> None:
    for case in (degradations.downsampled(photograph, factor=2, kernel="box"), degradations.scattered(photograph)):
        regulariser = make(to="observation").bind(case.task)
        assert float(regulariser(photograph)) == pytest.approx(0, abs=1e-6)
        assert float(regulariser(photograph.flip(-1))) > 1e-3
    hidden = torch.where(case.task.weight > 0, photograph, 1 - photograph) if case.task.weight is not None else photograph
    assert float(regulariser(hidden)) == pytest.approx(0, abs=1e-6), "what was not measured does not matter"


@pytest.mark.parametrize("make", MAKERS)
def test_the_estimate_is_the_denoised_image(make: Callable[..., Likeness], photograph: Tensor) -> None:
    asked = []

    def denoiser(x: Tensor, sigma: float) -> Tensor:
        asked.append(sigma)
        return 0.5 * x

    regulariser = make(denoiser=denoiser).bind(hd.tasks.denoise(photograph, sigma=0.1))
    guided = make(to="guide", image=0.5 * photograph)
    regulariser.refresh(0, photograph)
    assert float(regulariser(photograph)) == pytest.approx(float(guided(photograph)))
    assert asked == [0.1]


@pytest.mark.parametrize("make", MAKERS)
def test_another_type_leaves_the_network_of_others_as_it_is(make: Callable[..., Likeness], photograph: Tensor) -> None:
    regulariser = make(to="guide", image=photograph.flip(-1))
    single = regulariser(photograph)
    assert float(regulariser(photograph.double())) == pytest.approx(float(single), rel=1e-4)
    assert torch.equal(regulariser(photograph), single)


def test_style_may_come_from_an_image_of_another_size(photograph: Tensor) -> None:
    for distance in ("gram", "sliced-wasserstein", "contextual"):
        assert float(DeepFeatures(to="guide", image=photograph[..., :24, :], distance=distance)(photograph)) > 0
    with pytest.raises(SettingsError, match="is 32x24"):
        DeepFeatures(to="guide", image=photograph[..., :24, :])(photograph)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("deep-features:to=giude", "did you mean 'guide'"),
        ("deep-features:to=guide", "needs an image"),
        ("deep-features:distance=l1", "distance"),
        ("deep-features:model=vgg61", "timm has no model 'vgg61'"),
        ("lpips:name=lpips-alx", "did you mean 'lpips-alex'"),
        ("lpips:every=0", "every=0"),
        ("lpips:sigma=25", "scale 0..1"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    options: str, words: str, photograph: Tensor, tmp_path: Path, hybrid_dip_command: Command
) -> None:
    hd.save_image(photograph, tmp_path / "noisy.png")
    given = [
        "restore",
        tmp_path / "noisy.png",
        "--task",
        "denoise",
        "--sigma",
        25,
        "--preset",
        "quick",
        "--steps",
        2,
        "--quiet",
    ]
    code, _, err = hybrid_dip_command(*given, "-R", options, "-o", tmp_path / "out")
    assert code == 2
    assert words in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("kind", [DeepFeatures, LPIPS])
def test_all_options_are_explained(kind: type) -> None:
    text = inspect.getdoc(kind) or ""
    for option in fields(kind):
        assert f"    {option.name}: " in text, option.name


@pytest.mark.parametrize(("to", "whole"), [("guide", True), ("observation", False), ("estimate", False)])
def test_a_guide_is_as_large_as_the_image(to: Literal["guide", "observation", "estimate"], whole: bool) -> None:
    assert (0.1 * DeepFeatures(to=to, image=torch.zeros(1, 3, 16, 16) if whole else "")).of_whole_image is whole

"""Weights and maps of weights from data that the images were not made from."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.fusion.weights import combine
from hybrid_dip.problem import operators, tasks
from hybrid_dip.problem.fidelity import gaussian


def judge(truth: Tensor, sigma: float = 0.05, share: float = 1.0) -> Task:
    """Noisy data of a truth, in some of the pixels."""
    y = truth + sigma * torch.randn(truth.shape)
    held = (torch.rand(1, 1, *truth.shape[-2:]) < share).float().expand_as(y)
    return replace(tasks.denoise(y, sigma=sigma), observation=y * held, weight=held)


def test_independent_errors_are_weighed_by_their_precision() -> None:
    truth = torch.rand(1, 3, 64, 64)
    images = [truth + level * torch.randn(truth.shape) for level in (0.1, 0.2)]
    found = combine([images], [judge(truth)])
    assert found.weights.tolist() == pytest.approx([0.8, 0.2], abs=0.03)
    assert found.maps is None  # it is the same everywhere
    assert "no better" in str(found.settings["maps"])
    assert torch.allclose(found(images), 0.8 * images[0] + 0.2 * images[1], atol=0.03)


def test_a_map_takes_each_image_where_it_is_better() -> None:
    truth = torch.rand(1, 1, 64, 64)
    left = (torch.arange(64) < 32).float().expand(1, 1, 64, 64)
    images = [truth + 0.2 * left * torch.randn(truth.shape), truth + 0.2 * (1 - left) * torch.randn(truth.shape)]
    found = combine([images], [judge(truth, share=0.3)])
    assert found.maps is not None
    assert found.maps.shape == (2, 64, 64)
    assert torch.allclose(found.maps.sum(0), torch.ones(64, 64, dtype=torch.float64))
    assert float(found.maps[0, :, 48:].mean()) > 0.8
    assert float(found.maps[0, :, :16].mean()) < 0.2
    error = (found(images) - truth).square().mean()
    plain = combine([images], [judge(truth, share=0.3)], local=False)
    assert plain.maps is None
    assert float(error) < 0.5 * float((plain(images) - truth).square().mean())


def test_maps_are_enlarged_where_the_observation_is_smaller() -> None:
    truth = torch.rand(1, 1, 64, 64)
    forward = operators.Downsample(2, "box")
    left = (torch.arange(64) < 32).float().expand(1, 1, 64, 64)
    images = [truth + 0.3 * left, truth + 0.3 * (1 - left)]
    seen = Task(forward(truth) + 0.02 * torch.randn(1, 1, 32, 32), (1, 1, 64, 64), forward, gaussian)
    found = combine([images], [seen])
    assert found.maps is not None
    assert found.maps.shape == (2, 64, 64)
    assert float(found.maps[0, :, 48:].mean()) > 0.9


def test_maps_are_not_tried_where_entries_have_no_place() -> None:
    """y is the image turned over: maps of where y is right would be wrong in the image."""
    truth = torch.rand(1, 1, 64, 64)
    left = (torch.arange(64) < 32).float().expand(1, 1, 64, 64)
    images = [truth + 0.3 * left, truth + 0.3 * (1 - left)]
    seen = Task(truth.flip(-1), (1, 1, 64, 64), lambda x: x.flip(-1), gaussian)
    assert combine([images], [seen]).maps is None


def test_several_replicates_count_together() -> None:
    truth = torch.rand(1, 1, 32, 32)
    images = [[truth + level * torch.randn(truth.shape) for level in (0.1, 0.1)] for _ in range(2)]
    judges = [judge(truth, share=0.5), judge(truth, share=0.5)]
    grams = [combine([one], [task], local=False).errors for one, task in zip(images, judges, strict=True)]
    both = combine(images, judges, local=False)
    counts = [float(task.weight.sum()) for task in judges]  # type: ignore[union-attr]
    expected = sum(c * g[0] for c, g in zip(counts, grams, strict=True)) / sum(counts)
    assert both.errors[0] == pytest.approx(expected)


def test_an_observation_that_is_no_image_gets_scalar_weights() -> None:
    truth = torch.rand(1, 1, 16, 16)
    seen = Task(truth.flatten()[:50].clone(), (1, 1, 16, 16), lambda x: x.flatten()[:50], gaussian)
    found = combine([[truth, truth + 0.1]], [seen])
    assert found.maps is None
    assert found.weights.tolist() == pytest.approx([1.0, 0.0], abs=1e-6)


def test_images_of_different_sizes_are_refused() -> None:
    with pytest.raises(SettingsError, match="must be of one size, got 16x16 and 32x32"):
        combine([[torch.rand(1, 1, 16, 16), torch.rand(1, 1, 32, 32)]], [judge(torch.rand(1, 1, 16, 16))])

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from pretrained.denoisers import load_denoiser
from pretrained.features import load_features
from pretrained.perceptual import load_perceptual
from pretrained.shared_networks import copy_for, load_once


def test_a_network_is_loaded_once_and_draws_nothing() -> None:
    @load_once
    def load(width: int) -> nn.Module:
        return nn.Linear(width, width)

    before = torch.get_rng_state()
    with torch.device("meta"):
        found = load(2)
    assert found.weight.device.type == "cpu"
    assert load(2) is found
    assert load(3) is not found
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("load", [load_denoiser, load_features, load_perceptual])
def test_loading_a_network_leaves_the_fit_s_draws_alone(load: Callable[[], Any]) -> None:
    load.cache_clear()  # type: ignore[attr-defined]
    before = torch.get_rng_state()
    assert load() is load()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_copy_of_another_type_is_kept() -> None:
    network = nn.Linear(2, 2)
    x = torch.rand(1, 2)
    assert copy_for(network, x) is network
    other = copy_for(network, x.double())
    assert other is not network
    assert other.weight.dtype == torch.float64
    assert copy_for(network, x.double()) is other
    assert network.weight.dtype == torch.float32

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hybrid_dip.errors import SettingsError
from hybrid_dip.regularisers import TV
from hybrid_dip.regularisers.terms import Term, Terms, as_terms


def energy(x: Tensor) -> Tensor:
    return x.square().mean()


def test_terms_are_written_as_algebra() -> None:
    terms = 0.1 * TV() + 0.01 * TV(epsilon=0.1) + Term(energy, 2.0)
    assert isinstance(terms, Terms)
    assert [term.weight for term in terms] == [0.1, 0.01, 2.0]
    assert [term.name for term in as_terms(terms)] == ["tv", "tv-2", "energy"]


@pytest.mark.parametrize(
    "write",
    [
        lambda: 2 * (0.1 * TV() + 0.1 * TV()),
        lambda: (0.1 * TV() + 0.1 * TV()) * 2,
        lambda: TV() * 0.1,
        lambda: TV() + TV(),
        lambda: TV() + 0.1 * TV(),
        lambda: 0.1 * TV() + TV(),
        lambda: 0.1 * TV() + nn.Sequential(nn.Flatten(0)),
    ],
)
def test_algebra_that_means_nothing_says_how_it_is_written(write: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match=r"as in 0.1 \* TV\(\) \+ 0.01 \* TGV\(\); got"):
        write()


def test_as_terms_takes_whatever_a_user_passes() -> None:
    assert [term.weight for term in as_terms(energy)] == [1.0]
    assert [term.weight for term in as_terms([0.5 * TV(), energy])] == [0.5, 1.0]
    assert as_terms(()) == ()


def test_names_of_history_columns_are_not_taken() -> None:
    assert [term.name for term in as_terms([Term(energy, 1, "loss"), Term(energy, 1, "fidelity")])] == ["loss-2", "fidelity-2"]


def test_modules_are_priors_too() -> None:
    class Decay(nn.Module):
        def forward(self, network: nn.Module, latent: Tensor, x: Tensor) -> Tensor:
            return x.mean()

    assert Term(Decay()).acts_on_network
    assert len(as_terms(nn.Sequential(nn.Conv2d(3, 1, 1), nn.Flatten(0)))) == 1


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_is_finite_and_not_negative(weight: float) -> None:
    with pytest.raises(SettingsError, match="at least 0"):
        Term(energy, weight)


def test_a_term_knows_whether_it_acts_on_the_network() -> None:
    def weight_decay(network: nn.Module, latent: Tensor, x: Tensor) -> Tensor:
        return torch.stack([p.square().sum() for p in network.parameters()]).sum()

    def with_options(x: Tensor, strength: float = 1.0, sharpness: float = 2.0) -> Tensor:
        return x.mean()

    assert Term(weight_decay).acts_on_network
    assert not Term(energy).acts_on_network
    assert not Term(with_options).acts_on_network
    assert not Term(TV()).acts_on_network

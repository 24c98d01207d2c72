import pytest
import torch
import torch.nn.functional as F

from hybrid_dip.problem import fidelity

FIDELITIES = [fidelity.gaussian, fidelity.l1, fidelity.poisson, fidelity.speckle]


def test_by_hand() -> None:
    u, y = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 3.0, 1.0])
    weight = torch.tensor([1.0, 1.0, 0.0])
    assert float(fidelity.gaussian(u, y)) == pytest.approx((0 + 1 + 9) / 3)
    assert float(fidelity.l1(u, y)) == pytest.approx((0 + 1 + 3) / 3)
    # unmeasured entries count in the mean, with zero
    assert float(fidelity.gaussian(u, y, weight)) == pytest.approx(1 / 3)


def test_poisson_is_the_log_likelihood_of_photon_counts() -> None:
    peak = 50.0
    x, y = torch.rand(1000) + 0.5, torch.poisson(peak * torch.ones(1000)) / peak
    counts = F.poisson_nll_loss(peak * x, peak * y, log_input=False, full=False) / peak
    saturated = F.poisson_nll_loss(peak * y, peak * y, log_input=False, full=False) / peak
    assert float(fidelity.poisson(x, y)) == pytest.approx(float(counts - saturated), rel=5e-3)


def test_speckle_is_the_log_likelihood_of_gamma_distributed_intensities() -> None:
    looks, x = 3.0, torch.rand(1000, dtype=torch.float64) + 0.5
    y = x * torch.distributions.Gamma(looks, looks).sample(x.shape)

    def likelihood(mean: torch.Tensor) -> torch.Tensor:
        return -torch.distributions.Gamma(looks, looks / mean).log_prob(y).mean() / looks

    assert float(fidelity.speckle(x, y)) == pytest.approx(float(likelihood(x) - likelihood(y)), rel=2e-2)


@pytest.mark.parametrize("loss", FIDELITIES)
def test_zero_at_the_observation_and_positive_elsewhere(loss: object) -> None:
    y = torch.tensor([0.0, 0.2, 1.0])
    assert float(loss(y, y)) == 0  # type: ignore[operator]
    assert float(loss(y + 0.1, y)) > 0  # type: ignore[operator]


@pytest.mark.parametrize("loss", FIDELITIES)
def test_the_gradient_is_finite_at_black_and_at_equality(loss: object) -> None:
    y = torch.tensor([0.0, 0.0, 0.7, 1.0])
    x = torch.tensor([0.0, 0.5, 0.7, 0.0], requires_grad=True)
    loss(x, y).backward()  # type: ignore[operator]
    assert x.grad is not None
    assert bool(torch.isfinite(x.grad).all())


@pytest.mark.parametrize("loss", FIDELITIES)
def test_gradcheck(loss: object) -> None:
    y = torch.rand(12, dtype=torch.float64) + 0.1
    x = (torch.rand(12, dtype=torch.float64) + 1.2).requires_grad_()
    assert torch.autograd.gradcheck(lambda u: loss(u, y), x)  # type: ignore[operator]

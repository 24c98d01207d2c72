import pytest
import torch

from hybrid_dip.problem.stabilisation import stabilise, unstabilise


def draws(x: float, read: float) -> torch.Tensor:
    """Counts with read noise, in photons."""
    draw = torch.Generator().manual_seed(0)
    counts = torch.poisson(torch.full((400_000,), x), generator=draw)
    return (counts + read * torch.randn(counts.shape, generator=draw)).double()


@pytest.mark.parametrize("read", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("x", [1.0, 2.0, 5.0, 30.0])
def test_the_inverse_of_the_mean_is_the_truth(x: float, read: float) -> None:
    mean = stabilise(draws(x, read), 1.0, read**2).mean()
    assert float(unstabilise(mean, 1.0, read**2)) == pytest.approx(x, abs=0.04)
    algebraic = mean**2 / 4 - 3 / 8 - read**2
    assert float(algebraic) < x - 0.1, "which is why it is not taken"


@pytest.mark.parametrize("read", [0.0, 2.0])
def test_the_noise_has_the_deviation_one(read: float) -> None:
    for x in (5.0, 20.0, 100.0):
        assert float(stabilise(draws(x, read), 1.0, read**2).std()) == pytest.approx(1, abs=0.04)


def test_units_and_channels_go_along() -> None:
    a = torch.tensor([0.1, 0.02, 0.05]).view(1, 3, 1, 1)
    y = torch.rand(1, 3, 8, 8, dtype=torch.double)
    for channel in range(3):
        one = float(a[0, channel, 0, 0])
        assert torch.allclose(stabilise(y, a, 0.01)[:, channel], stabilise(y[:, channel], one, 0.01))
    assert torch.allclose(unstabilise(stabilise(y + 1, a) + 0.0, a), y + 1 + a / 4, atol=0.02), "a quarter of a photon above"
    assert float(unstabilise(torch.zeros(1), 0.1)) == 0

import pytest
import torch
from torch import Tensor

from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting import optimizers


def step_of(factory: optimizers.OptimizerFactory, start: Tensor, gradient: Tensor) -> Tensor:
    """By how much the first step moves a parameter."""
    parameter = start.clone().requires_grad_()
    stepper = factory([parameter])
    parameter.grad = gradient.clone()
    stepper.step()
    return parameter.detach() - start


@pytest.mark.parametrize("shape", [(8, 4, 3, 3), (16, 8, 1, 1), (4, 12)])
@pytest.mark.parametrize("scale", [2.0**-20, 2.0**10])
def test_muon_moves_filters_equally_far_in_all_directions(shape: tuple[int, ...], scale: float) -> None:
    rows, columns = shape[0], int(torch.tensor(shape[1:]).prod())
    u, _, v = torch.linalg.svd(torch.randn(rows, columns), full_matrices=False)
    gradient = u @ torch.linspace(0.3, 1, min(rows, columns)).diag() @ v
    moved = step_of(optimizers.muon(0.005, filters=4), torch.zeros(shape), scale * gradient.view(shape)).flatten(1)
    along = -u.T @ moved @ v.T / (4 * 0.005 * max(1, rows / columns) ** 0.5)
    # Newton and Schulz's five steps take each singular value to about 1.
    assert along.diagonal().min() > 0.6
    assert along.diagonal().max() < 1.3
    assert (along - along.diagonal().diag()).abs().max() < 0.1


def test_muon_moves_filters_as_another_package_does() -> None:
    import pytorch_optimizer

    shapes = [(8, 4, 3, 3), (8, 4, 3, 3), (16, 8, 1, 1), (4, 12), (5,)]
    torch.manual_seed(0)
    start, *gradients = ([torch.randn(shape) for shape in shapes] for _ in range(4))
    ours, theirs = ([one.clone().requires_grad_() for one in start] for _ in range(2))
    groups = [{"params": theirs[:-1], "lr": 0.02, "use_muon": True}, {"params": theirs[-1:], "lr": 0.005, "use_muon": False}]
    for parameters, stepper in ((ours, optimizers.muon(0.005)(ours)), (theirs, pytorch_optimizer.Muon(groups))):
        for drawn in gradients:  # in other directions each time, so that the momentum counts
            for parameter, gradient in zip(parameters, drawn, strict=True):
                parameter.grad = gradient.clone()
            stepper.step()
    for one, other, first in zip(ours[:-1], theirs[:-1], start[:-1], strict=True):
        assert (one - other).norm() < 0.02 * (other - first).norm()  # theirs iterates in half precision


def test_orthogonal_takes_singular_values_to_one() -> None:
    u, _, v = torch.linalg.svd(torch.randn(3, 6, 10), full_matrices=False)
    made = optimizers.orthogonal(torch.stack([u[0] @ torch.linspace(0.3, 1, 6).diag() @ v[0], torch.zeros(6, 10)]))
    assert (u[0].T @ made[0] @ v[0].T - torch.eye(6)).abs().max() < 0.35
    assert not made[1].any()


def test_the_logged_rate_is_the_given_one() -> None:
    groups = optimizers.muon(0.005)([torch.ones(4, 3, requires_grad=True), torch.ones(4, requires_grad=True)]).param_groups
    assert [group["lr"] for group in groups] == [0.005, 0.02]


@pytest.mark.parametrize("shape", [(7,), (1, 4, 6, 6)])
def test_muon_takes_adams_steps_for_what_is_no_filter(shape: tuple[int, ...]) -> None:
    start, gradient = torch.randn(2, *shape)
    found = step_of(optimizers.muon(0.005, betas=(0.8, 0.9)), start, gradient)
    torch.testing.assert_close(found, step_of(optimizers.adam(0.005, betas=(0.8, 0.9)), start, gradient))


def test_an_option_out_of_range_is_named() -> None:
    for refused in (lambda: optimizers.adam(0.0), lambda: optimizers.muon(-1.0), lambda: optimizers.muon(filters=0.0)):
        with pytest.raises(SettingsError, match="learning rate must be a number above 0"):
            refused()
    for refused in (lambda: optimizers.adam(betas=(0.9, 1.0)), lambda: optimizers.muon(momentum=1.0)):
        with pytest.raises(SettingsError, match=r"decays must be in \[0, 1\), got .*1\.0"):
            refused()


def test_radams_first_steps_are_plain_momentum() -> None:
    gradient = torch.tensor([0.3, -2.0, 1e-3])
    assert torch.allclose(step_of(optimizers.radam(0.1), torch.zeros(3), gradient), -0.1 * gradient)
    assert torch.allclose(step_of(optimizers.adam(0.1), torch.zeros(3), gradient), -0.1 * gradient.sign(), atol=1e-5)
    with pytest.raises(SettingsError, match="must be a number above 0"):
        optimizers.radam(0.0)

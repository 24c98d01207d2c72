"""What can be seen of a replayed network without a CUDA device; the rest is in tests/gpu."""

import shutil
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import hybrid_dip as hd
from hybrid_dip.contracts import Task
from hybrid_dip.execution import cuda_graph
from hybrid_dip.execution.cuda_graph import Forward, Replayed
from hybrid_dip.networks import latents
from hybrid_dip.recipes.prepare import prepare
from hybrid_dip.recipes.presets import quick
from tests.fits import lean


class InPlace(torch.autograd.Function):
    """Puts an image where the one before it was, as a graph does."""

    @staticmethod
    def forward(context: Any, image: Tensor, memory: Tensor) -> Tensor:
        memory.copy_(image)
        return memory.detach()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def overwrite_outputs(network: nn.Module, made: list[Tensor]) -> None:
    """Let the outputs of a network overwrite each other, and count them."""
    forward: Forward = network.forward

    def make(z: Tensor) -> Forward:
        memory = torch.empty(1, 3, 32, 32)

        def call(z: Tensor) -> Tensor:
            made.append(z)
            output: Tensor = InPlace.apply(forward(z), memory)
            return output

        return call

    network.forward = Replayed(forward, make)


def test_a_fit_is_the_same_where_outputs_overwrite_each_other(noisy: Task) -> None:
    torch.manual_seed(0)
    z = latents.uniform(8, (32, 32))
    found, made = [], []
    for replay in (False, True):
        torch.manual_seed(1)
        network = lean()
        if replay:
            overwrite_outputs(network, made)
        found.append(hd.fit(network, z, noisy, 0.01 * hd.TV(), max_steps=12, average=0.9, jitter=0.03, log_every=5))
    assert len(made) == 12
    assert torch.equal(found[0].image, found[1].image)
    assert torch.equal(found[0].last, found[1].last)
    assert list(found[0].state["network"]) == list(found[1].state["network"])


def test_without_gradients_nothing_is_replayed() -> None:
    network, made = lean(), []
    overwrite_outputs(network, made)
    z = latents.uniform(8, (32, 32))
    with torch.no_grad():
        network(z)
    assert not made
    network(z)
    assert len(made) == 1


def test_the_recorded_function_reads_its_leaves_in_place() -> None:
    network, z = lean(), latents.uniform(8, (32, 32))
    evaluate, parameters = cuda_graph._as_function(network, network.forward)
    expected = torch.autograd.grad(network(z).square().mean(), list(network.parameters()))
    network.forward = Replayed(network.forward, lambda z: pytest.fail("the network's own forward is what is recorded"))
    twins = [parameter.detach().requires_grad_() for parameter in parameters]
    found = torch.autograd.grad(evaluate(z, *twins).square().mean(), twins)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    before = evaluate(z, *twins)
    with torch.no_grad():
        for parameter in parameters:
            parameter.mul_(1.1)
    assert not torch.equal(evaluate(z, *twins), before)


@pytest.mark.slow
def test_a_network_compiled_for_replay_gives_the_same_gradients(noisy: Task) -> None:
    if shutil.which("g++") is None and shutil.which("c++") is None:
        pytest.skip("torch.compile needs a C++ compiler, and there is none here")
    gradients = []
    for replay in (False, True):
        network, z = prepare(noisy, quick(noisy), 0)
        if replay:
            cuda_graph.compile_and_record(network)
        (network(z) - noisy.observation).square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    assert float(torch.cosine_similarity(*gradients, dim=0)) > 0.9999
    assert float(gradients[1].norm() / gradients[0].norm()) == pytest.approx(1, abs=1e-3)

"""Activations that are computed again: the same numbers, for less memory."""

import copy
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hybrid_dip import networks
from hybrid_dip.execution import devices
from hybrid_dip.execution.allocator import _scarce
from hybrid_dip.execution.precision import PLAIN, Execution
from hybrid_dip.execution.recompute import Part, run_again, run_in_parts
from hybrid_dip.images.files import load_image, save_image
from hybrid_dip.problem import tasks
from hybrid_dip.recipes.presets import fast, original, quick
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.restoring.memory import memory_of_a_step, recompute_if_needed

Command = Callable[..., tuple[int, str, str]]

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "skip": partial(networks.skip, upsample="bilinear", padding="reflection"),
    "unet": networks.unet,
    "unet, batch norm": partial(networks.unet, norm="batch"),
    "resnet": networks.resnet,
    "decoder": networks.decoder,
}


def step(network: nn.Module, latent: Tensor) -> list[Tensor]:
    """Image, gradients and buffers after one step back."""
    image = network(latent)
    (image - 0.3).square().mean().backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    return [image.detach(), *gradients, *(buffer.detach() for buffer in network.buffers())]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_image_gradients_and_statistics(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name](4, 3)
    latent = torch.rand(1, 4, 32, 48)
    # One of one value a channel cannot be normalised: larger where it is halved five times.
    latent = latent if name != "unet, batch norm" else torch.rand(1, 4, 64, 64)
    calls: list[int] = []

    def counted(does: Callable[[Tensor], Tensor], part: Part, x: Tensor) -> Tensor:
        calls.append(len(part))
        return run_again(does, part, x)

    other = run_in_parts(copy.deepcopy(network), counted)
    for a, b in zip(step(network, latent), step(other, latent), strict=True):
        assert torch.equal(a, b)
    assert len(calls) >= 4
    assert list(network.state_dict()) == list(other.state_dict())


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_is_computed_more_than_twice(name: str) -> None:
    """A part that holds the parts of others would be computed again with each of them."""
    network = run_in_parts(NETWORKS[name](4, 3), run_again)
    counts: dict[nn.Module, int] = {}
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda layer, _, __: counts.update({layer: counts.get(layer, 0) + 1}))
    step(network, torch.rand(1, 4, 64, 64))
    assert set(counts.values()) <= {1, 2}
    assert 2 in counts.values()


class InTurn(nn.Module):
    """One after the other."""

    def __init__(self, first: nn.Module, second: nn.Module):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, z: Tensor) -> Tensor:
        found: Tensor = self.second(self.first(z))
        return found


def test_an_activation_in_place_does_not_spoil_what_is_kept() -> None:
    torch.manual_seed(0)
    layers = [
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(2, 2, 3, padding=1),
        nn.BatchNorm2d(2),
        nn.LeakyReLU(0.2, inplace=True),
    ]
    network = InTurn(nn.Conv2d(1, 2, 1), nn.Sequential(*layers))
    latent = torch.randn(1, 1, 16, 16)
    other = run_in_parts(copy.deepcopy(network), run_again)
    for a, b in zip(step(network, latent), step(other, latent), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("preset", [quick, fast, original])
def test_a_step_is_counted_as_smaller(preset: Callable[..., Recipe]) -> None:
    task = tasks.denoise(torch.rand(1, 3, 256, 256), sigma=0.1)
    kept = memory_of_a_step(task, preset(task))
    recomputed = memory_of_a_step(task, preset(task), recomputed=True)
    assert 0.4 * kept < recomputed < 0.8 * kept


def test_what_autograd_keeps_is_what_was_counted() -> None:
    """The input of each convolution and what each Tanh gave; in parts their inputs, and nothing else."""
    network = nn.Sequential(*(layer for _ in range(4) for layer in (nn.Conv2d(8, 8, 3, padding=1), nn.Tanh(), nn.Softplus())))
    latent = torch.rand(1, 8, 32, 32)
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    def maps(one: nn.Module) -> int:
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            image = one(latent)
        del image
        return sum(size == latent.numel() for size in kept.values())

    assert maps(network) == 8
    assert maps(run_in_parts(network, run_again)) == 4


def test_recomputation_leaves_compiled_networks_to_the_compiler() -> None:
    assert str(Execution(recomputed=True)) == "float32, recomputed"
    network = nn.Sequential(nn.Conv2d(1, 1, 1))
    where = torch.device("cpu")
    assert "forward" not in vars(Execution(compiled=True, recomputed=True).apply(network, where))
    assert "forward" in vars(Execution(recomputed=True).apply(network, where))


def test_a_fit_that_recomputes_keeps_no_freed_memory() -> None:
    for way in (PLAIN, Execution(recomputed=True)):
        with way.global_settings(torch.device("cuda")):
            assert _scarce.get() is way.recomputed
    assert not _scarce.get()


def test_a_way_recomputes_only_where_that_makes_it_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    task, where = tasks.denoise(torch.rand(1, 3, 128, 128), sigma=0.1), torch.device("cpu")
    recipe = quick(task)
    kept, less = (memory_of_a_step(task, recipe, recomputed=switch) for switch in (False, True))
    for free, way, expected in [
        (kept, PLAIN, False),
        ((kept + less) // 2, PLAIN, True),
        ((kept + less) // 2, Execution(compiled=True), False),
        (less - 1, PLAIN, False),
    ]:
        monkeypatch.setattr(devices, "free_memory", lambda device, free=free: free)
        assert recompute_if_needed(way, task, recipe, where).recomputed is expected


def test_the_command_recomputes_where_memory_is_scarce(
    tmp_path: Path, photograph: Tensor, hybrid_dip_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_image(photograph, tmp_path / "y.png")
    task = tasks.denoise(load_image(tmp_path / "y.png"), sigma=10 / 255)
    kept, less = (memory_of_a_step(task, quick(task), recomputed=switch) for switch in (False, True))
    given = ["restore", tmp_path / "y.png", "--task", "denoise", "--sigma", 10, "--preset", "quick", "--steps", 3, "-o"]
    images = {}
    for name, free in {"much": 2 * kept, "little": (kept + less) // 2}.items():
        monkeypatch.setattr(devices, "free_memory", lambda device, free=free: free)
        status, _, err = hybrid_dip_command(*given, tmp_path / name)
        assert status == 0, err
        assert ("computed again" in err) is (name == "little")
        manifest = json.loads((tmp_path / name / "run.json").read_text())
        assert manifest["settings"]["execution"]["recomputed"] is (name == "little")
        assert manifest["settings"]["tiles"] is None
        images[name] = (tmp_path / name / "restored.png").read_bytes()
    assert images["much"] == images["little"]

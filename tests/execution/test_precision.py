import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import hybrid_dip as hd
from hybrid_dip.contracts import Task
from hybrid_dip.errors import HybridDIPWarning, SettingsError
from hybrid_dip.execution.precision import PLAIN, Execution, put_channels_last
from hybrid_dip.execution.timing import candidates
from hybrid_dip.fitting.solvers import ADMM
from hybrid_dip.problem import degradations
from hybrid_dip.recipes.prepare import prepare
from hybrid_dip.recipes.presets import fast, quick
from hybrid_dip.restoring.restore import only_the_loop_evaluates, restore
from tests.command import SMALL

Command = Callable[..., tuple[int, str, str]]
CPU = torch.device("cpu")
HALF = Execution("bfloat16")


def gradients(network: nn.Module, latent: Tensor, target: Tensor) -> Tensor:
    network.zero_grad()
    (network(latent) - target).square().mean().backward()
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


@pytest.mark.parametrize("preset", [fast, quick])
def test_half_precision_points_the_same_way_and_leaves_parameters_single(
    preset: Callable[..., hd.Recipe], photograph: Tensor
) -> None:
    # In smaller images batch norm over the deepest maps, of a few pixels, blows the roundings up.
    y = torch.nn.functional.interpolate(photograph, scale_factor=4, mode="bicubic")
    task = degradations.noisy(y, sigma=0.1).task
    network, latent = prepare(task, preset(task), 0)
    other = HALF.apply(copy.deepcopy(network), CPU)
    single, half = (gradients(one, latent, task.observation) for one in (network, other))
    assert not torch.equal(single, half), "it is another way"
    assert float(torch.cosine_similarity(single, half, dim=0)) > 0.9
    assert float(half.norm() / single.norm()) == pytest.approx(1, abs=0.15)
    assert other(latent).dtype == torch.float32
    assert {p.dtype for p in other.parameters()} == {torch.float32}
    assert list(other.state_dict()) == list(network.state_dict())


def test_a_fit_in_half_precision_differs_and_says_so(noisy: Task) -> None:
    found = {way: restore(noisy, preset="fast", steps=15, runs=1, device="cpu", execution=way) for way in (PLAIN, HALF)}
    assert found[HALF].hardware["execution"] == "bfloat16"
    assert found[PLAIN].hardware["execution"] == "float32"
    assert not torch.equal(found[HALF].image, found[PLAIN].image)
    assert (found[HALF].image - found[PLAIN].image).square().mean().sqrt() < 0.1


def test_tf32_is_allowed_during_a_fit_and_not_after_it() -> None:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    for way, expected in ((PLAIN, False), (Execution("tf32"), True)):
        with way.global_settings(CUDA):
            assert torch.backends.cuda.matmul.allow_tf32 is torch.backends.cudnn.allow_tf32 is expected
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


def test_the_order_of_the_maps_in_memory_changes_no_result(noisy: Task) -> None:
    network, latent = prepare(noisy, fast(noisy), 0)
    network, latent = network.double(), latent.double()
    other = put_channels_last(copy.deepcopy(network))
    weights = [p for p in other.parameters() if p.ndim == 4 and min(p.shape[:2]) > 1 and p.shape[2] > 1]
    assert weights
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)
    assert other(latent).is_contiguous()
    usual, last = (gradients(one, latent, noisy.observation.double()) for one in (network, other))
    assert torch.allclose(usual, last, rtol=1e-6, atol=1e-9)


CUDA = torch.device("cuda")


def test_a_fit_tries_kernels_and_leaves_the_setting_alone() -> None:
    before = torch.backends.cudnn.benchmark
    with PLAIN.global_settings(CUDA):
        assert torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.benchmark is before


def test_biases_are_idle_on_a_gpu_only(noisy: Task) -> None:
    for device, expected in ((CPU, False), (CUDA, True)):
        network = PLAIN.apply(prepare(noisy, fast(noisy), 0)[0], device)
        assert any(getattr(layer, "idle_bias", False) for layer in network.modules()) is expected


def test_a_cuda_graph_is_refused_where_there_can_be_none(noisy: Task) -> None:
    with pytest.raises(SettingsError, match="takes a CUDA device; this fit is on cpu"):
        candidates("float32", "off", "on", CPU)
    with pytest.raises(SettingsError, match="takes a CUDA device; this fit is on cpu"):
        restore(noisy, preset="fast", steps=2, device="cpu", execution=Execution(graphed=True))
    with pytest.raises(SettingsError, match="a regulariser that acts on the network"):
        candidates("float32", "off", "on", CUDA, alone=False)
    decay = hd.Term(hd.regularisers.WeightDecay(), 1.0, "weight-decay")
    with pytest.raises(SettingsError, match="a regulariser that acts on the network"):
        restore(noisy, preset="fast", regularisers=decay, device="cpu", execution=Execution(graphed=True))


@pytest.mark.parametrize(
    ("changes", "term", "expected"),
    [
        ({}, hd.TV(), True),
        ({}, hd.regularisers.WeightDecay(), False),
        ({"optimise": "latent"}, hd.TV(), False),
        ({"solver": ADMM()}, hd.TV(), False),
    ],
)
def test_who_evaluates_the_network(noisy: Task, changes: dict[str, Any], term: Any, expected: bool) -> None:
    recipe = replace(quick(noisy), **changes)
    assert only_the_loop_evaluates(recipe, [hd.Term(term, 1.0, "it")]) is expected


def test_the_command_says_its_precision_and_goes_on_with_it(files: Path, hybrid_dip_command: Command) -> None:
    command = ["restore", files / "noisy.png", "--task", "denoise", "--sigma", 25, *SMALL, "--steps", 6, "-o", files / "out"]
    status, _, err = hybrid_dip_command(*command, "--precision", "auto")
    assert status == 0, err
    assert err.count("<- taken") == 1
    assert "bfloat16: " in err
    settings = json.loads((files / "out" / "run.json").read_text())["settings"]
    taken = Execution(**settings["execution"])
    assert f"{taken}: " in next(line for line in err.splitlines() if "<- taken" in line)
    status, _, err = hybrid_dip_command(*command, "--precision", "auto", "--resume")
    assert status == 0
    assert "finished already" in err
    assert "<- taken" not in err, "a fit goes on as it began, whatever a new trial would say"
    other = "float32" if taken.precision == "bfloat16" else "bfloat16"
    status, _, err = hybrid_dip_command(*command, "--precision", other, "--resume")
    assert (status, "execution" in err) == (2, True), "what is asked for is not passed over"
    for options in (
        ["--precision", "half"],
        ["--compile", "maybe"],
        ["--graph", "on"],
        ["--precision", "auto", "--fuse", "stack", "-R", "tv@1"],
    ):
        status, _, err = hybrid_dip_command(*command[:-1], files / "bad", *options)
        assert status == 2
        assert "Traceback" not in err


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_image(noisy: Task) -> None:
    if shutil.which("g++") is None and shutil.which("c++") is None:
        pytest.skip("torch.compile needs a C++ compiler, and there is none here")
    plain, compiled = (
        restore(noisy, preset="quick", steps=3, device="cpu", execution=way) for way in (PLAIN, Execution(compiled=True))
    )
    assert (plain.image - compiled.image).abs().max() < 0.02
    assert list(compiled.fits[0].state["network"]) == list(plain.fits[0].state["network"])


def test_tf32_says_that_it_does_nothing_on_a_cpu() -> None:
    with pytest.warns(HybridDIPWarning, match="on cpu it does nothing"):
        Execution("tf32").check(torch.device("cpu"))

"""What only a GPU can show: `make test-gpu`. Elsewhere these tests are skipped."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.contracts import Case, Step
from hybrid_dip.execution.precision import Execution
from hybrid_dip.fitting.checkpoint import Checkpoint
from hybrid_dip.images import metrics
from hybrid_dip.problem import degradations
from hybrid_dip.recipes.prepare import prepare
from hybrid_dip.recipes.presets import fast, original, quick
from hybrid_dip.recipes.recipe import Preset
from hybrid_dip.restoring.hooks import FitHooks
from hybrid_dip.restoring.restore import log_interval, restore

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]
CUDA = torch.device("cuda")


@pytest.fixture
def case(photograph: Tensor) -> Case:
    return degradations.noisy(photograph, sigma=0.1)


@pytest.fixture
def larger(photograph: Tensor) -> Case:
    """128x128 pixels: batch norm over the few pixels that the deepest maps of a small image have blows roundings up."""
    return degradations.noisy(torch.nn.functional.interpolate(photograph, scale_factor=4, mode="bicubic"), sigma=0.1)


@pytest.fixture
def sync_is_seen() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("preset", [original, quick, fast])
def test_a_step_s_gradient_is_that_of_the_cpu(preset: Preset, larger: Case) -> None:
    network, latent = prepare(larger.task, preset(larger.task), 0)
    gradients = []
    for device in (torch.device("cpu"), CUDA):
        own, z, y = copy.deepcopy(network).to(device), latent.to(device), larger.task.observation.to(device)
        with Execution().global_settings(CUDA):
            (own(z) - y).square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten().cpu() for p in own.parameters() if p.grad is not None]))
    assert float(torch.cosine_similarity(*gradients, dim=0)) > 0.9999
    assert float(gradients[1].norm() / gradients[0].norm()) == pytest.approx(1, abs=1e-3)


WAYS = [
    Execution(),
    Execution("tf32"),
    Execution("bfloat16"),
    Execution(compiled=True),
    Execution(recomputed=True),
    Execution(graphed=True),
    Execution("tf32", graphed=True),
    Execution("bfloat16", graphed=True),
    Execution("bfloat16", compiled=True, graphed=True),
]


@pytest.mark.parametrize("execution", WAYS, ids=str)
@pytest.mark.parametrize("preset", [original, quick, fast])
def test_the_first_gradient_is_that_of_the_plain_way(preset: Preset, execution: Execution, larger: Case) -> None:
    network, latent = prepare(larger.task, preset(larger.task), 0)
    z, y, gradients = latent.to(CUDA), larger.task.observation.to(CUDA), []
    for way in (Execution(), execution):
        own = way.apply(copy.deepcopy(network).to(CUDA), CUDA)
        with way.global_settings(CUDA):
            for _ in range(3):  # the first one records
                own.zero_grad()
                (own(z) - y).square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in own.parameters() if p.grad is not None]))
    exact = execution.precision == "float32"
    assert float(torch.cosine_similarity(*gradients, dim=0)) > (0.9999 if exact else 0.9)
    assert float(gradients[1].norm() / gradients[0].norm()) == pytest.approx(1, abs=1e-3 if exact else 0.15)


def test_a_graph_has_taken_as_many_steps_as_the_loop(case: Case) -> None:
    """Batch norm's statistics are of the fit, not of the steps that a recording warms up by."""
    counts = []
    for way in (Execution(), Execution(graphed=True)):
        state = restore(case.task, preset="quick", steps=7, runs=1, device="cuda", execution=way).fits[0].state["network"]
        counts.append({name: int(value) for name, value in state.items() if name.endswith("num_batches_tracked")})
    assert counts[0] == counts[1]
    assert set(counts[0].values()) == {7}


def test_a_graphed_fit_is_interrupted_and_resumed(case: Case, tmp_path: Path) -> None:
    def run(steps: int, name: str) -> hd.Fit:
        around = FitHooks(checkpoint=Checkpoint(tmp_path / name, every=10), halt=lambda: steps <= len(seen))
        seen: list[int] = []
        hooks = replace(around, observers=[lambda step: seen.append(step.index)])
        way = Execution(graphed=True)
        return restore(case.task, preset="quick", steps=40, runs=1, device="cuda", execution=way, hooks=lambda _: hooks).fits[0]

    whole = run(100, "whole")
    assert run(20, "parts").reason == "interrupted"
    again = run(100, "parts")
    assert again.steps == whole.steps == 40
    # Gradients of upsampling are summed by whichever thread comes first, so that no two fits on a GPU are the same.
    assert metrics.psnr(again.image.cpu(), whole.image.cpu()) > 20


@pytest.mark.parametrize("execution", WAYS[:4] + WAYS[5:], ids=str)
def test_a_fit_comes_to_what_it_does_on_the_cpu(execution: Execution, case: Case) -> None:
    found = [
        restore(case.task, preset="fast", steps=150, runs=4, device=device, execution=way).image
        for device, way in (("cpu", Execution()), ("cuda", execution))
    ]
    values = [metrics.psnr(image, case.reference) for image in found]
    assert values[1] == pytest.approx(values[0], abs=0.4), "means of four fits, whose steps are chaotic"


@pytest.mark.parametrize("execution", [Execution(), Execution(graphed=True)], ids=str)
def test_nothing_waits_for_the_device_between_logged_steps(execution: Execution, case: Case, sync_is_seen: None) -> None:
    steps = 400
    every = log_interval(steps)
    assert every > 1

    def watch(step: Step) -> None:
        ahead = step.index + 1
        logged = ahead % every == 0 or ahead == steps - 1
        torch.cuda.set_sync_debug_mode("default" if logged else "error")

    terms = [0.01 * hd.TV(), 0.01 * hd.regularisers.NonLocal(every=10_000)]
    found = restore(
        case.task,
        preset="fast",
        regularisers=terms,
        steps=steps,
        runs=1,
        device="cuda",
        execution=execution,
        hooks=lambda _: FitHooks([watch]),
    )
    assert found.fits[0].steps == steps or found.fits[0].reason == "discrepancy"


def test_the_estimate_of_memory_holds_on_the_device() -> None:
    from hybrid_dip.restoring.memory import memory_of_a_step

    task = hd.tasks.denoise(torch.rand(1, 3, 512, 512), sigma=0.1)
    restore(task, preset="quick", steps=2, runs=1, device="cuda")
    torch.cuda.reset_peak_memory_stats()
    restore(task, preset="quick", steps=3, runs=1, device="cuda")
    assert memory_of_a_step(task, quick(task)) / torch.cuda.max_memory_allocated() == pytest.approx(1, abs=0.35)

"""The loop, on tiny real problems."""

import platform
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import hybrid_dip as hd
from hybrid_dip import networks
from hybrid_dip.contracts import Fit, Step, Task, Verdict
from hybrid_dip.errors import FitError, SettingsError
from hybrid_dip.execution.allocator import scarce_memory
from hybrid_dip.fitting import optimizers
from hybrid_dip.fitting.checkpoint import Checkpoint
from hybrid_dip.fitting.fit import fit
from hybrid_dip.networks import latents
from hybrid_dip.problem import tasks
from hybrid_dip.problem.noise_gradient import noise_gradient
from hybrid_dip.regularisers import schedules
from hybrid_dip.regularisers.terms import Term
from hybrid_dip.stopping import Discrepancy, WindowedVariance
from tests.fits import halt_after, lean, run

CAN_KEEP = platform.system() == "Linux" and platform.libc_ver()[0] == "glibc"


def test_denoising_raises_psnr(noisy: Task, photograph: Tensor) -> None:
    before = hd.metrics.psnr(noisy.observation, photograph)
    found = run(noisy, max_steps=150, jitter=1 / 30, average=0.95)
    assert hd.metrics.psnr(found.image, photograph) > before + 3
    assert found.steps == 150
    assert found.reason == "max_steps"
    assert found.kept_at == 149


def test_inpainting_fills_a_hole_from_what_is_around_it(photograph: Tensor) -> None:
    mask = torch.ones(1, 1, 32, 32)
    mask[..., 12:18, 12:18] = 0
    task = tasks.inpaint(photograph, mask)
    found = run(task, max_steps=150)
    hole = (mask == 0).expand_as(photograph)
    guess = photograph[(mask > 0).expand_as(photograph)].mean()
    mean_fill = float((photograph[hole] - guess).square().mean())
    assert float((found.image[hole] - photograph[hole]).square().mean()) < mean_fill


def test_the_pixel_network_reaches_the_closed_form_of_a_quadratic(photograph: Tensor) -> None:
    """min mean (x - y)^2 + lambda mean x^2 has the minimum y / (1 + lambda)."""
    task = tasks.denoise(photograph, sigma=0.1)
    found = fit(
        networks.pixels(1, 3, size=(32, 32)),
        torch.zeros(1, 1, 32, 32),
        task,
        Term(lambda x: x.square().mean(), 0.5),
        max_steps=40,
        optimizer=optimizers.lbfgs(),
    )
    torch.testing.assert_close(found.last, photograph / 1.5, atol=1e-4, rtol=0)


def test_a_terms_gradient_is_that_of_the_weighted_sum(noisy: Task) -> None:
    """One SGD step of the loop against one backward pass over the whole sum."""
    rate = 10.0
    torch.manual_seed(0)
    network, twin = lean(), lean()
    twin.load_state_dict(network.state_dict())
    z = latents.uniform(8, (32, 32))

    def decay(network: nn.Module, latent: Tensor, x: Tensor) -> Tensor:
        return torch.stack([p.square().sum() for p in network.parameters()]).sum() + x.mean()

    terms = 0.3 * hd.TV() + Term(decay, 1e-3)
    fit(network, z, noisy, terms, max_steps=1, optimizer=lambda leaves: torch.optim.SGD(leaves, lr=rate))
    x = twin(z)
    loss = (x - noisy.observation).square().mean() + 0.3 * hd.TV()(x) + 1e-3 * decay(twin, z, x)
    loss.backward()
    for after, before in zip(network.parameters(), twin.parameters(), strict=True):
        assert before.grad is not None
        torch.testing.assert_close(after.data, before.data - rate * before.grad, atol=1e-5, rtol=1e-4)


def test_jitter_follows_the_seed(noisy: Task) -> None:
    first, again = run(noisy, jitter=0.1), run(noisy, jitter=0.1)
    other = run(noisy, jitter=0.2)
    assert torch.equal(first.image, again.image)
    assert not torch.equal(first.image, other.image)


def test_jitter_is_one_normal_draw_for_each_step(noisy: Task) -> None:
    seen: list[Tensor] = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(()))

        def forward(self, z: Tensor) -> Tensor:
            seen.append(z.detach().clone())
            return z[:, :3] * self.gain

    torch.manual_seed(5)
    z = latents.uniform(8, (32, 32))
    fit(Spy(), z, noisy, max_steps=3, jitter=0.25)
    torch.manual_seed(5)
    latents.uniform(8, (32, 32))
    for given in seen:
        torch.testing.assert_close(given, z + 0.25 * torch.zeros_like(z).normal_())
    assert len(seen) == 3


def test_a_generator_leaves_the_global_state_alone(noisy: Task) -> None:
    network, z = lean(), latents.uniform(8, (32, 32))
    before = torch.get_rng_state()
    fit(network, z, noisy, max_steps=3, jitter=0.1, generator=torch.Generator().manual_seed(1))
    assert torch.equal(before, torch.get_rng_state())


def test_the_average_is_the_originals(noisy: Task) -> None:
    outputs: list[Tensor] = []
    found = run(noisy, max_steps=6, average=0.9, observers=[lambda step: outputs.append(step.image)])
    average = outputs[0]
    for output in outputs[1:]:
        average = 0.9 * average + 0.1 * output
    torch.testing.assert_close(found.image, average)


@pytest.mark.parametrize("optimise", ["network", "latent", "both"])
def test_what_is_optimised_changes_and_the_rest_does_not(noisy: Task, optimise: Any) -> None:
    torch.manual_seed(0)
    network, z = lean(), latents.uniform(8, (32, 32))
    weights = [p.detach().clone() for p in network.parameters()]
    found = fit(network, z, noisy, max_steps=5, optimise=optimise)
    network_changed = any(not torch.equal(a, b) for a, b in zip(weights, network.parameters(), strict=True))
    assert network_changed == (optimise != "latent")
    assert torch.equal(found.state["latent"], z) == (optimise == "network")
    assert found.history[-1]["loss"] < found.history[0]["loss"]


def test_frozen_parameters_stay(noisy: Task) -> None:
    network = lean()
    for parameter in network.parameters():
        parameter.requires_grad_(parameter.ndim == 1)
    before = [p.detach().clone() for p in network.parameters()]
    fit(network, latents.uniform(8, (32, 32)), noisy, max_steps=3)
    for old, new in zip(before, network.parameters(), strict=True):
        assert torch.equal(old, new) == (new.ndim > 1)


def test_lbfgs_reduces_the_loss(noisy: Task) -> None:
    found = run(noisy, max_steps=10, optimizer=optimizers.lbfgs(), log_every=1)
    losses = [row["loss"] for row in found.history]
    assert losses[-1] < 0.5 * losses[0]
    assert found.reason == "max_steps"


def test_a_step_is_what_its_line_search_began_with(noisy: Task) -> None:
    """The image of a step is the network's output at the parameters before it, however often the objective was evaluated."""
    evaluated: list[Tensor] = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = lean()

        def forward(self, z: Tensor) -> Tensor:
            evaluated.append(self.network(z))
            return evaluated[-1]

    first_of_each: list[int] = []

    def watch(step: Step) -> None:
        first_of_each.append(next(i for i, image in enumerate(evaluated) if torch.equal(image, step.image)))

    run(noisy, network=Spy(), max_steps=3, optimizer=optimizers.lbfgs(), observers=[watch])
    assert first_of_each[0] == 0
    assert 1 < first_of_each[1] < first_of_each[2] < len(evaluated) - 1


def test_an_optimiser_that_never_evaluates_is_refused(noisy: Task) -> None:
    class Idle(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            return None

    with pytest.raises(FitError, match="did not evaluate the objective at step 0"):
        run(noisy, optimizer=lambda leaves: Idle(leaves, lr=0.1))


def test_the_learning_rate_follows_its_schedule(noisy: Task) -> None:
    found = run(noisy, max_steps=11, log_every=1, lr_schedule=schedules.Linear(1, 0), optimizer=optimizers.adam(0.02))
    assert [row["learning_rate"] for row in found.history] == pytest.approx([0.02 * (1 - i / 10) for i in range(11)])


def test_parameter_noise_moves_the_weights(noisy: Task) -> None:
    assert not torch.equal(run(noisy, parameter_noise=0.02).image, run(noisy).image)


def test_balanced_weights_freeze_after_the_first_steps(noisy: Task) -> None:
    found = run(noisy, Term(hd.TV(), schedules.Balanced(0.5)), max_steps=40, log_every=1)
    weights = [row["weight_tv"] for row in found.history]
    assert len(set(weights[:20])) > 1
    assert len(set(weights[20:])) == 1
    pulls = [row["gradient_tv"] / row["weight_tv"] for row in found.history[:20]]
    assert weights[-1] == pytest.approx(0.5 * noise_gradient(noisy) / (sum(pulls) / 20), rel=1e-3)


def test_the_discrepancy_rule_stops_at_the_noise(photograph: Tensor) -> None:
    sigma = 50 / 255
    task = hd.degradations.noisy(photograph, sigma=sigma).task
    found = run(task, max_steps=400, log_every=5, rule=Discrepancy(), optimizer=optimizers.adam(0.02))
    assert found.reason == "discrepancy"
    assert found.steps < 400
    assert float(task.residual(found.image).square().mean()) <= sigma**2
    # the kept image does not depend on how often the loop looks
    often = run(task, max_steps=400, log_every=1, rule=Discrepancy(), optimizer=optimizers.adam(0.02))
    assert often.kept_at == found.kept_at
    assert torch.equal(often.image, found.image)


def test_a_fit_has_the_kept_image_and_the_last(noisy: Task) -> None:
    images: list[Tensor] = []
    found = run(
        noisy, max_steps=60, rule=WindowedVariance(window=5, patience=10), observers=[lambda step: images.append(step.image)]
    )
    assert torch.equal(found.image, images[found.kept_at])
    assert torch.equal(found.last, images[-1])


@pytest.mark.parametrize(
    ("prior", "words"),
    [
        (lambda x: x.square(), "'mine' must return a scalar"),
        (lambda x: x.mean() * float("nan"), "'mine' is nan at the first step"),
        (lambda x: x.detach().mean(), "'mine' returns a tensor cut off"),
        (lambda x: 3.0, "'mine' must return a scalar tensor"),
        (lambda x: x.nothing, "'mine' failed at step 0: AttributeError"),
        (lambda x, strength: x.mean(), "'mine' failed at step 0: TypeError"),
        (lambda x: torch.zeros((), requires_grad=True), "'mine' returns a tensor cut off from the image"),
        (lambda network, z, x: torch.zeros((), requires_grad=True), "'mine' returns a tensor cut off from the network"),
        (lambda x: (x - x.detach()).square().sum().sqrt(), "'mine' has a gradient that is not finite .* its value is 0;"),
        (lambda network, z, x: (x - x.detach()).square().sum().sqrt(), "'mine' has a gradient that is not finite"),
    ],
)
def test_a_broken_prior_is_named(noisy: Task, prior: Any, words: str) -> None:
    with pytest.raises(FitError, match=words):
        run(noisy, Term(prior, 0.1, "mine"))


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (lambda moment: float("nan"), "'tv' is nan at the first step"),
        (lambda moment: moment.nothing, "'tv' failed at step 0: AttributeError"),
    ],
)
def test_a_broken_schedule_is_named(noisy: Task, schedule: Any, words: str) -> None:
    with pytest.raises(FitError, match=f"The weight of {words}"):
        run(noisy, Term(hd.TV(), schedule))


def test_a_network_of_another_shape_is_refused(noisy: Task) -> None:
    with pytest.raises(FitError, match="the task needs"):
        run(noisy, network=networks.skip(8, 1, down=(8,), skip=(0,)))


def test_a_network_that_fails_is_said_to(noisy: Task) -> None:
    class Failing(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:
            raise KeyError("nothing there")

    with pytest.raises(FitError, match="The network failed at step 0: KeyError: 'nothing there'"):
        run(noisy, network=Failing(8, 3, 1))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ((lambda state, step: None), "two booleans.* at step 0, got NoneType"),
        ((lambda state, step: (None, True)), r"got \(NoneType, bool\)"),
        ((lambda state, step: (state, Verdict(step.image, step.image))), r"got \(dict, Verdict\(torch.float32 of shape"),
        ((lambda state, step: state["nothing"]), "'Own' failed at step 0: KeyError"),
    ],
)
def test_a_stopping_rule_that_says_something_else_is_named(noisy: Task, said: Any, words: str) -> None:
    class Own:
        reason = "own"

        def start(self, task: Task) -> dict[str, Tensor]:
            return {}

        def update(self, state: dict[str, Tensor], step: Step) -> Any:
            return said(state, step)

    with pytest.raises(FitError, match=words):
        run(noisy, rule=Own())


def test_what_is_no_stopping_rule_is_refused(noisy: Task) -> None:
    for rule in (3, WindowedVariance, object()):
        with pytest.raises(SettingsError, match=r"it needs start\(task\), update\(state, step\) and reason"):
            run(noisy, rule=rule)


def test_a_network_that_ignores_what_is_optimised_is_refused(noisy: Task) -> None:
    with pytest.raises(FitError, match="does not depend"):
        run(noisy, network=networks.pixels(8, 3, size=(32, 32)), optimise="latent")


class Waits(TorchDispatchMode):
    """Counts what makes the host wait: a number read off a tensor, a tensor made from a number on the host."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.count += name in ("_local_scalar_dense", "lift_fresh", "is_nonzero")
        return func(*args, **(kwargs or {}))


def test_nothing_waits_for_the_device_between_logged_steps(photograph: Tensor) -> None:
    """Plain SGD, because Adam's step counters are numbers on the host."""
    task = tasks.demosaic(hd.operators.Mosaic()(photograph), sigma=0.1)
    terms = Term(hd.TV(), schedules.Cosine(0.1, 0)) + Term(hd.TV(), schedules.Balanced(0.3), "balanced") + 0.1 * hd.TV()
    counts: dict[int, int] = {}
    with Waits() as waits:

        def watch(step: Step) -> None:
            counts[step.index] = waits.count
            waits.count = 0

        run(
            task, terms, max_steps=25, log_every=10, jitter=0.1, average=0.9, rule=WindowedVariance(window=4),
            observers=[watch], optimizer=lambda leaves: torch.optim.SGD(leaves, lr=0.1),
        )  # fmt: skip
    waiting = [index for index, count in counts.items() if count]
    assert waiting == [0, 10, 20, 24]


def test_the_time_budget_ends_a_fit(noisy: Task) -> None:
    found = run(noisy, max_steps=10**6, time_budget=0.5)
    assert found.reason == "time budget"
    assert found.steps < 10**6


@pytest.mark.skipif(not CAN_KEEP, reason="only glibc is told what to do with freed memory")
@pytest.mark.parametrize("scarce", [False, True])
def test_freed_memory_stays_between_steps_unless_it_is_scarce(noisy: Task, scarce: bool) -> None:
    kept: list[int] = []

    def watch(step: Step) -> None:
        before = psutil.Process().memory_info().rss
        torch.empty(2**26).fill_(1)  # 256 MiB
        kept.append(psutil.Process().memory_info().rss - before)

    with scarce_memory() if scarce else nullcontext():
        run(noisy, max_steps=1, observers=[watch])
    assert (kept[0] > 200 * 2**20) is not scarce


# Held-out data leak nowhere ------------------------------------------------------------------------------------


def test_held_out_pixels_leak_nowhere(photograph: Tensor) -> None:
    """Poison the held-out entries: the fit, the bound terms, the rule and the finished image stay the same."""

    class Bound:
        def bind(self, task: Task) -> Any:
            target = task.observation.clone()
            return lambda x: (x - target).square().mean()

        def __call__(self, x: Tensor) -> Tensor:
            raise AssertionError("bind comes first")

    mask = (torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(1)) < 0.7).float()
    finished = []
    for poison in (None, 1e6, float("nan")):
        task = tasks.inpaint(photograph, mask, sigma=0.0)
        _, validation = task.split(0.2)
        if poison is not None:
            observation = torch.where(validation.held_out > 0, poison, task.observation)
            task = hd.Task(**{**vars(task), "observation": observation})
        fitted, _ = task.split(0.2)
        found = run(fitted, Term(Bound(), 0.1, "bound"), max_steps=20, rule=WindowedVariance(window=4, patience=5), jitter=0.01)
        finished.append((found.image, fitted.finish(found.image)))
    for image, done in finished[1:]:
        assert torch.equal(image, finished[0][0])
        assert torch.equal(done, finished[0][1])


def test_only_logged_steps_are_in_the_history(noisy: Task) -> None:
    steps: list[Step] = []
    found = run(noisy, 0.1 * hd.TV(), max_steps=12, log_every=5, observers=[steps.append])
    assert [step.index for step in steps] == list(range(12))
    assert all(isinstance(value, Tensor) and value.shape == () for step in steps for value in step.losses.values())
    assert [row["step"] for row in found.history] == [0, 5, 10, 11]
    assert set(found.history[0]) == {
        "step", "loss", "fidelity", "gradient_fidelity", "tv", "gradient_tv", "weight_tv", "learning_rate", "seconds"
    }  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {"max_steps": 0},
        {"log_every": 0},
        {"jitter": -0.1},
        {"jitter": float("nan")},
        {"average": 1.0},
        {"parameter_noise": -1},
        {"time_budget": 0},
        {"lr_schedule": schedules.Balanced(0.5)},
    ],
)
def test_options_out_of_range(noisy: Task, options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        run(noisy, **options)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_fit_on_a_gpu_denoises_and_resumes(noisy: Task, photograph: Tensor, tmp_path: Path) -> None:
    def once(**options: Any) -> Fit:
        torch.manual_seed(0)
        z = latents.uniform(8, (32, 32)).cuda()
        rule = WindowedVariance(window=5, patience=1000)
        return fit(
            lean().cuda(), z, noisy.to("cuda"), 0.01 * hd.TV(), rule=rule, max_steps=100, jitter=0.03, log_every=10, **options
        )

    found = once()
    assert found.image.device.type == "cuda"
    assert hd.metrics.psnr(found.last.cpu(), photograph) > hd.metrics.psnr(noisy.observation, photograph) + 2
    checkpoint = Checkpoint(tmp_path / "state.pt", every=20)
    assert once(checkpoint=checkpoint, halt=halt_after(33)).steps == 33
    assert once(checkpoint=checkpoint).steps == 100

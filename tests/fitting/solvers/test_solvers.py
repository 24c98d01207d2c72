"""Every solver on linear-Gaussian toys with a known answer, and interrupted."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import hybrid_dip as hd
from hybrid_dip.contracts import Step, Task
from hybrid_dip.errors import FitError, SettingsError
from hybrid_dip.fitting import optimizers
from hybrid_dip.fitting.checkpoint import Checkpoint
from hybrid_dip.fitting.fit import fit
from hybrid_dip.fitting.solvers import ADMM, HQS, Averaging, Langevin, SelfFed, SelfGuided
from hybrid_dip.fitting.solvers.self_guidance import Feeding, MeanOverNoise
from hybrid_dip.fitting.solvers.splitting import Split
from hybrid_dip.problem import degradations, tasks
from hybrid_dip.recipes.recipe import Solver
from hybrid_dip.regularisers import RED, Tikhonov
from hybrid_dip.regularisers.terms import Term
from tests.fits import halt_after, lean

SIDE, SIGMA = 16, 0.1
SHAPE = (1, 1, SIDE, SIDE)


class Linear(nn.Module):
    """x = B theta with a basis that is no identity."""

    def __init__(self) -> None:
        super().__init__()
        n = SIDE * SIDE
        self.register_buffer("basis", torch.eye(n) + 0.3 * torch.randn(n, n) / math.sqrt(n))
        self.theta = nn.Parameter(torch.zeros(n))

    def forward(self, z: Tensor) -> Tensor:
        found: Tensor = self.basis @ self.theta
        return found.view(SHAPE)


def quadratic(x: Tensor) -> Tensor:
    """Mean squared gradient: an energy without a prox of its own."""
    value: Tensor = Tikhonov()(x)
    return value


class WithProx:
    """The same with its prox, in closed form."""

    def __init__(self) -> None:
        self.values, self.vectors = torch.linalg.eigh(hessian(quadratic))

    def __call__(self, x: Tensor) -> Tensor:
        return quadratic(x)

    def prox(self, v: Tensor, gamma: float) -> Tensor:
        found: Tensor = self.vectors @ ((self.vectors.T @ v.flatten()) / (1 + gamma * self.values))
        return found.view(v.shape)


def hessian(energy: Any) -> Tensor:
    found: Tensor = torch.func.hessian(lambda x: energy(x.view(SHAPE)))(torch.zeros(SIDE * SIDE))
    return found


@pytest.fixture
def noisy() -> Task:
    ramp = torch.linspace(0, 1, SIDE)
    return degradations.noisy((ramp[:, None] * ramp)[None, None], sigma=SIGMA).task


def map_estimate(task: Task, weight: float) -> Tensor:
    """argmin mean (x - y)^2 + weight R(x)."""
    of_fidelity = hessian(lambda x: task.fidelity(x, task.observation, None))
    total = of_fidelity + weight * hessian(quadratic)
    found: Tensor = torch.linalg.solve(total, of_fidelity @ task.observation.flatten())
    return found.view(SHAPE)


def exactly(parameters: Any) -> torch.optim.Optimizer:
    """L-BFGS that does not stop at small changes: each step of a splitting is one."""
    return torch.optim.LBFGS(parameters, max_iter=10, tolerance_grad=0, tolerance_change=0, line_search_fn="strong_wolfe")


WEIGHT = 0.5
TO_THE_MAP: dict[str, tuple[Solver | None, str, float, int]] = {
    "the plain loop": (None, "by gradient", 1e-3, 10),
    "ADMM by prox": (ADMM(mu=0.5, every=1), "by prox", 1e-3, 60),
    "ADMM by descent": (ADMM(mu=0.5, every=1), "by gradient", 1e-3, 60),
    "HQS": (HQS(mu=0.1, last_mu=100, every=1), "by prox", 5e-3, 200),
}


@pytest.mark.parametrize("name", TO_THE_MAP)
def test_the_solver_reaches_the_map_of_a_linear_gaussian_problem(name: str, noisy: Task) -> None:
    solver, way, tolerance, steps = TO_THE_MAP[name]
    prior = WithProx() if way == "by prox" else quadratic
    run = fit if solver is None else solver.run
    network = Linear()
    found = run(network, torch.zeros(1), noisy, Term(prior, WEIGHT), optimizer=exactly, max_steps=steps)
    expected = map_estimate(noisy, WEIGHT)
    assert float((found.image - expected).abs().max()) < tolerance
    assert float((expected - noisy.observation).abs().max()) > 10 * tolerance  # the prior matters


def test_langevin_has_the_covariance_that_theory_says(noisy: Task) -> None:
    """Lambda^-1 (I - h Lambda / 2)^-1, along each eigenvector of Lambda, and the mean of the posterior."""
    scale = noisy.observation.numel() / (2 * SIGMA**2)
    of_fidelity = hessian(lambda x: noisy.fidelity(x, noisy.observation, None))
    precision = scale * (of_fidelity + WEIGHT * hessian(quadratic))
    values, vectors = torch.linalg.eigh(precision)
    h = 1.0 / float(values[-1])  # h Lambda / 2 is 1/2 at most: the fault of the discretisation is seen
    samples: list[Tensor] = []

    def keep(step: Step) -> None:
        if step.index >= 1000:
            samples.append(step.image.flatten())

    solver = Langevin(step=h, burn_in=0.2, every=1)
    network = hd.networks.pixels(1, 1, size=(SIDE, SIDE))
    observers = {"log_every": 1000, "observers": [keep]}
    found = solver.run(network, torch.zeros(1), noisy, Term(quadratic, WEIGHT), max_steps=5000, **observers)
    along = torch.stack(samples) @ vectors
    theory = 1 / (values * (1 - h * values / 2))
    ratio = along.var(0) / theory
    for part in ratio.chunk(8):  # from the smallest precision to the largest
        assert float(part.mean()) == pytest.approx(1.0, abs=0.08)
    exact = 1 / values
    assert float((along.var(0) / exact)[-32:].mean()) > 1.5  # so the test tells one formula from the other
    expected = map_estimate(noisy, WEIGHT)
    assert float((found.image - expected).square().mean().sqrt()) < 0.1 * float(theory.mean().sqrt())
    deviation = (vectors.square() @ theory).sqrt().view(SHAPE)
    assert float((found.extras["deviation"] / deviation).mean()) == pytest.approx(1.0, abs=0.03)
    assert found.extras["samples"] == 4000


def test_langevin_needs_a_noise_level() -> None:
    with pytest.raises(SettingsError, match="level of Gaussian noise"):
        Langevin().run(Linear(), torch.zeros(1), tasks.jpeg(torch.rand(SHAPE)))


class Jittered(torch.nn.Module):
    """x = theta + z."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.theta = torch.nn.Parameter(start.clone())
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, z: Tensor) -> Tensor:
        self.calls += 1  # as the running statistics of batch norm
        return self.theta + z


@pytest.mark.parametrize("solver", [Averaging(burn_in=0.2, every=1), Langevin(step=1e-8, burn_in=0.2)])
def test_the_deviation_is_of_theta_without_the_jitter(noisy: Task, solver: Averaging | Langevin) -> None:
    """z is disturbed by 0.1, theta hardly moves."""
    network, thetas, images = Jittered(noisy.observation), [], []

    def keep(step: Step) -> None:
        thetas.append(network.theta.detach().clone())
        images.append(step.image)

    found = solver.run(network, torch.zeros(SHAPE), noisy, jitter=0.1, max_steps=50, observers=[keep])
    of_theta = torch.stack(thetas[10:]).std(0)
    torch.testing.assert_close(found.extras["deviation"], of_theta)
    torch.testing.assert_close(found.image, torch.stack(images[10:]).mean(0))
    assert float(torch.stack(images[10:]).std(0).mean()) > 5 * float(of_theta.mean()), "so the test could have failed"
    assert int(network.calls) == 50, "running statistics are those of the fit"
    with pytest.raises(SettingsError, match="a latent that stays"):
        solver.run(network, torch.zeros(SHAPE), noisy, jitter=0.1, max_steps=5, optimise="both")


def test_averaging_is_the_mean_of_what_counts(noisy: Task) -> None:
    seen: list[Tensor] = []
    found = Averaging(burn_in=0.5, every=3).run(
        Linear(), torch.zeros(1), noisy, max_steps=20, observers=[lambda step: seen.append(step.image)]
    )
    counted = torch.stack(seen[10::3])
    assert torch.allclose(found.image, counted.mean(0), atol=1e-6)
    assert torch.allclose(found.extras["deviation"], counted.std(0), atol=1e-6)


def test_admm_with_red_is_its_fixed_point(noisy: Task) -> None:
    """x = (lambda / 2 D + mu (f + u)) / (lambda / 2 + mu), u += f - x, loss mu mean |f - (x - u)|^2, D every so many steps."""
    half, mu = 0.5, 0.5
    asked: list[Tensor] = []

    def halving(x: Tensor, sigma: float) -> Tensor:
        asked.append(x)
        return 0.5 * x

    term = Term(RED(halving, sigma=0.1, every=3), 2 * half, "red")
    split = Split(term, mu, mu, steps=10, every=1, dual=True).bind(noisy)
    x = u = denoised = torch.zeros(SHAPE)
    for step in range(7):
        f = torch.rand(SHAPE)
        if step == 0:
            x, u = f, torch.zeros(SHAPE)
        if step % 3 == 0:
            denoised = 0.5 * x
        x = (half * denoised + mu * (f + u)) / (half + mu)
        u = u + f - x
        split.refresh(step, f)
        assert torch.allclose(split.x, x, atol=1e-6)
        assert torch.allclose(split.u, u, atol=1e-6)
        assert float(split(f)) == pytest.approx(float(mu * (f - (x - u)).square().mean()), rel=1e-5)
    assert len(asked) == 3


def test_balanced_weights_and_no_image_term_are_refused(noisy: Task) -> None:
    with pytest.raises(SettingsError, match="not balanced"):
        ADMM().run(Linear(), torch.zeros(1), noisy, Term(quadratic, hd.schedules.Balanced()))
    with pytest.raises(SettingsError, match="at least one regulariser of the image"):
        HQS().run(Linear(), torch.zeros(1), noisy)


def test_a_prior_cut_off_from_the_image_is_named(noisy: Task) -> None:
    for prior in (lambda x: x.detach().mean(), lambda x: torch.ones((), requires_grad=True)):
        with pytest.raises(FitError, match="'mine' returns a tensor cut off from the image"):
            ADMM().run(Linear(), torch.zeros(1), noisy, Term(prior, 1.0, "mine"), max_steps=3)


def test_sgld_adds_noise_of_twice_the_rate_to_filters_only() -> None:
    filters, scales = nn.Parameter(torch.zeros(64, 64, 3, 3)), nn.Parameter(torch.zeros(500))
    stepper = optimizers.sgld(lr=0.01)([filters, scales])

    def closure() -> Tensor:
        filters.grad, scales.grad = torch.zeros_like(filters), torch.zeros_like(scales)
        return torch.zeros(())

    stepper.step(closure)
    assert float(filters.detach().std()) == pytest.approx(0.02, rel=0.02)
    assert bool((scales == 0).all())


def test_a_self_fed_network_takes_its_output_at_intervals() -> None:
    network = Feeding(nn.Conv2d(1, 1, 1, bias=False), torch.ones(SHAPE), every=2)
    with torch.no_grad():
        network.network.weight.fill_(2.0)  # type: ignore[union-attr]
        values = [float(network(torch.zeros(SHAPE)).mean()) for _ in range(6)]
    assert values == [2, 2, 4, 4, 8, 8]


def test_a_mean_over_noise_is_what_its_name_says() -> None:
    torch.manual_seed(1)
    found = MeanOverNoise(nn.Identity(), 0.5, 50)(torch.ones(1, 1, 64, 64))
    assert float(found.mean()) == pytest.approx(1.0, abs=0.01)
    assert float(found.std()) == pytest.approx(0.5 / math.sqrt(50), rel=0.05)


def test_self_guidance_moves_the_input_towards_the_output(photograph: Tensor) -> None:
    task = degradations.noisy(photograph, sigma=0.2).task
    network = hd.networks.skip(3, 3, down=(16, 16), skip=(4, 4), upsample="bilinear")
    found = SelfGuided(weight=1.0).run(network, task.observation, task, max_steps=30, log_every=5)
    assert float((found.state["latent"] - task.observation).abs().max()) > 0.01
    assert found.history[-1]["self-guidance"] < found.history[0]["self-guidance"]


def test_led_solvers_need_a_latent_that_is_an_image(photograph: Tensor) -> None:
    task = degradations.noisy(photograph, sigma=0.2).task
    for solver in (SelfGuided(), SelfFed()):
        with pytest.raises(SettingsError, match="latent must be an image"):
            solver.run(lean(), torch.zeros(1, 8, 32, 32), task)


EVERY: dict[str, Solver] = {
    "admm": ADMM(every=2),
    "hqs": HQS(every=3),
    "langevin": Langevin(step=1e-9, burn_in=0.3),
    "averaging": Averaging(burn_in=0.3, every=2),
    "self-guided": SelfGuided(),
    "self-fed": SelfFed(),
}


@pytest.mark.parametrize("name", EVERY)
def test_an_interrupted_solver_goes_on_to_the_same_floats(name: str, photograph: Tensor, tmp_path: Path) -> None:
    task = degradations.noisy(photograph, sigma=0.2).task

    def run(**options: Any) -> Any:
        torch.manual_seed(0)
        network = hd.networks.skip(3, 3, down=(16, 16), skip=(4, 4), upsample="bilinear")
        terms = [
            Term(RED(lambda x, sigma: x.roll(1, -1), every=3), 0.3, "red"),
            Term(lambda x: x.square().mean(), 0.01, "mine"),
        ]
        return EVERY[name].run(network, task.observation, task, terms, max_steps=20, log_every=4, **options)

    whole = run()
    checkpoint = Checkpoint(tmp_path / "fit.pt", 4)
    part = run(checkpoint=checkpoint, halt=halt_after(10))
    assert part.reason == "interrupted"
    torch.manual_seed(99)
    resumed = run(checkpoint=checkpoint)
    assert torch.equal(resumed.image, whole.image)
    for extra in whole.extras:
        assert torch.equal(torch.as_tensor(resumed.extras[extra]), torch.as_tensor(whole.extras[extra]))


def test_the_deviation_of_samples_is_that_of_the_result(photograph: Tensor) -> None:
    task = degradations.noisy(photograph, sigma=0.2).task
    recipe = replace(hd.presets.quick(task), steps=8, solver=Averaging(burn_in=0.5, every=1))
    found = hd.restore(task, preset=recipe)
    assert found.deviation is not None
    assert torch.equal(found.deviation, found.fits[0].extras["deviation"])
    assert float(found.deviation.max()) > 0
    assert hd.restore(task, preset=replace(recipe, solver=None)).deviation is None


def test_a_recipe_may_bring_a_solver_and_terms(photograph: Tensor) -> None:
    task = degradations.noisy(photograph, sigma=0.2).task
    recipe = replace(
        hd.presets.quick(task), steps=4, solver=ADMM(every=1), terms=(Term(lambda x: x.square().mean(), 0.1, "mine"),)
    )
    found = hd.restore(task, preset=recipe, regularisers=0.05 * hd.TV())
    assert set(found.terms) == {"tv", "mine"}
    assert "ADMM" in recipe.describe()["solver"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: ADMM(mu=0),
        lambda: HQS(every=0),
        lambda: Langevin(step=0),
        lambda: Averaging(burn_in=1.0),
        lambda: SelfGuided(draws=0),
        lambda: SelfFed(every=0),
        lambda: optimizers.sgld(noise=-1),
    ],
)
def test_bad_options(make: Any) -> None:
    with pytest.raises(SettingsError):
        make()

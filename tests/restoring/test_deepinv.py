import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import hybrid_dip as hd
from hybrid_dip.errors import HybridDIPWarning, SettingsError
from hybrid_dip.images import metrics
from hybrid_dip.problem.noise_gradient import noise_gradient
from hybrid_dip.problem.tiles import can_be_tiled
from hybrid_dip.recipes import spec
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.regularisers import TV
from hybrid_dip.stopping import Discrepancy

deepinv = pytest.importorskip("deepinv")

from deepinv import physics as physics_of  # noqa: E402
from deepinv.physics.functional import gaussian_blur  # noqa: E402

from hybrid_dip.restoring.deepinv import HybridDIP, Prior, task  # noqa: E402
from hybrid_dip.restoring.deepinv.measurement import tasks_of  # noqa: E402

SIDE = 24
NOISE = 0.08


def small(steps: int, sigmoid: bool = False) -> hd.Recipe:
    def network(in_channels: int, out_channels: int) -> nn.Module:
        return hd.networks.skip(in_channels, out_channels, down=(8, 8), skip=(2, 2), upsample="bilinear", sigmoid=sigmoid)

    return hd.Recipe(network, lambda size: hd.latents.uniform(8, size), steps=steps, lr=0.02)


def mask(share: float) -> Tensor:
    """1 in some of the columns, those in the middle among them, as MRI samples k-space."""
    columns = torch.rand(SIDE, generator=torch.Generator().manual_seed(1)) < share
    columns[SIDE // 2 - 3 : SIDE // 2 + 3] = True
    return columns.float().expand(SIDE, SIDE)


def draw() -> torch.Generator:
    return torch.Generator().manual_seed(0)


RGB, GREY, PAIR = (3, SIDE, SIDE), (1, SIDE, SIDE), (2, SIDE, SIDE)


class Case(NamedTuple):
    """A physics, and what it measures images of."""

    make: Callable[[], Any]
    shape: tuple[int, ...] = RGB
    dtype: torch.dtype = torch.float32
    sigma: float = NOISE
    options: dict[str, Any] = {}  # noqa: RUF012
    count: int = 2

    def physics(self) -> Any:
        physics = self.make()
        if isinstance(physics.noise_model, physics_of.ZeroNoise):
            physics.noise_model = physics_of.GaussianNoise(self.sigma)
        return physics

    def images(self, photograph: Tensor) -> Tensor:
        """Two images: parts of a photograph in as many channels as needed, depth included."""
        planes = F.interpolate(photograph, self.shape[-2:], mode="area")[0].repeat(4, 1, 1)
        first = planes[: math.prod(self.shape[:-2])].reshape(1, *self.shape)
        both = torch.cat([first, 0.8 * first.flip(-1)])
        return (both * torch.exp(1j * both) if self.dtype.is_complex else both).to(self.dtype)[: self.count]


def ct(*, photons: float = 0.0, **options: Any) -> Any:
    found = physics_of.Tomography(16, SIDE, **options)
    if photons:
        found.noise_model = physics_of.LogPoissonNoise(N0=photons, mu=1 / SIDE)
    return found


BLUR = gaussian_blur(sigma=(1.0, 1.0))
COILS = torch.exp(1j * torch.rand(1, 3, SIDE, SIDE, generator=draw()))

LINEAR = {
    "denoising": Case(lambda: physics_of.Denoising(physics_of.GaussianNoise(0.15))),
    "inpainting": Case(lambda: physics_of.Inpainting(RGB, mask=0.5, rng=draw())),
    "demosaicing": Case(lambda: physics_of.Demosaicing(RGB)),
    "blur": Case(lambda: physics_of.Blur(filter=BLUR, padding="valid")),
    "blur by FFT": Case(lambda: physics_of.BlurFFT(RGB, filter=BLUR)),
    "blur that varies": Case(
        lambda: physics_of.SpaceVaryingBlur(
            filters=BLUR[None].repeat(1, 1, 2, 1, 1), multipliers=torch.full((1, 3, 2, SIDE, SIDE), 0.5), padding="circular"
        )
    ),
    "downsampling": Case(lambda: physics_of.Downsampling(RGB, filter="bicubic", factor=2)),
    "decolorize": Case(lambda: physics_of.Decolorize()),
    "pansharpening": Case(
        lambda: physics_of.Pansharpen(
            RGB, noise_color=physics_of.GaussianNoise(NOISE), noise_gray=physics_of.GaussianNoise(2 * NOISE), use_brovey=False
        )
    ),
    "unmixing": Case(lambda: physics_of.HyperSpectralUnmixing(E=3, C=8), sigma=0.1),
    "spectral camera": Case(lambda: physics_of.CompressiveSpectralImaging(RGB, rng=draw())),
    "compressed sensing": Case(lambda: physics_of.CompressedSensing(m=200, img_size=GREY, rng=draw()), GREY),
    "compressed sensing, complex": Case(
        lambda: physics_of.CompressedSensing(m=200, img_size=GREY, dtype=torch.cdouble, rng=draw()), GREY, torch.cdouble
    ),
    "single-pixel camera": Case(lambda: physics_of.SinglePixelCamera(m=200, img_size=(1, 32, 32), rng=draw()), (1, 32, 32)),
    "structured random": Case(lambda: physics_of.StructuredRandom(img_size=GREY, output_size=(1, 12, SIDE)), GREY),
    "CT": Case(lambda: ct(normalize=False), GREY, sigma=1.0),
    "CT in a circle": Case(lambda: ct(circle=True, normalize=True), GREY),
    "CT with a fan": Case(
        lambda: ct(fan_beam=True, normalize=True, fan_parameters={"n_detector_pixels": 40, "detector_spacing": 0.03}), GREY
    ),
    "CT of few photons": Case(lambda: ct(normalize=False, photons=400.0), GREY),
    "MRI": Case(lambda: physics_of.MRI(mask=mask(0.3)), PAIR),
    "MRI of many coils": Case(lambda: physics_of.MultiCoilMRI(mask=mask(0.2), coil_maps=COILS), PAIR),
    "MRI in time": Case(lambda: physics_of.DynamicMRI(mask=mask(0.3).expand(1, 2, 4, SIDE, SIDE)), (2, 4, SIDE, SIDE)),
    "blur of a volume": Case(
        lambda: physics_of.Blur(filter=torch.ones(1, 1, 3, 3, 3) / 27, padding="circular"), (1, 4, SIDE, SIDE), sigma=0.1
    ),
    "two in a row": Case(
        lambda: physics_of.compose(physics_of.Inpainting(RGB, mask=0.7, rng=draw()), physics_of.Downsampling(RGB, filter=None))
    ),
}
OTHERS = {
    "ptychography": Case(lambda: physics_of.Ptychography(img_size=GREY), GREY, torch.cfloat),
    "phase retrieval": Case(lambda: physics_of.RandomPhaseRetrieval(1500, GREY, rng=draw()), GREY, torch.cfloat),
    "lidar": Case(lambda: physics_of.SinglePhotonLidar(bins=9), options={"img_size": RGB, "value_range": (0, 1)}, count=1),
}
PHYSICS = LINEAR | OTHERS


def misfit(x: Tensor, y: Any, physics: Any) -> float:
    return sum(float((own - one).abs().square().sum()) for own, one in zip(parts(physics.A(x)), parts(y), strict=True))


def parts(y: Any) -> list[Tensor]:
    return [y] if isinstance(y, Tensor) else list(y)


def measure(case: Case, photograph: Tensor) -> tuple[Tensor, Any, Any]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x, physics = case.images(photograph), case.physics()
        return x, physics(x), physics


def last_of(y: Any) -> Any:
    """The measurement of the last image of a batch."""
    return y[-1:] if isinstance(y, Tensor) else [part[-1:] for part in y]


def model_of(case: Case, steps: int, *terms: Any) -> HybridDIP:
    return HybridDIP(small(steps, sigmoid="value_range" in case.options), terms, **case.options)


def gives_images(case: Case, photograph: Tensor) -> None:
    x, y, physics = measure(case, photograph)
    with torch.no_grad():
        found = model_of(case, 2)(last_of(y), physics)
    assert found.shape == x[-1:].shape
    assert found.dtype == x.dtype
    assert found.device == x.device
    assert not found.requires_grad
    assert bool(torch.isfinite(found.abs()).all())


def restores_each_of_a_batch_alone_and_again(case: Case, photograph: Tensor) -> None:
    _, y, physics = measure(case, photograph)
    model = model_of(case, 2).train()
    with torch.inference_mode():
        together = model(y, physics)
    assert len(together) == case.count
    alone = copy.deepcopy(model).eval()(last_of(y), physics)
    torch.testing.assert_close(together[-1:], alone, rtol=1e-3, atol=1e-4)


def changes_nothing(case: Case, photograph: Tensor) -> None:
    _, y, physics = measure(case, photograph)
    before = copy.deepcopy((parts(y), physics.state_dict(), torch.get_rng_state()))
    model_of(case, 2)(last_of(y), physics)
    torch.testing.assert_close((parts(y), physics.state_dict(), torch.get_rng_state()), before, rtol=0, atol=0)


def explains_what_was_measured(case: Case, photograph: Tensor) -> None:
    x, y, physics = measure(case, photograph)
    found = model_of(case, 200, hd.Term(TV(), hd.schedules.Balanced(0.3)))(y, physics)
    assert misfit(found, y, physics) < 1.5 * misfit(x, y, physics)
    if case in LINEAR.values():
        near = torch.nan_to_num(physics.A_dagger(y))
        assert float((found - x).abs().square().mean()) < float((near - x).abs().square().mean())


LAWS = [
    gives_images,
    restores_each_of_a_batch_alone_and_again,
    changes_nothing,
    pytest.param(explains_what_was_measured, marks=pytest.mark.slow),
]
QUICK = [
    *("denoising", "inpainting", "demosaicing", "blur", "downsampling", "pansharpening", "compressed sensing, complex"),
    *("single-pixel camera", "CT", "CT of few photons", "MRI", "ptychography"),
]
"""Physics that the default suite tries, by all laws but the last. The slow tests try all by all."""


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in PHYSICS])
@pytest.mark.filterwarnings("ignore:Complex modules", "ignore:At least one input physics", "ignore::DeprecationWarning")
def test_laws_of_a_reconstructor(name: str, law: Callable[[Case, Tensor], None], photograph: Tensor) -> None:
    law(PHYSICS[name], photograph)


class Energy(nn.Module):
    """A regulariser that is a module, with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.centre).square().mean()


def test_it_is_a_module_without_parameters(photograph: Tensor) -> None:
    model = HybridDIP(small(2), Energy())
    assert isinstance(model, deepinv.models.Reconstructor)
    assert (list(model.parameters()), dict(model.state_dict()), list(model.children())) == ([], {}, [])
    learnt = physics_of.Inpainting(RGB, mask=torch.ones(RGB))
    learnt.mask = nn.Parameter(torch.ones(1, *RGB))
    model(photograph[..., :SIDE, :SIDE], learnt)
    assert learnt.mask.requires_grad
    assert learnt.mask.grad is None


def test_regularisers_given_one_by_one_serve_each_image() -> None:
    physics, y = physics_of.Denoising(), torch.rand(2, 1, 16, 16)
    found = HybridDIP(small(3), (one for one in [10 * TV()]))(y, physics)
    torch.testing.assert_close(found[1:], HybridDIP(small(3), 10 * TV())(y[1:], physics))


def test_noise_is_removed_as_deepinv_asks_of_its_own_prior() -> None:
    x = torch.ones(1, 3, 37, 31)
    physics = physics_of.Denoising(physics_of.GaussianNoise(0.2, rng=draw()))
    y = physics(x)
    found = HybridDIP(small(30))(y, physics)
    assert float((found - x).square().mean()) < float((y - x).square().mean())


class Pairs(Dataset[Any]):
    def __init__(self, x: Tensor, y: Tensor):
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]


def test_deepinv_measures_it_on_a_data_set(photograph: Tensor) -> None:
    x, y, physics = measure(PHYSICS["inpainting"], photograph)
    scores = deepinv.test(
        HybridDIP(small(3)), DataLoader(Pairs(x, y), batch_size=2), physics, verbose=False, show_progress_bar=False
    )
    assert math.isfinite(scores["PSNR"])


def test_each_image_of_a_batch_has_its_own_mask_and_level(photograph: Tensor) -> None:
    x = torch.cat([photograph, photograph])
    masks = torch.stack([torch.ones(3, 32, 32), (torch.rand(3, 32, 32, generator=draw()) > 0.5).float()])
    physics = physics_of.Inpainting((3, 32, 32), mask=masks, noise_model=physics_of.GaussianNoise(torch.tensor([0.0, 0.1])))
    first, second = tasks_of(physics(x), physics)
    assert (first.noise_sigma, first.weight) == (0, None)
    assert second.noise_sigma == pytest.approx(0.1)
    assert second.weight is not None
    assert torch.equal(second.weight, masks[1:])
    assert torch.equal(second.forward(photograph), masks[1:] * photograph)


def test_data_may_be_of_any_scale(photograph: Tensor) -> None:
    _, y, physics = measure(PHYSICS["MRI"], photograph)
    plain = HybridDIP(small(8))(y[:1], physics)
    for scale in (1e-5, 1e5):
        physics.noise_model = physics_of.GaussianNoise(NOISE * scale)
        scaled = HybridDIP(small(8))(scale * y[:1], physics)
        assert float((scaled / scale - plain).abs().max()) < 0.1 * float(plain.abs().max())
        assert task(scale * y[:1], physics).noise_sigma == pytest.approx(NOISE)


def test_values_have_a_range_of_their_own(photograph: Tensor) -> None:
    physics = physics_of.Denoising(physics_of.GaussianNoise(5.0))
    found = task(photograph * 100 - 20, physics, value_range=(-20, 80))
    assert found.noise_sigma == pytest.approx(0.05)
    assert found.value_range == (0, 1)
    torch.testing.assert_close(found.forward.image(found.observation), found.observation * 100 - 20)  # type: ignore[attr-defined]
    torch.testing.assert_close(found.residual(photograph + 0.2 - 0.2), torch.zeros_like(photograph), atol=1e-5, rtol=0)


def test_entries_that_a_mask_leaves_are_not_counted(photograph: Tensor) -> None:
    x, y, physics = measure(PHYSICS["MRI"], photograph)
    found = task(y[:1], physics)
    assert float(found.measured) == float(2 * mask(0.3).sum())
    # At the truth the misfit is the noise of the measured entries. With all of them the threshold would be 2.4 times as high.
    threshold = float(Discrepancy().start(found)["threshold"])
    assert float(found.residual(x[:1]).square().sum()) == pytest.approx(threshold, rel=0.3)
    # Entries that say nothing have no gradient: balanced weights are the same.
    assert noise_gradient(found) == pytest.approx(noise_gradient(replace(found, weight=None)), rel=0.05)
    validation = found.split(0.2)[1]
    assert float(validation.held_out.sum()) == pytest.approx(0.2 * float(found.measured), rel=0.02)


NOISES = {
    "gaussian": (physics_of.GaussianNoise(0.1), hd.fidelity.gaussian),
    "of an unknown level": (physics_of.UniformGaussianNoise(), hd.fidelity.gaussian),
    "photons": (physics_of.PoissonNoise(0.05), hd.fidelity.poisson),
    "counts": (physics_of.PoissonNoise(0.05, normalize=False), hd.fidelity.poisson),
    "photons and gaussian": (physics_of.PoissonGaussianNoise(0.05, 0.1), hd.fidelity.poisson),
    "photons behind a body": (physics_of.LogPoissonNoise(100.0, 1.0), hd.fidelity.poisson),
    "speckle": (physics_of.GammaNoise(4.0), hd.fidelity.speckle),
    "log of speckle": (physics_of.FisherTippettNoise(4.0), hd.fidelity.speckle),
    "laplace": (physics_of.LaplaceNoise(0.1), hd.fidelity.l1),
    "salt and pepper": (physics_of.SaltPepperNoise(0.1, 0.1), hd.fidelity.l1),
}


@pytest.mark.parametrize("name", NOISES)
def test_a_noise_model_has_its_likelihood(name: str) -> None:
    noise, fidelity = NOISES[name]
    x = torch.full((1, 1, 128, 128), 0.5)
    physics = physics_of.Denoising(noise)
    found = task(physics(x), physics, value_range=(0, 1))
    assert found.fidelity is fidelity
    assert (found.noise_sigma is not None) == (name == "gaussian")
    # On the scale of its likelihood noise has the mean 0. Salt and pepper have at a half.
    assert float(found.residual(x).mean()) == pytest.approx(0, abs=0.02)


def test_levels_of_stacked_and_of_complex_noise_are_those_of_the_residual(photograph: Tensor) -> None:
    for name in ("pansharpening", "compressed sensing, complex"):
        x, y, physics = measure(PHYSICS[name], photograph)
        found = task([part[:1] for part in y] if name == "pansharpening" else y[:1], physics)
        truth = x[:1] if name == "pansharpening" else torch.cat([x[:1].real, x[:1].imag], 1)
        residual = found.residual(truth.float()).flatten()
        for part in residual.split(len(residual) // 5 + 1):
            assert float(part.std()) == pytest.approx(found.noise_sigma, rel=0.25)


def test_what_is_assumed_is_said() -> None:
    y = torch.rand(1, 1, 16, 16)
    with pytest.warns(HybridDIPWarning, match="UniformNoise has no likelihood here: least squares"):
        task(y, physics_of.Denoising(physics_of.UniformNoise()))
    with pytest.warns(HybridDIPWarning, match="PoissonNoise needs A x above 0: give a value_range"):
        found = task(y, physics_of.Denoising(physics_of.PoissonNoise()))
    assert found.fidelity is hd.fidelity.gaussian
    with pytest.warns(HybridDIPWarning, match="sensor of Denoising is left out"):
        task(y, physics_of.Denoising(sensor_model=torch.sqrt))
    both = physics_of.stack(
        physics_of.Denoising(physics_of.GaussianNoise(0.1)), physics_of.Denoising(physics_of.LaplaceNoise())
    )
    with pytest.warns(HybridDIPWarning, match="stacked measurements differ in their kind of noise"):
        assert task([y, y], both).noise_sigma is None


def test_a_prior_is_its_cost_per_entry(photograph: Tensor) -> None:
    # deepinv's total variation has no epsilon, and the same differences.
    found = Prior(deepinv.optim.TVPrior())(photograph)
    assert float(found) == pytest.approx(float(TV(1e-9)(photograph)), rel=1e-4)
    term = spec.term("hybrid_dip.deepinv:Prior:of=deepinv.optim:Tikhonov@0.1", catalogue())
    assert float(term.regulariser(photograph)) == pytest.approx(float(photograph.square().sum() / 2 / photograph.numel()))  # type: ignore[call-arg, arg-type]


def test_a_prior_without_a_cost_is_refused() -> None:
    with pytest.raises(SettingsError, match="PnP of deepinv has no cost"):
        Prior(deepinv.optim.PnP(deepinv.models.MedianFilter()))


def test_a_denoiser_serves_as_it_is(photograph: Tensor) -> None:
    denoiser = deepinv.models.MedianFilter(kernel_size=3)
    x = photograph.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(hd.regularisers.RED(denoiser)(x), x)
    torch.testing.assert_close(gradient, (photograph - denoiser(photograph, 0.1)) / photograph.numel())
    found = spec.term("red:denoiser=deepinv.models:MedianFilter@0.1", catalogue()).regulariser
    assert torch.isfinite(found(photograph))  # type: ignore[call-arg, arg-type]


def test_a_physics_makes_a_task(photograph: Tensor) -> None:
    noise = deepinv.physics.GaussianNoise(0.03)
    physics = deepinv.physics.Downsampling(img_size=(3, 32, 32), filter="bicubic", factor=2, noise_model=noise)
    found = task(physics(photograph), physics)
    assert found.shape == (1, 3, 32, 32)
    assert found.noise_sigma == pytest.approx(0.03)
    torch.testing.assert_close(found.forward(photograph), physics.A(photograph))
    assert torch.equal(found.forward(photograph), found.forward(photograph))  # no noise in A


def test_a_physics_that_says_how_local_it_is_is_tiled(photograph: Tensor) -> None:
    physics = deepinv.physics.Denoising()
    assert not can_be_tiled(task(photograph, physics))
    physics.locality = hd.operators.Locality(identity=True)
    assert can_be_tiled(task(photograph, physics))


def test_hybrid_dip_is_restore_of_the_task(photograph: Tensor) -> None:
    physics = physics_of.Inpainting((3, 32, 32), mask=0.5, rng=draw())
    y = physics(photograph)
    found = hd.restore(task(y, physics), preset=small(60), regularisers=0.01 * TV(), device="cpu").image
    assert metrics.psnr(found, photograph) > metrics.psnr(y, photograph) + 6
    short = hd.restore(task(y, physics), preset=small(3), regularisers=TV(), device="cpu").image
    assert torch.equal(HybridDIP(small(3), TV())(y, physics), short)


def test_what_is_wrong_is_said(photograph: Tensor) -> None:
    physics = physics_of.Denoising()
    stacked = physics_of.stack(physics, physics)
    with pytest.raises(SettingsError, match=r"takes \(y, physics\) only, got x_net"):
        HybridDIP()(photograph, physics, x_net=photograph)
    for y, given, sentence in [
        ([photograph], physics, "One tensor of measurements is needed, got a list"),
        (photograph, stacked, "A list of 2 tensors, one for each of the stacked physics, of measurements"),
        ([photograph], stacked, "A list of 2 tensors"),
        (photograph, None, "The physics must be a deepinv.physics.Physics, got None"),
        (torch.cat([photograph, photograph]), physics, "A task is of one image, y is of 2"),
        (photograph, physics_of.Haze(), r"Haze has no adjoint to tell the image's shape by; give shape=\(1, C, H, W\)"),
        (photograph, physics_of.Inpainting((3, 32, 32), mask=torch.zeros(3, 32, 32)), "The physics measures nothing"),
        (torch.rand(1, 1, 20), physics_of.Denoising(), r"must have the shape \(C, ..., H, W\), got \(1, 20\)"),
    ]:
        with pytest.raises(SettingsError, match=sentence):
            task(y, given)  # type: ignore[arg-type]
    levels = physics_of.Denoising(physics_of.GaussianNoise(torch.rand(3)))
    with pytest.raises(SettingsError, match="one number, or one for each of 2 images, got 3"):
        HybridDIP()(torch.cat([photograph, photograph]), levels)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_waves_that_are_scattered_are_explained(photograph: Tensor) -> None:
    transmitters, receivers = physics_of.scattering.circular_sensors(8, radius=1.0)
    physics = physics_of.Scattering(SIDE, receivers, transmitters, background_wavenumber=6.0)
    y = physics(photograph[:, :1, :SIDE, :SIDE].double())
    found = HybridDIP(small(60), img_size=GREY)(y, physics)
    assert found.dtype == torch.double
    assert misfit(found, y, physics) < 0.1 * misfit(0 * found, y, physics)


def test_one_line_takes_what_deepinv_measures(photograph: Tensor) -> None:
    y = deepinv.physics.Denoising(deepinv.physics.GaussianNoise(0.1))(photograph)
    back = hd.denoise(y, 0.1, preset="quick", steps=3, device="cpu")
    assert isinstance(back, Tensor)
    assert back.shape == photograph.shape
    assert torch.equal(back, hd.restore(hd.tasks.denoise(y, sigma=0.1), preset="quick", steps=3, device="cpu").image)

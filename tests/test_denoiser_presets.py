from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip import degradations, fidelity, metrics, tasks
from hybrid_dip.contracts import Task
from hybrid_dip.denoiser_presets import guided, one_shot, plug_and_play, refined
from hybrid_dip.denoisers import wavelet
from hybrid_dip.errors import SettingsError
from hybrid_dip.plug_and_play import PlugAndPlay
from hybrid_dip.presets import fast, quick
from hybrid_dip.restore import RunHooks, prepare, resolve, restore

SMALL: dict[str, Any] = {"steps": 6, "device": "cpu"}


def test_one_shot_is_the_denoiser_alone() -> None:
    y = torch.rand(1, 3, 20, 24)
    asked = []

    def half(x: Tensor, sigma: float) -> Tensor:
        asked.append(sigma)
        return x / 2

    recipe = one_shot(tasks.denoise(y, sigma=0.1), half)
    found = restore(tasks.denoise(y, sigma=0.1), preset=recipe, device="cpu")
    assert torch.equal(found.image, y / 2)
    assert set(asked) == {0.1}
    assert recipe.describe()["network"] == {"name": "pixels", "start": {"name": "half"}}
    with pytest.raises(SettingsError, match="for others: plug-and-play"):
        one_shot(tasks.super_resolve(y, factor=4))
    with pytest.raises(SettingsError, match="Gaussian noise"):
        one_shot(tasks.denoise(y, fidelity=fidelity.poisson))


def test_plug_and_play_alone_fills_in_what_is_missing(photograph: Tensor) -> None:
    case = degradations.scattered(photograph, seed=0)
    recipe = resolve("plug-and-play:denoiser=wavelet", case.task)
    found = restore(case.task, preset=recipe, device="cpu")
    grey = torch.full_like(photograph, 0.5)
    assert metrics.psnr(found.image, photograph) > metrics.psnr(case.task.finish(grey), photograph) + 3
    assert found.fits[0].steps == 1
    assert recipe.describe()["network"]["start"]["denoiser"] == "wavelet"


def test_a_refined_fit_is_the_fits_average_gone_on_from(photograph: Tensor) -> None:
    task = degradations.downsampled(photograph, factor=2, kernel="lanczos2").task
    plain = restore(task, preset=quick, runs=2, **SMALL)
    asked = restore(task, preset=lambda task: refined(task, quick, wavelet, first=0.05, last=0.02, rounds=3), runs=2, **SMALL)
    wanted = PlugAndPlay(wavelet, 0.05, 0.02, 3)(plain.raw, task)
    torch.testing.assert_close(asked.raw, wanted)
    torch.testing.assert_close(asked.image, wanted.clamp(0, 1))
    assert torch.equal(asked.last, plain.last)


def test_a_refined_preset_is_described_and_written_as_a_spec(photograph: Tensor) -> None:
    task = tasks.super_resolve(photograph, factor=2)
    recipe = resolve("refined:preset=fast,denoiser=median,first=0.1", task)
    assert isinstance(recipe, hd.Recipe)
    assert {**recipe.describe(), "refine": 0} == {**fast(task).describe(), "refine": 0}
    assert recipe.describe()["refine"] == {
        "name": "plug-and-play", "denoiser": "median", "first": 0.1, "last": 3 / 255, "rounds": 5
    }  # fmt: skip


@pytest.mark.parametrize("preset", [plug_and_play, refined])
def test_presets_of_a_denoiser_are_for_gaussian_noise(preset: Any) -> None:
    with pytest.raises(SettingsError, match="Gaussian noise or none"):
        preset(tasks.denoise(torch.rand(1, 3, 16, 16), fidelity=fidelity.l1))
    with pytest.raises(SettingsError, match="last <= first"):
        preset(tasks.super_resolve(torch.rand(1, 3, 16, 16), factor=2), first=0.01, last=0.1)


def test_the_latent_of_a_guided_fit_is_the_denoised_image(photograph: Tensor) -> None:
    task = tasks.denoise(photograph + 0.1 * torch.randn_like(photograph), sigma=0.1)
    recipe = resolve("guided:preset=quick,denoiser=wavelet", task)
    network, z = prepare(task, recipe, seed=0)
    assert torch.equal(z, wavelet(task.observation, 0.1))
    assert network(z).shape == task.shape
    assert recipe.describe()["latent"] == {"name": "denoised observation", "denoiser": {"name": "wavelet"}}
    assert restore(task, preset=recipe, **SMALL).fits[0].steps == 6
    with pytest.raises(SettingsError, match="'guided' is for the task 'denoise'"):
        guided(tasks.super_resolve(photograph, factor=2))


def test_an_interrupted_fit_is_not_refined(photograph: Tensor) -> None:
    asked: list[Tensor] = []

    def refine(x: Tensor, task: Task) -> Tensor:
        asked.append(x)
        return x

    recipe = replace(quick(tasks.denoise(photograph, sigma=0.1)), steps=4, refine=refine)
    task = tasks.denoise(photograph, sigma=0.1)
    restore(task, preset=recipe, device="cpu", hooks=lambda seed: RunHooks(halt=lambda: True))
    assert not asked
    restore(task, preset=recipe, device="cpu")
    assert len(asked) == 1

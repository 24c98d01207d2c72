from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting.solvers.plug_and_play import PlugAndPlay
from hybrid_dip.images import metrics
from hybrid_dip.problem import degradations, fidelity, tasks
from hybrid_dip.problem.quantisation import box_of
from hybrid_dip.recipes.prepare import prepare
from hybrid_dip.recipes.presets import fast, quick
from hybrid_dip.recipes.without_fit import guided, one_shot, plug_and_play, refined
from hybrid_dip.regularisers.denoisers import wavelet
from hybrid_dip.restoring.hooks import FitHooks
from hybrid_dip.restoring.plan import resolve
from hybrid_dip.restoring.restore import restore
from tests.command import Command

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
    with pytest.raises(SettingsError, match="Gaussian or photon noise"):
        one_shot(tasks.denoise(y, fidelity=fidelity.l1))


def test_a_preset_without_a_fit_takes_no_steps(files: Path, hybrid_dip_command: Command) -> None:
    given = ["restore", files / "noisy.png", "--task", "denoise", "--sigma", 25, "-o", files / "out"]
    for preset in ("one-shot", "plug-and-play:rounds=2"):
        code, _, err = hybrid_dip_command(*given, "--preset", preset, "--steps", 20)
        assert (code, err.count("\n")) == (2, 1)
        assert "a denoiser without a fit, for which steps cannot be set" in err
    assert not (files / "out").exists()
    with pytest.raises(SettingsError, match="without a fit"):
        restore(tasks.denoise(torch.rand(1, 3, 16, 16), sigma=0.1), preset="one-shot", steps=20)


def test_an_unknown_noise_level_is_estimated_where_it_matters(photograph: Tensor) -> None:
    psf = torch.ones(3, 3)
    known = degradations.blurred(photograph, psf, sigma=15 / 255, seed=0).task
    unknown = tasks.deblur(known.observation, psf)
    assert known.noise_sigma == 15 / 255
    assert unknown.noise_sigma is None
    recipe = resolve("plug-and-play:denoiser=wavelet", unknown)
    level = recipe.describe()["network"]["start"]["noise"]
    assert level == pytest.approx(15 / 255, rel=0.15)
    assert f"takes the noise level to be {255 * level:.1f} (of 255), an estimate" in recipe.note
    told, guessed = (
        metrics.psnr(restore(task, preset="plug-and-play:denoiser=wavelet", device="cpu").image, photograph)
        for task in (known, unknown)
    )
    assert guessed > told - 0.5
    without = tasks.deblur(known.observation, psf, sigma=0)
    assert metrics.psnr(restore(without, preset="plug-and-play:denoiser=wavelet", device="cpu").image, photograph) < told - 3
    assert resolve("plug-and-play", without).note == resolve("plug-and-play", known).note == ""
    refined_one = resolve("refined:preset=quick", unknown)
    assert refined_one.describe()["refine"]["noise"] == level
    assert refined_one.note.startswith(quick(unknown).note)
    assert "an estimate" in refined_one.note


def test_where_noise_cannot_be_estimated_its_level_is_asked_for(photograph: Tensor) -> None:
    recipe = resolve("plug-and-play", tasks.super_resolve(photograph, factor=2))
    assert "takes the observation of 'super-resolve' to be without noise" in recipe.note
    assert resolve("plug-and-play", degradations.scattered(photograph, seed=0).task).note == ""
    with pytest.raises(SettingsError, match=r"needs the noise level of the task 'linear': give sigma \(--sigma\)"):
        plug_and_play(tasks.linear(photograph, lambda x: 2 * x))
    assert plug_and_play(tasks.linear(photograph, lambda x: 2 * x, sigma=0.0)).note == ""


def test_plug_and_play_points_noisy_images_to_one_shot(photograph: Tensor) -> None:
    assert "one-shot is better" in plug_and_play(tasks.denoise(photograph, sigma=0.1)).note


@pytest.mark.parametrize("preset", [plug_and_play, refined])
def test_the_steps_of_a_jpeg_file_have_to_be_known(preset: Any, photograph: Tensor) -> None:
    with pytest.raises(SettingsError, match=r"give the file itself or its quality \(--quality\), or take another preset"):
        preset(tasks.jpeg(photograph))
    task = tasks.jpeg(photograph, quality=10)
    with pytest.raises(SettingsError, match="all of its pixels"):
        preset(task.split(0.1)[0])


def test_plug_and_play_keeps_to_what_a_jpeg_file_says(photograph: Tensor) -> None:
    """By hand: twice the denoiser, at twice the error of quantisation and at once, between the narrow box and the box."""
    task = degradations.jpeg_compressed(photograph, quality=30).task
    box = box_of(task)
    assert box is not None
    recipe = resolve("plug-and-play:denoiser=wavelet", task)
    assert recipe.note == ""
    found = restore(task, preset=recipe, device="cpu")
    once = wavelet(box.project(task.observation, 0.3), 2 * box.error)
    wanted = box.project(wavelet(box.project(once, 0.3), box.error))
    torch.testing.assert_close(found.image, wanted.clamp(0, 1))
    black = restore(task, preset=lambda task: plug_and_play(task, lambda x, sigma: 0 * x, rounds=1), device="cpu").raw
    assert float(box.distance(black)) < 1e-12, "whatever the denoiser does"
    refined_one = restore(task, preset=lambda task: refined(task, quick, wavelet), **SMALL)
    assert float(box.distance(refined_one.raw)) < 1e-12


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
    task = tasks.super_resolve(photograph, factor=2, sigma=0.0)
    recipe = resolve("refined:preset=fast,denoiser=median,first=0.1", task)
    assert isinstance(recipe, hd.Recipe)
    assert {**recipe.describe(), "refine": 0} == {**fast(task).describe(), "refine": 0}
    assert recipe.describe()["refine"] == {
        "name": "plug-and-play", "denoiser": "median", "first": 0.1, "rounds": 5
    }  # fmt: skip


@pytest.mark.parametrize("preset", [plug_and_play, refined])
def test_presets_of_a_denoiser_are_for_gaussian_and_photon_noise(preset: Any) -> None:
    with pytest.raises(SettingsError, match="Gaussian or photon noise, or none"):
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
    restore(task, preset=recipe, device="cpu", hooks=lambda name: FitHooks(halt=lambda: True))
    assert not asked
    restore(task, preset=recipe, device="cpu")
    assert len(asked) == 1


def test_a_denoiser_alone_fills_in_what_is_held_out(photograph: Tensor) -> None:
    noisy = photograph + 0.1 * torch.randn(photograph.shape, generator=torch.Generator().manual_seed(0))
    task = tasks.denoise(noisy, sigma=0.1)
    fitted, validation = task.split(0.2)
    found = restore(fitted, preset="one-shot:denoiser=wavelet", device="cpu")
    empty = torch.where(validation.held_out > 0, 0.0, found.raw)
    assert validation.error(found.raw) < 0.6 * validation.error(empty)
    poisoned, _ = replace(task, observation=torch.where(validation.held_out > 0, 9.0, noisy)).split(0.2)
    assert torch.equal(restore(poisoned, preset="one-shot:denoiser=wavelet", device="cpu").raw, found.raw)

import sys
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.errors import SettingsError
from hybrid_dip.recipes.presets import original
from hybrid_dip.recipes.recipe import Recipe
from pretrained import visualisation, weights
from pretrained.features import load_classifier, load_features
from pretrained.visualisation import class_names, invert_features, likeliest_classes, maximise_activation, read_class

pytestmark = pytest.mark.skipif(weights.get("efficientnet-lite0").here() is None, reason="the extra offline is not installed")
ESPRESSO = 967


def test_the_loss_of_an_inversion_averages_the_stages(photograph: Tensor) -> None:
    task = invert_features(photograph, layers=(0, 2))
    x = torch.rand_like(photograph)
    features = load_features(layers=(0, 2))
    wanted = torch.stack([(a - b).square().mean() for a, b in zip(features(x), features(photograph), strict=True)]).mean()
    torch.testing.assert_close(task.fidelity(task.forward(x), task.observation, None), wanted)
    assert float(task.fidelity(task.forward(photograph), task.observation, None)) == 0


def test_an_activation_is_a_score_or_a_channel_s_mean(photograph: Tensor) -> None:
    scores = load_classifier()(photograph)
    torch.testing.assert_close(maximise_activation(ESPRESSO).forward(photograph), scores[:, ESPRESSO])
    mean = load_features(layers=(1,))(photograph)[0][:, 7].mean()
    task = maximise_activation(7, layer=1)
    torch.testing.assert_close(task.forward(photograph), mean[None])
    torch.testing.assert_close(task.fidelity(mean[None], task.observation, None), -mean)


def test_each_has_the_originals_recipe(photograph: Tensor) -> None:
    inverting, a_class, a_channel = map(
        original, (invert_features(photograph), maximise_activation(ESPRESSO), maximise_activation(7, layer=1))
    )
    assert [recipe.steps for recipe in (inverting, a_class, a_channel)] == [3100] * 3
    assert [recipe.lr for recipe in (inverting, a_class, a_channel)] == [0.001, 0.01, 0.001]
    assert [recipe.jitter for recipe in (inverting, a_class, a_channel)] == [0, 0.03, 0.03]
    assert all(recipe.latent_first and not recipe.note for recipe in (inverting, a_class, a_channel))
    network, maximising = inverting.describe()["network"], a_class.describe()["network"]
    assert network["down"] == network["up"] == maximising["down"] == maximising["up"] == (16, 32, 64, 128, 128, 128)
    assert network["downsample"] == maximising["downsample"] == "avg"
    assert network["kernel_down"] == network["kernel_up"] == (7, 7, 5, 5, 3, 3)
    assert (maximising["kernel_down"], maximising["kernel_up"]) == ((5, 3, 5, 5, 3, 5), (5, 3, 5, 3, 5, 3))
    assert (network["skip"], maximising["skip"]) == ((4,) * 6, (0, 4, 4, 4, 4, 4))
    assert [(found["upsample"], found["padding"]) for found in (network, maximising)] == [
        ("nearest", "zero"),
        ("bilinear", "reflection"),
    ]


SMALL = Recipe(
    network=partial(hd.networks.skip, down=(16, 32), skip=(4, 4), upsample="bilinear"),
    latent=partial(hd.latents.uniform, 8),
    steps=40,
    lr=0.02,
)


def test_a_fit_finds_the_features(photograph: Tensor) -> None:
    task = invert_features(photograph, layers=(0,))
    losses = [row["fidelity"] for row in hd.restore(task, preset=SMALL, device="cpu").fits[0].history]
    assert losses[-1] < losses[0] / 3


def test_a_fit_finds_what_the_class_likes() -> None:
    found = hd.restore(maximise_activation(ESPRESSO, size=48), preset=replace(SMALL, steps=120), device="cpu")
    (name, probability), *_ = likeliest_classes(found.image)
    assert name == "espresso"
    assert probability > 0.9


def test_a_score_is_driven_to_a_target_as_in_the_original_or_as_high_as_it_goes(photograph: Tensor) -> None:
    """|300 - s|, in the original times 5, which Adam does not see; below the target the gradient is that of -s."""
    gradients = []
    for target, energy in ((300.0, lambda s: abs(300 - s)), (None, lambda s: -s)):
        task = maximise_activation(ESPRESSO, target=target)
        x = photograph.clone().requires_grad_()
        score = task.forward(x)
        found = task.fidelity(score, task.observation, None)
        found.backward()
        assert float(found.detach()) == pytest.approx(energy(float(score.detach())), abs=1e-4)
        gradients.append(x.grad)
    assert float(gradients[0].abs().max()) > 0  # type: ignore[union-attr]
    assert torch.equal(*gradients)  # type: ignore[arg-type]
    task = maximise_activation(ESPRESSO, size=32, target=3.0)
    found = hd.restore(task, preset=SMALL, steps=30, device="cpu")
    assert float(task.forward(found.image).detach()) == pytest.approx(3, abs=1)  # without a target it is above 7 by then
    with pytest.raises(SettingsError, match="must be a finite number, such as 300"):
        maximise_activation(ESPRESSO, target=float("nan"))


def test_a_class_is_shown_by_its_usual_name() -> None:
    names = class_names()
    assert names is not None
    assert names[1] == ["goldfish", "Carassius auratus"]
    assert not any("," in name for name, _ in likeliest_classes(torch.rand(1, 3, 64, 64), count=5))


def test_without_timm_a_class_name_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visualisation, "load_classifier", load_classifier.__wrapped__)  # type: ignore[attr-defined]
    for name in ("timm", "timm.data"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SettingsError, match="pip install timm"):
        read_class("espresso")


def test_of_many_models_the_nearest_few_are_named() -> None:
    with pytest.raises(SettingsError, match="timm has no model 'qqqq': the nearest of ") as caught:
        load_classifier("qqqq")
    assert len(str(caught.value)) < 200


def test_classes_are_named_or_numbered() -> None:
    assert read_class("967") == read_class("Espresso") == ESPRESSO
    with pytest.raises(SettingsError, match="no class 'expresso': did you mean 'espresso'"):
        read_class("expresso")
    assert read_class("goldfish") == read_class("carassius auratus") == 1, "a class has several names"
    with pytest.raises(SettingsError, match=r"has 2 classes 'crane': give the number of one, 134 or 517"):
        read_class("crane")
    with pytest.raises(SettingsError, match=r"no class 1000; they are 0 to 999"):
        maximise_activation(1000)
    with pytest.raises(SettingsError, match=r"no channel 99 of stage 0; they are 0 to 15"):
        maximise_activation(99, layer=0)

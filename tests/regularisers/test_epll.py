import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.errors import ImageFileError, SettingsError
from hybrid_dip.regularisers import EPLL
from hybrid_dip.regularisers.epll import Mixture, fit_folder, fit_mixture, patches_of

Command = Callable[..., tuple[int, str, str]]


def test_by_hand(tmp_path: Path) -> None:
    """One Gaussian of deviation 1/2: D log sqrt(2 pi / 4) + 2 |p|^2, over D."""
    Mixture(torch.zeros(1), torch.zeros(1, 4), 2 * torch.eye(4)[None]).save(tmp_path / "one")
    x = torch.tensor([[0.1, 0.3], [0.5, 0.9]])[None, None]
    squared = (0.35**2 + 0.15**2 + 0.05**2 + 0.45**2) * 2
    expected = (4 * math.log(math.sqrt(2 * math.pi / 4)) + squared) / 4
    assert float(EPLL(size=2, mixture=str(tmp_path / "one"))(x)) == pytest.approx(expected, rel=1e-5)


def test_the_likelihood_is_that_of_scikit_learn(photograph: Tensor) -> None:
    from sklearn.mixture import GaussianMixture

    patches = patches_of(photograph.double(), 4)
    fitted = GaussianMixture(4, reg_covar=1e-4, random_state=0).fit(patches.numpy())
    parts = fitted.weights_, fitted.means_, fitted.precisions_cholesky_
    weights, means, precisions = (torch.from_numpy(part) for part in parts)
    found = Mixture(weights.log(), means, precisions).log_likelihood(patches)
    torch.testing.assert_close(found, torch.from_numpy(fitted.score_samples(patches.numpy())))


def test_an_external_mixture_is_saved_and_loaded(photograph: Tensor, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(3):
        hd.save_image(photograph.roll(5 * index, -1), folder / f"{index}.png")
    mixture = fit_folder(folder, size=4, components=3)
    mixture.save(tmp_path / "mixture.pt")
    again = Mixture.load(tmp_path / "mixture.pt")
    assert torch.equal(mixture.means, again.means)
    noisy = photograph + 0.1 * torch.randn(photograph.shape)
    for source in (tmp_path / "mixture.pt", folder):
        prior = EPLL(size=4, mixture=str(source))
        assert float(prior(photograph)) < float(prior(noisy)) - 0.1
    assert fit_mixture([photograph], size=4, components=2, seed=1).means.shape == (2, 16)


def test_an_internal_mixture_follows_the_estimate(photograph: Tensor) -> None:
    prior = EPLL(components=2, every=10)
    memory = prior.remember(photograph, 0, {})
    assert not torch.equal(prior.remember(photograph.square(), 10, memory)["means"], memory["means"])


def test_what_is_wrong_is_said(tmp_path: Path, photograph: Tensor) -> None:
    x = torch.rand(1, 1, 16, 16)
    with pytest.raises(SettingsError, match=r"There is no file .*none with a mixture"):
        EPLL(mixture=str(tmp_path / "none"))(x)
    (tmp_path / "text").write_text("no mixture")
    with pytest.raises(SettingsError, match="holds no mixture"):
        EPLL(mixture=str(tmp_path / "text"))(x)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageFileError, match="no images in"):
        EPLL(mixture=str(tmp_path / "empty"))(x)
    fit_mixture([photograph], size=4, components=2).save(tmp_path / "four")
    with pytest.raises(SettingsError, match="over patches of 4 pixels; give size=4"):
        EPLL(mixture=str(tmp_path / "four"))(x)
    with pytest.raises(SettingsError, match="needs as many patches"):
        fit_mixture([], components=2)


def test_a_mixture_is_fitted_by_a_command(photograph: Tensor, tmp_path: Path, hybrid_dip_command: Command) -> None:
    hd.save_image(photograph, tmp_path / "photo.png")
    given = ["fit-mixture", tmp_path, "-o", tmp_path / "mixture.pt", "--size", 4, "--components", 2]
    code, said, err = hybrid_dip_command(*given)
    assert (code, err) == (0, "")
    assert "size=4" in said
    assert Mixture.load(tmp_path / "mixture.pt").means.shape == (2, 16)
    code, _, err = hybrid_dip_command(*given)
    assert code == 2
    assert "exists" in err
    assert "There are no images" in hybrid_dip_command("fit-mixture", tmp_path / "none", "-o", tmp_path / "other.pt")[2]

"""Expected patch log likelihood: small for images whose patches a mixture of Gaussians finds likely.

The mixture is fitted on the image's own patches (internal) or on a folder of images (external), once, and can be saved.
"""

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from hybrid_dip.contracts import Task
from hybrid_dip.errors import ImageFileError, SettingsError
from hybrid_dip.images.atomic import replacement
from hybrid_dip.images.files import load_image
from hybrid_dip.regularisers.memory import Memory, WithMemory, check_every

FLOOR = 0.01
"""Deviation of the noise that every Gaussian allows for, in units of [0, 1]: it keeps covariances invertible."""

_FIELDS = ("log_weights", "means", "precisions")


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of K Gaussians over patches of D = size^2 entries, less their mean.

    Attributes:
        log_weights: (K,).
        means: (K, D).
        precisions: Lower triangular L with L L^T the inverse covariance, (K, D, D).
    """

    log_weights: Tensor
    means: Tensor
    precisions: Tensor

    def log_likelihood(self, patches: Tensor) -> Tensor:
        """Log of sum_k w_k N(p; m_k, S_k), for patches (N, D), as (N,)."""
        offsets = torch.einsum("kd,kde->ke", self.means, self.precisions)[:, None]
        distances = (patches @ self.precisions - offsets).square().sum(2)
        volumes = self.precisions.diagonal(dim1=1, dim2=2).log().sum(1)
        constant = self.log_weights + volumes - self.means.shape[1] / 2 * math.log(2 * math.pi)
        return torch.logsumexp(constant[:, None] - distances / 2, 0)

    def save(self, path: str | Path) -> None:
        """Write the mixture to a file."""
        with replacement(Path(path)) as temporary:
            torch.save({name: getattr(self, name) for name in _FIELDS}, temporary)

    @classmethod
    def load(cls, path: str | Path) -> "Mixture":
        """Read what :meth:`save` wrote.

        Raises:
            SettingsError: There is no such file, or something else is in it.
        """
        try:
            found = torch.load(path, weights_only=True)
            return cls(**{name: found[name] for name in _FIELDS})
        except FileNotFoundError:
            raise SettingsError(f"There is no file {path} with a mixture; `hybrid-dip fit-mixture` writes one.") from None
        except Exception as error:  # whatever a file that is no mixture makes torch say
            raise SettingsError(
                f"{path} holds no mixture of EPLL ({type(error).__name__}); `hybrid-dip fit-mixture` writes one."
            ) from None


def patches_of(x: Tensor, size: int, stride: int = 1) -> Tensor:
    """The patches of all channels, less their mean.

    Args:
        x: (1, C, H, W).
        size: Side of a patch, in pixels.
        stride: Between two patches.

    Returns:
        (N, size^2).
    """
    patches = F.unfold(x.transpose(0, 1), size, stride=stride).transpose(1, 2).flatten(0, 1)
    return patches - patches.mean(1, keepdim=True)


def fit_mixture(images: Iterable[Tensor], *, size: int = 6, components: int = 10, most: int = 10_000, seed: int = 0) -> Mixture:
    """Fit a mixture on patches of images by expectation maximisation (scikit-learn).

    Args:
        images: Each (1, C, H, W) in [0, 1].
        size: Side of a patch, in pixels.
        components: Gaussians.
        most: Patches that are drawn from all images together, at most.
        seed: Of the draw and of the start.

    Returns:
        The mixture, float32 on the CPU.

    Raises:
        SettingsError: There are fewer patches than components.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    every = [patches_of(image.detach().cpu().double(), size) for image in images]
    gathered = torch.cat(every) if every else torch.zeros(0, size**2)
    if len(gathered) < max(2, components):
        raise SettingsError(f"A mixture of {components} Gaussians needs as many patches; the images have {len(gathered)}.")
    chosen = torch.randperm(len(gathered), generator=torch.Generator().manual_seed(seed))[:most]
    fitted = GaussianMixture(components, reg_covar=FLOOR**2, random_state=seed, max_iter=30, tol=1e-2, init_params="k-means++")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # some rounds less make no difference to a prior
        fitted.fit(gathered[chosen].numpy())
    parts = fitted.weights_, fitted.means_, fitted.precisions_cholesky_
    weights, means, precisions = (torch.from_numpy(part).float() for part in parts)
    return Mixture(weights.log(), means, precisions)


def fit_folder(folder: str | Path, *, size: int = 6, components: int = 50, most: int = 100_000, seed: int = 0) -> Mixture:
    """Fit a mixture on all images of a folder.

    Args:
        folder: With PNG, JPEG, TIFF or BMP files.
        size: Side of a patch, in pixels.
        components: Gaussians.
        most: Patches that are drawn, at most, as many from each image.
        seed: Of the draw and of the start.

    Returns:
        The mixture.

    Raises:
        ImageFileError: The folder has no images.
    """
    known = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}
    files = sorted(path for path in Path(folder).glob("*") if path.suffix.lower() in known)
    if not files:
        raise ImageFileError(
            f"There are no images in {folder}; EPLL fits its mixture on a folder of PNG, JPEG, TIFF or BMP files."
        )

    def drawn(path: Path) -> Tensor:
        """A square whose patches are the image's share."""
        image = load_image(path)[:, :3].mean(1, keepdim=True)
        side = max(size, round((most / len(files)) ** 0.5) + size - 1)
        top, left = (max(0, (n - side) // 2) for n in image.shape[-2:])
        return image[..., top : top + side, left : left + side]

    return fit_mixture(map(drawn, files), size=size, components=components, most=most, seed=seed)


_folder_mixture = lru_cache(maxsize=4)(fit_folder)
_file_mixture = lru_cache(maxsize=4)(Mixture.load)


@dataclass(frozen=True)
class EPLL(WithMemory):
    """Expected patch log likelihood under a mixture of Gaussians (Zoran & Weiss 2011).

        R(x) = - mean over patches of 1/D log sum_k w_k N(P x; m_k, S_k)

    P takes a patch of one channel, less its mean. Internal, the mixture is fitted on the current estimate's own patches every
    so many steps; external, it comes from a file, or is fitted on a folder of images when the fit begins.

    Attributes:
        size: Side of the patches, in pixels.
        components: Gaussians of an internal mixture.
        mixture: File that ``hybrid-dip fit-mixture`` or ``Mixture.save`` wrote, or folder of images; none for the image's own
            patches.
        every: Steps between two fits of an internal mixture.
        stride: Between the patches whose likelihood is taken; they overlap as long as it is below the size.
    """

    size: int = 6
    components: int = 10
    mixture: str = ""
    every: int = 250
    stride: int = 2

    def __post_init__(self) -> None:
        check_every("EPLL", self.every)
        if self.size < 2 or self.components < 1 or not 1 <= self.stride <= self.size:
            raise SettingsError(
                "EPLL needs patches of at least 2 pixels, 1 component, and a stride from 1 to the size; "
                f"got {self.size}, {self.components}, {self.stride}."
            )

    def remember(self, x: Tensor, step: int, memory: Memory, task: Task | None = None) -> Memory:
        """The mixture."""
        if self.mixture and memory:
            return memory
        if self.mixture:
            made = _folder_mixture(self.mixture, size=self.size) if Path(self.mixture).is_dir() else _file_mixture(self.mixture)
        else:
            made = fit_mixture([x], size=self.size, components=self.components, seed=step)
        if made.means.shape[1] != self.size**2:
            side = round(made.means.shape[1] ** 0.5)
            raise SettingsError(f"The mixture of EPLL is over patches of {side} pixels; give size={side}.")
        return {name: getattr(made, name).to(x) for name in _FIELDS}

    def energy(self, x: Tensor, memory: Memory) -> Tensor:
        """The mean of the negative log likelihoods."""
        mixture = Mixture(**{name: memory[name] for name in _FIELDS})
        with torch.autocast(x.device.type, enabled=False):
            return -mixture.log_likelihood(patches_of(x.to(mixture.means), self.size, self.stride)).mean() / self.size**2

"""Expected patch log likelihood: small for images whose patches are likely under a mixture of Gaussians.

The mixture is fitted on the image's own patches (internal), or once on a folder of images (external), and can be saved.
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
"""Standard deviation of noise that every Gaussian allows for, in units of [0, 1]: it keeps covariances invertible."""

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
            SettingsError: There is no such file, or it holds something else.
        """
        try:
            tensors = torch.load(path, weights_only=True)
            return cls(**{name: tensors[name] for name in _FIELDS})
        except FileNotFoundError:
            raise SettingsError(f"There is no file {path} with a mixture; `hybrid-dip fit-mixture` writes one.") from None
        except Exception as error:  # torch raises many kinds for a file that holds no mixture
            raise SettingsError(
                f"{path} holds no mixture of EPLL ({type(error).__name__}); `hybrid-dip fit-mixture` writes one."
            ) from None


def patches_of(x: Tensor, size: int, stride: int = 1) -> Tensor:
    """The patches of all channels, less their mean.

    Args:
        x: (1, C, H, W).
        size: Side of a patch, in pixels.
        stride: Pixels between two patches.

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
        components: Number of Gaussians.
        most: Patches that are drawn from all images together, at most.
        seed: Seed of the draw and of the start.

    Returns:
        The mixture, float32 on the CPU.

    Raises:
        SettingsError: There are fewer patches than components.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    of_each = [patches_of(image.detach().cpu().double(), size) for image in images]
    patches = torch.cat(of_each) if of_each else torch.zeros(0, size**2)
    if len(patches) < max(2, components):
        raise SettingsError(f"A mixture of {components} Gaussians needs as many patches; the images have {len(patches)}.")
    chosen = torch.randperm(len(patches), generator=torch.Generator().manual_seed(seed))[:most]
    fitted = GaussianMixture(components, reg_covar=FLOOR**2, random_state=seed, max_iter=30, tol=1e-2, init_params="k-means++")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a prior does not need the last rounds
        fitted.fit(patches[chosen].numpy())
    parts = fitted.weights_, fitted.means_, fitted.precisions_cholesky_
    weights, means, precisions = (torch.from_numpy(part).float() for part in parts)
    return Mixture(weights.log(), means, precisions)


def fit_folder(folder: str | Path, *, size: int = 6, components: int = 50, most: int = 100_000, seed: int = 0) -> Mixture:
    """Fit a mixture on all images of a folder.

    Args:
        folder: Folder with PNG, JPEG, TIFF or BMP files.
        size: Side of a patch, in pixels.
        components: Number of Gaussians.
        most: Patches that are drawn at most, as many from each image.
        seed: Seed of the draw and of the start.

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

    def centre(path: Path) -> Tensor:
        """A square of the image that has its share of the patches."""
        image = load_image(path)[:, :3].mean(1, keepdim=True)
        side = max(size, round((most / len(files)) ** 0.5) + size - 1)
        top, left = (max(0, (n - side) // 2) for n in image.shape[-2:])
        return image[..., top : top + side, left : left + side]

    return fit_mixture(map(centre, files), size=size, components=components, most=most, seed=seed)


_folder_mixture = lru_cache(maxsize=4)(fit_folder)
_file_mixture = lru_cache(maxsize=4)(Mixture.load)


@dataclass(frozen=True)
class EPLL(WithMemory):
    """Expected patch log likelihood under a mixture of Gaussians (Zoran & Weiss 2011).

        R(x) = - mean over patches of 1/D log sum_k w_k N(P x; m_k, S_k)

    P takes a patch of one channel, less its mean. An internal mixture is fitted on the current estimate's own patches every few
    steps; an external one comes from a file, or is fitted on a folder of images when the fit begins.

    Attributes:
        size: Side of the patches, in pixels.
        components: Number of Gaussians of an internal mixture.
        mixture: File that ``hybrid-dip fit-mixture`` or ``Mixture.save`` wrote, or folder of images; "" for the image's own
            patches.
        every: Steps between two fits of an internal mixture.
        stride: Pixels between the patches whose likelihood is taken; they overlap if it is below the size.
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
        if not self.mixture:
            mixture = fit_mixture([x], size=self.size, components=self.components, seed=step)
        elif Path(self.mixture).is_dir():
            mixture = _folder_mixture(self.mixture, size=self.size)
        else:
            mixture = _file_mixture(self.mixture)
        if mixture.means.shape[1] != self.size**2:
            side = round(mixture.means.shape[1] ** 0.5)
            raise SettingsError(f"The mixture of EPLL is over patches of {side} pixels; give size={side}.")
        return {name: getattr(mixture, name).to(x) for name in _FIELDS}

    def energy(self, x: Tensor, memory: Memory) -> Tensor:
        """The mean of the negative log likelihoods."""
        mixture = Mixture(**{name: memory[name] for name in _FIELDS})
        with torch.autocast(x.device.type, enabled=False):
            return -mixture.log_likelihood(patches_of(x.to(mixture.means), self.size, self.stride)).mean() / self.size**2

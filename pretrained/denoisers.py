"""Learned denoisers as callables (x, sigma) -> x: the one that this project trained itself, and FFDNet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from hybrid_dip.errors import SettingsError, nearest
from pretrained import weights
from pretrained.bundled import DenoisingNetwork
from pretrained.ffdnet import FFDNet
from pretrained.placing import beside, loaded_once
from pretrained.weights import WeightsError

COLOURS = 3
STRONGEST = 75 / 255
"""Noise level up to which the networks were trained, in units of [0, 1]."""


class AsColour(nn.Module):
    """A network of colour images, for grey ones: the channel three times over, and the mean of what comes out.

    Args:
        network: (N, 3, H, W), sigma -> (N, 3, H, W).
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """(N, 1, H, W), (N, 1, H, W) -> (N, 1, H, W)."""
        found: Tensor = self.network(x.expand(-1, COLOURS, -1, -1), sigma)
        return found.mean(1, keepdim=True)


class Denoiser:
    """(x, sigma) -> x, for images of any size and number of channels, frozen, on whatever device x is.

    Args:
        colour: (N, 3, H, W), (N, 1, H, W) -> (N, 3, H, W), for images of three channels.
        grey: (N, 1, H, W), (N, 1, H, W) -> (N, 1, H, W), for each channel of any others.
        multiple: What H and W must be multiples of; others are continued by their borders.
    """

    def __init__(self, colour: nn.Module, grey: nn.Module, multiple: int):
        self.colour = colour.eval().requires_grad_(False)
        self.grey = grey.eval().requires_grad_(False)
        self.multiple = multiple

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """Denoise, differentiably with respect to x.

        Args:
            x: (N, C, H, W) in [0, 1] plus noise.
            sigma: Of the noise, in units of [0, 1]: a number (at 0 there is nothing to remove, and x is returned), or a map
                that broadcasts to (N, 1, H, W). Above STRONGEST, which the networks have learnt at most, image and level are
                made smaller together, and the result as much larger.

        Returns:
            Of the shape of x.

        Raises:
            SettingsError: A level that is not from 0 to 1.
        """
        if isinstance(sigma, float | int) and sigma == 0:  # nothing to remove
            return x.clone()
        count, channels, height, width = x.shape
        level = (x.new_tensor(sigma) if isinstance(sigma, float | int) else sigma.to(x)).expand(count, 1, height, width)
        if not bool(((level >= 0) & (level <= 1)).all()):  # NaN, too
            said = f"{sigma}" if isinstance(sigma, float | int) else f"a map from {float(level.min())} to {float(level.max())}"
            raise SettingsError(f"A noise level is from 0 to 1 (25 grey levels are 25/255), got {said}.")
        scale = (level.amax((1, 2, 3), keepdim=True) / STRONGEST).clamp(min=1)
        x, level = x / scale, level / scale
        padding = (0, -width % self.multiple, 0, -height % self.multiple)
        planes, network = x, self.colour
        if channels != COLOURS:
            planes, level = x.reshape(-1, 1, height, width), level.repeat_interleave(channels, 0)
            network = self.grey
        padded = [F.pad(part, padding, mode="replicate") for part in (planes, level)]
        found: Tensor = beside(network, x)(*padded)[..., :height, :width]
        return found.reshape(x.shape) * scale


@dataclass(frozen=True)
class Kind:
    """One of the denoisers.

    Attributes:
        make: Path of the weights or None -> denoiser.
        several: It has more than one file of weights, so that none can be given.
    """

    make: Callable[[Path | None], Denoiser]
    several: bool = False


def of_network(network: DenoisingNetwork) -> Denoiser:
    """The denoiser of a network that :mod:`pretrained.train_denoiser` trains, which has learnt grey images, too."""
    return Denoiser(network, AsColour(network), network.multiple)


def _bundled(path: Path | None) -> Denoiser:
    known = weights.get("denoiser")
    tensors = known.load() if path is None else weights.read_own(path, known)
    network = DenoisingNetwork()
    try:
        network.load_state_dict(tensors)
    except RuntimeError:
        raise WeightsError(f"{path} does not hold the weights of the denoiser of this version.") from None
    return of_network(network)


def _ffdnet(path: Path | None) -> Denoiser:
    colour, grey = FFDNet(3), FFDNet(1)
    for network, name in ((colour, "ffdnet-colour"), (grey, "ffdnet-grey")):
        fill(network, weights.get(name).load())
    return Denoiser(colour, grey, FFDNet.multiple)


def fill(network: FFDNet, tensors: Mapping[str, Tensor]) -> None:
    """Fill FFDNet with weights as their authors name them.

    Args:
        network: To be filled.
        tensors: "module.intermediate_dncnn.itermediate_dncnn.3.weight".
    """
    own = {f"layers.{'.'.join(name.split('.')[-2:])}": value for name, value in tensors.items()}
    counted = {name: value for name, value in network.state_dict().items() if name.endswith("num_batches_tracked")}
    network.load_state_dict({**own, **counted})


KINDS: Mapping[str, Kind] = {"bundled": Kind(_bundled), "ffdnet": Kind(_ffdnet, several=True)}


@loaded_once
def load_denoiser(name: str = "bundled", path: str | Path | None = None) -> Denoiser:
    """A learned denoiser.

    Args:
        name: "bundled", which this project trained itself and its package holds; "ffdnet" (extra ``ffdnet``, GPL-3).
        path: Of one's own weights for "bundled", as :mod:`pretrained.train_denoiser` writes them: with a hash of their
            content, which is checked. Any other file must be the one of this package, by its SHA-256.

    Returns:
        (x, sigma) -> x, x (N, C, H, W) in [0, 1] plus noise, sigma in the same units.

    Raises:
        SettingsError: Another name, or a path for a denoiser of several files.
        WeightsError: The weights are not here, or not what they should be, or no such file is there.
    """
    if name not in KINDS:
        raise SettingsError(f"There is no learned denoiser '{name}': {nearest(name, list(KINDS))}.")
    if path is not None and KINDS[name].several:
        raise SettingsError(
            f"The denoiser '{name}' has several files of weights; put them into the cache instead of giving a path."
        )
    return KINDS[name].make(None if path is None else Path(path))


def bundled(x: Tensor, sigma: float | Tensor) -> Tensor:
    """The denoiser that this project trained itself on BSDS500: see pretrained/denoiser.md.

    Args:
        x: (N, C, H, W) in [0, 1] plus noise.
        sigma: Of the noise, in units of [0, 1]: a number, or a map that broadcasts to (N, 1, H, W).

    Returns:
        Of the shape of x.
    """
    return load_denoiser("bundled")(x, sigma)


@dataclass(frozen=True)
class Trained:
    """A denoiser that you trained yourself by ``python -m pretrained.train_denoiser``: ``trained:path=FILE``.

    As an option, ``-R red:denoiser=trained:path=FILE@0.3`` or ``--preset one-shot:denoiser=trained:path=FILE``.

    Attributes:
        path: Of the weights.
    """

    path: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.path, str) or not self.path:
            raise SettingsError("The denoiser 'trained' needs the file of its weights: trained:path=FILE.")
        load_denoiser("bundled", self.path)  # says so now where it is no such file

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """Denoise, see :class:`Denoiser`."""
        return load_denoiser("bundled", self.path)(x, sigma)

    def describe(self) -> dict[str, str]:
        """For a manifest."""
        return {"name": "trained", "path": self.path}


def ffdnet(x: Tensor, sigma: float | Tensor) -> Tensor:
    """FFDNet (Zhang, Zuo & Zhang 2018) with the weights of Tassano, Delon & Veit 2019: the extra ``ffdnet``, GPL-3.

    Args:
        x: (N, C, H, W) in [0, 1] plus noise.
        sigma: Of the noise, in units of [0, 1]: a number, or a map that broadcasts to (N, 1, H, W).

    Returns:
        Of the shape of x.
    """
    return load_denoiser("ffdnet")(x, sigma)

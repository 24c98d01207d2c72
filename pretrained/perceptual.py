"""Learned perceptual distances: LPIPS (Zhang et al. 2018) and shift-tolerant LPIPS (Ghildyal & Liu 2022), which works offline.

    d(x, y) = sum over layers of mean over places of sum_c w_c (f_c(x) - f_c(y))^2

f are the features of a trunk, of length one at each place, w weights that were fitted to people's judgements. The length has an
epsilon inside its root, so that gradients are finite where all features are zero, and where x = y.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybrid_dip.errors import SettingsError, nearest
from pretrained import weights
from pretrained.features import as_colour
from pretrained.shared_networks import load_once

EPSILON = 1e-10
"""Added to the squared length of a feature vector."""

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Normalisation of the trunks' input, on the scale [-1, 1], as LPIPS was fitted."""

SHIFT_TOLERANT_SIDE = 40
"""Side in pixels below which the reflections of the shift-tolerant trunks have nothing to reflect."""


class Blur(nn.Module):
    """Reflect, blur by [1 2 1], keep every second pixel (Zhang 2019, "Making convolutional networks shift-invariant again").

    Args:
        channels: Channels of the maps.
    """

    filt: Tensor

    def __init__(self, channels: int):
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("filt", torch.outer(row, row).expand(channels, 1, 3, 3).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H / 2 + 1, W / 2 + 1), about."""
        return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), self.filt, stride=2, groups=x.shape[1])


def _conv(wide: int, deep: int, size: int = 3, padding: int = 1, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(wide, deep, size, stride=stride, padding=padding)


def _slices(layers: Sequence[nn.Module], ends: Sequence[int], first: int = 0) -> nn.ModuleDict:
    """Divide layers into parts; each layer has its number as its name, as in the files of weights."""
    starts = [first, *ends[:-1]]
    parts = {f"slice{number}": nn.Sequential() for number in range(1, len(ends) + 1)}
    for number, (start, end) in enumerate(zip(starts, ends, strict=True), start=1):
        for index in range(start, end):
            parts[f"slice{number}"].add_module(str(index), layers[index])
    return nn.ModuleDict(parts)


def alex_shift_tolerant() -> nn.ModuleDict:
    """AlexNet with blurred steps, without its first stride."""
    layers = [
        *(_conv(3, 64, 11, padding=2), Blur(64), nn.ReLU(), nn.MaxPool2d(3, stride=1), Blur(64)),
        *(_conv(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=1), Blur(192)),
        *(_conv(192, 384), nn.ReLU(), _conv(384, 256), nn.ReLU(), _conv(256, 256), nn.ReLU()),
    ]
    return _slices(layers, (3, 7, 11, 13, 15))


def vgg_shift_tolerant() -> nn.ModuleDict:
    """VGG16 with blurred steps."""
    layers: list[nn.Module] = []
    wide = 3
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        if layers:
            layers += [nn.MaxPool2d(2, stride=1), Blur(wide)]
        for _ in range(count):
            layers += [_conv(wide, width), nn.ReLU()]
            wide = width
    return _slices(layers, (4, 10, 18, 26, 34))


class Perceptual(nn.Module):
    """(x, y) -> distance, frozen, for images in [0, 1].

    Args:
        trunk: Parts that run one after the other.
        widths: Channels of each part's output.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, trunk: nn.ModuleDict, widths: Sequence[int]):
        super().__init__()
        self.net = trunk
        self.heads = nn.ParameterList(torch.ones(1, width, 1, 1) for width in widths)
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def features(self, x: Tensor) -> list[Tensor]:
        """Features of length one at each place, of each part.

        Args:
            x: (N, 3, H, W) or (N, 1, H, W) in [0, 1].

        Returns:
            One map for each part, (N, C, h, w).
        """
        maps, features = (2 * as_colour(x, "Perceptual distances", SHIFT_TOLERANT_SIDE) - 1 - self.shift) / self.scale, []
        for part in self.net.values():
            maps = part(maps)
            features.append(maps / (maps.square().sum(1, keepdim=True) + EPSILON).sqrt())
        return features

    def compare(self, mine: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
        """The distance between the features of two images, (N,)."""
        pairs = zip(mine, other, self.heads, strict=True)
        return torch.stack([((a - b).square() * head).sum(1).mean((1, 2)) for a, b, head in pairs]).sum(0)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The distance of two images.

        Args:
            x: (N, 3, H, W) or (N, 1, H, W) in [0, 1], of any size.
            y: The other image, of the same shape.

        Returns:
            The distance, (N,).

        Raises:
            SettingsError: The images differ in size, or have neither 1 nor 3 channels.
        """
        if x.shape[-2:] != y.shape[-2:]:
            raise SettingsError(
                f"A perceptual distance is between images of one size, got {tuple(x.shape)} and {tuple(y.shape)}."
            )
        return self.compare(self.features(x), self.features(y))


def _torchvision(name: str) -> Sequence[nn.Module]:
    """The convolutions of a classifier, with random weights."""
    import torchvision

    return list(getattr(torchvision.models, name)(weights=None).features)


@dataclass(frozen=True)
class Parts:
    """What one of the distances is made of.

    Attributes:
        trunk: Makes the trunk, with random weights.
        widths: Channels of each part's output.
        whole: Name of the weights of trunk and heads together; "" where they are two files.
        classifier: Name of the trunk's weights.
        heads: Name of the heads' weights.
    """

    trunk: Callable[[], nn.ModuleDict]
    widths: tuple[int, ...]
    whole: str = ""
    classifier: str = ""
    heads: str = ""


_ALEX, _VGG = (64, 192, 384, 256, 256), (64, 128, 256, 512, 512)
KINDS: Mapping[str, Parts] = {
    "stlpips-alex": Parts(alex_shift_tolerant, _ALEX, whole="stlpips-alex"),
    "stlpips-vgg": Parts(vgg_shift_tolerant, _VGG, whole="stlpips-vgg"),
    "lpips-alex": Parts(
        lambda: _slices(_torchvision("alexnet"), (2, 5, 8, 10, 12)), _ALEX, classifier="alexnet", heads="lpips-alex-heads"
    ),
    "lpips-vgg": Parts(
        lambda: _slices(_torchvision("vgg16"), (4, 9, 16, 23, 30)), _VGG, classifier="vgg16", heads="lpips-vgg-heads"
    ),
    "lpips-squeeze": Parts(
        lambda: _slices(_torchvision("squeezenet1_1"), (2, 5, 8, 10, 11, 12, 13)),
        (64, 128, 256, 384, 384, 512, 512),
        classifier="squeezenet",
        heads="lpips-squeeze-heads",
    ),
}


@load_once
def load_perceptual(name: str = "stlpips-alex") -> Perceptual:
    """Load a learned perceptual distance.

    Args:
        name: "stlpips-alex" or "stlpips-vgg", whose weights come with the extra ``offline``; "lpips-alex", "lpips-vgg" or
            "lpips-squeeze", whose trunks are downloads.

    Returns:
        (x, y) -> (N,), for images in [0, 1].

    Raises:
        SettingsError: Another name.
        WeightsError: The weights are not on this machine and cannot be downloaded.
    """
    if name not in KINDS:
        raise SettingsError(f"There is no perceptual distance '{name}': {nearest(name, list(KINDS))}.")
    kind = KINDS[name]
    if kind.whole:
        tensors = weights.get(kind.whole).load()
        trunk, heads = tensors, tensors
    else:
        trunk, heads = weights.get(kind.classifier).load(), weights.get(kind.heads).load()
    return fill(Perceptual(kind.trunk(), kind.widths), trunk, heads)


def fill(distance: Perceptual, trunk: Mapping[str, Tensor], heads: Mapping[str, Tensor]) -> Perceptual:
    """Fill a distance with weights, as their authors name them.

    Args:
        distance: Distance that is filled.
        trunk: Name -> tensor, such as "net.slice2.5.weight", or "features.5.weight" of a classifier.
        heads: Name -> tensor, such as "lin2.model.1.weight".

    Returns:
        The same distance.
    """
    tensors = {}
    for name in distance.net.state_dict():
        number = name.partition(".")[2]
        tensors[name] = trunk[f"net.{name}"] if f"net.{name}" in trunk else trunk[f"features.{number}"]
    distance.net.load_state_dict(tensors)
    for index, head in enumerate(distance.heads):
        head.data.copy_(heads[f"lin{index}.model.1.weight"])
    return distance

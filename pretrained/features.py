"""Deep features of networks trained on ImageNet, by timm."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybrid_dip.cli.quiet import is_quiet
from hybrid_dip.errors import SettingsError, nearest, shorten_error
from pretrained import weights
from pretrained.shared_networks import load_once
from pretrained.weights import WeightsError

DEFAULT = "tf_efficientnet_lite0"
CARRIED = {DEFAULT: "efficientnet-lite0"}
"""Model of timm -> name of the weights that this project can load without a network."""

SMALLEST = 32
"""Side in pixels below which images are continued by their borders: deep layers need some pixels."""


class Features(nn.Module):
    """x -> feature maps, or scores, frozen and in evaluation mode, with gradients to x.

    Args:
        trunk: Normalised x of three channels -> feature maps or scores.
        mean: Mean of its training images, for each channel.
        deviation: Standard deviation of its training images, for each channel.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, trunk: nn.Module, mean: Sequence[float], deviation: Sequence[float]):
        super().__init__()
        self.trunk = trunk
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "Features":
        """Stay in evaluation mode: the statistics of batch norm are those of the training images."""
        return super().train(False)

    def forward(self, x: Tensor) -> Any:
        """Look at an image.

        Args:
            x: (N, 3, H, W) or (N, 1, H, W) in [0, 1], of any size.

        Returns:
            The trunk's output: maps, (N, C, h, w) each, from fine to coarse, or scores, (N, classes).

        Raises:
            SettingsError: The image has neither 1 nor 3 channels.
        """
        return self.trunk((as_colour(x, "Deep features") - self.mean) / self.deviation)


def as_colour(x: Tensor, who: str, smallest: int = SMALLEST) -> Tensor:
    """Give an image three channels and at least ``smallest`` pixels a side.

    Args:
        x: (N, 3, H, W) or (N, 1, H, W).
        who: What needs the image, for messages.
        smallest: Side in pixels below which the image is continued by its borders.

    Returns:
        (N, 3, H', W').

    Raises:
        SettingsError: Another number of channels.
    """
    if x.shape[1] not in (1, 3):
        raise SettingsError(f"{who} need an image of 1 or 3 channels, got {x.shape[1]}.")
    height, width = x.shape[-2:]
    padding = (0, max(0, smallest - width), 0, max(0, smallest - height))
    return F.pad(x.expand(-1, 3, -1, -1), padding, mode="replicate")


@load_once
def load_features(model: str = DEFAULT, layers: tuple[int, ...] = (0, 1, 2)) -> Features:
    """Load a network of timm, trained on ImageNet, up to some of its stages.

    Args:
        model: A name of timm; the default's weights come with the extra ``offline``, others are downloaded by timm.
        layers: Numbers of its stages, from 0, fine to coarse.

    Returns:
        The network, on the CPU.

    Raises:
        SettingsError: An unknown model or stage.
        WeightsError: The weights are not on this machine and cannot be downloaded.
    """
    try:
        return _load(model, features_only=True, out_indices=layers)
    except (IndexError, AssertionError):
        raise SettingsError(f"The layers {layers} of '{model}' cannot be taken; it has no such stages.") from None


@load_once
def load_classifier(model: str = DEFAULT) -> Features:
    """Load a classifier of timm, trained on ImageNet: x -> scores of the classes before the softmax, (N, classes).

    Args:
        model: A name of timm; the default's weights come with the extra ``offline``, others are downloaded by timm.

    Returns:
        The network, on the CPU.

    Raises:
        SettingsError: An unknown model.
        WeightsError: The weights are not on this machine and cannot be downloaded.
    """
    return _load(model)


def _load(model: str, **options: Any) -> Features:
    try:
        import timm
    except ImportError:
        raise SettingsError("Networks trained on ImageNet need timm: pip install timm.") from None
    if model not in timm.list_models():
        raise SettingsError(f"timm has no model '{model}': {nearest(model, timm.list_models())}.")
    carried = CARRIED.get(model)
    if carried is None and is_quiet():
        from huggingface_hub.utils.tqdm import disable_progress_bars  # timm downloads with it

        disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about names that timm no longer uses
            trunk = timm.create_model(model, pretrained=carried is None, **options)
    except (IndexError, AssertionError):  # stages that the model does not have
        raise
    except Exception as error:  # timm raises many kinds, with a network and without one
        raise WeightsError(
            f"timm cannot load '{model}' ({type(error).__name__}: {shorten_error(error)}); models that work with no network: "
            f"{', '.join(CARRIED)}, or those in timm's own cache."
        ) from None
    if carried is not None:
        load_in_order(trunk, weights.get(carried).load(), model)
    settings: Any = trunk.pretrained_cfg
    return Features(trunk, settings["mean"], settings["std"])


def load_in_order(network: nn.Module, tensors: dict[str, Tensor], name: str) -> None:
    """Load weights whose names differ but whose order is the network's; tensors after its last one are left out.

    Args:
        network: Network that is filled.
        tensors: Name -> tensor, in order.
        name: Name of the network, for messages.

    Raises:
        WeightsError: A shape differs.
    """
    own = network.state_dict()
    given = list(tensors.values())[: len(own)]
    if len(given) < len(own) or any(a.shape != b.shape for a, b in zip(own.values(), given, strict=True)):
        raise WeightsError(f"The weights do not fit the network '{name}'; another version of timm may have changed it.")
    network.load_state_dict(dict(zip(own, given, strict=True)))

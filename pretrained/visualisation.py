"""What a classifier has learnt, drawn by an untrained network: the original's feature inversion and activation maximisation.

Both are restorations whose operator A is a part of the classifier: inversion looks for the image with the same features,
maximisation for the one that a class or a channel likes best (Ulyanov, Vedaldi & Lempitsky 2018, section 3.6; Mahendran &
Vedaldi 2015 for the two problems). The recipes are in hybrid_dip/presets.py.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError, nearest
from hybrid_dip.problem.fidelity import gaussian
from pretrained.features import DEFAULT, load_classifier, load_features

SHOWN = 224
"""Side in pixels of the images that most classifiers were trained on."""


class Stages(nn.Module):
    """A x: the maps of some stages in one row, so scaled that a mean of squares over it is the mean over the stages of theirs.

    Args:
        features: x -> maps.
    """

    def __init__(self, features: nn.Module):
        super().__init__()
        self.features = features

    def forward(self, x: Tensor) -> Tensor:
        """Look at x, (1, C, H, W).

        Returns:
            (1, n).
        """
        maps = [found.flatten(1) for found in self.features(x)]
        total = sum(found.shape[1] for found in maps)
        return torch.cat([found * math.sqrt(total / (len(maps) * found.shape[1])) for found in maps], 1)


class Unit(nn.Module):
    """A x: how much one class, or one channel of a stage, likes x.

    Args:
        network: x -> scores, or a list of one map.
        unit: Index of the class or the channel.
        layer: Of the stage; None for a class.
    """

    def __init__(self, network: nn.Module, unit: int, layer: int | None):
        super().__init__()
        self.network = network
        self.unit = unit
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Look at x, (1, C, H, W).

        Returns:
            (1,): the score before the softmax, or the channel's mean.
        """
        found = self.network(x)
        scores = found if self.layer is None else found[0].mean((-2, -1))
        if not 0 <= self.unit < scores.shape[1]:
            what = "class" if self.layer is None else "channel"
            of = "" if self.layer is None else f" of stage {self.layer}"
            raise SettingsError(f"There is no {what} {self.unit}{of}; they are 0 to {scores.shape[1] - 1}.")
        chosen: Tensor = scores[:, self.unit]
        return chosen


def largest(prediction: Tensor, observation: Tensor, weight: Tensor | None = None) -> Tensor:
    """E where there is nothing to come near to: the larger, the better.

    Args:
        prediction: (1,).
        observation: Not used.
        weight: Not used.

    Returns:
        ().
    """
    return -prediction.mean()


def invert_features(image: Tensor, *, model: str = DEFAULT, layers: Sequence[int] = (2,)) -> Task:
    """Find the image that has the features of another one: what a classifier's stages know of it.

    Args:
        image: (1, C, H, W) in [0, 1], C 1 or 3.
        model: A classifier of timm.
        layers: Its stages, from 0, fine to coarse.

    Returns:
        The task, whose observation is the features.

    Raises:
        SettingsError: An unknown model or stage, or an image of other channels or below 16x16 pixels.
        WeightsError: The weights are not here and cannot be downloaded.
    """
    forward = Stages(load_features(model, tuple(layers)))
    with torch.no_grad():
        y = forward(image)
    height, width = image.shape[-2:]
    return Task(y, (1, image.shape[1], height, width), forward, gaussian, name="invert-features")


def maximise_activation(unit: int, *, model: str = DEFAULT, layer: int | None = None, size: int = SHOWN) -> Task:
    """Find the image that a class of a classifier, or a channel of one of its stages, likes best.

    Args:
        unit: Index of the class or the channel.
        model: A classifier of timm.
        layer: A stage, from 0; None for a class.
        size: Side of the image.

    Returns:
        The task; its observation, 0, is not used.

    Raises:
        SettingsError: An unknown model, stage, class or channel, or a size below 16.
        WeightsError: The weights are not here and cannot be downloaded.
    """
    network = load_classifier(model) if layer is None else load_features(model, (layer,))
    task = Task(torch.zeros(1), (1, 3, size, size), Unit(network, unit, layer), largest, name="maximise-activation")
    with torch.no_grad():
        task.forward(torch.zeros(1, 3, 32, 32))  # says so now where there is no such unit
    return task


def read_class(text: str, model: str = DEFAULT) -> int:
    """The index of a class.

    Args:
        text: A number, or a name of one of ImageNet's 1000 classes, such as "espresso"; a class may have several.
        model: That has the class.

    Returns:
        The index.

    Raises:
        SettingsError: No such name, one that several classes have, or a name for a classifier of other classes.
        WeightsError: The weights are not here and cannot be downloaded.
    """
    if text.isdecimal():
        return int(text)
    classes = class_names(model)
    if classes is None:
        raise SettingsError(f"The classes of '{model}' are not ImageNet's 1000: give the number of one.")
    asked = text.strip().lower()
    found = [index for index, names in enumerate(classes) if asked in map(str.lower, names)]
    if not found:
        known = sorted({name.lower() for names in classes for name in names})
        raise SettingsError(f"ImageNet has no class '{text}': {nearest(asked, known)}.")
    if len(found) > 1:
        raise SettingsError(
            f"ImageNet has {len(found)} classes '{text}': give the number of one, {' or '.join(map(str, found))}."
        )
    return found[0]


def class_names(model: str = DEFAULT) -> list[list[str]] | None:
    """The names of each class of a classifier, by index, or None where the classes are not ImageNet's 1000.

    Args:
        model: Of timm.

    Returns:
        For each class the usual name first, then the others.

    Raises:
        SettingsError: An unknown model, or timm is not installed.
        WeightsError: The weights are not here and cannot be downloaded.
    """
    classes = load_classifier(model)(torch.zeros(1, 3, 32, 32)).shape[1]
    from timm.data import ImageNetInfo  # after the classifier, which says so where timm is missing

    info = ImageNetInfo()
    if classes != info.num_classes():
        return None
    return [info.index_to_description(index).split(", ") for index in range(classes)]


def likely(image: Tensor, model: str = DEFAULT, count: int = 3) -> list[tuple[str, float]]:
    """What a classifier takes an image for.

    Args:
        image: (1, C, H, W) in [0, 1], C 1 or 3, on the CPU.
        model: Of timm.
        count: How many classes.

    Returns:
        Class and probability, the likeliest first.
    """
    with torch.no_grad():
        probabilities, indices = load_classifier(model)(image).softmax(1)[0].topk(count)
    names = class_names(model)
    labels = [str(int(index)) if names is None else names[int(index)][0] for index in indices]
    return list(zip(labels, map(float, probabilities), strict=True))

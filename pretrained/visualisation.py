"""Feature inversion and activation maximisation: an untrained network draws what a classifier has learnt.

Both are restorations whose operator A is a part of the classifier (Ulyanov, Vedaldi & Lempitsky 2018, section 3.6; Mahendran &
Vedaldi 2015 for the two problems). Inversion looks for the image with the same features, maximisation for the image with the
largest score of a class or activation of a channel. The recipes are in hybrid_dip/recipes/original.py.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError, nearest
from hybrid_dip.problem.fidelity import gaussian, l1
from pretrained.features import DEFAULT, load_classifier, load_features

SHOWN = 224
"""Side in pixels of the images that most classifiers were trained on."""


class Stages(nn.Module):
    """A x: the maps of some stages in one row, scaled so that each stage has the same part in a mean of squares.

    Args:
        features: x -> maps.
    """

    def __init__(self, features: nn.Module):
        super().__init__()
        self.features = features

    def forward(self, x: Tensor) -> Tensor:
        """The features of x, (1, C, H, W), as (1, n)."""
        rows = [one.flatten(1) for one in self.features(x)]
        total = sum(row.shape[1] for row in rows)
        return torch.cat([row * math.sqrt(total / (len(rows) * row.shape[1])) for row in rows], 1)


class Unit(nn.Module):
    """A x: the score of one class, or the activation of one channel of a stage.

    Args:
        network: x -> scores, or a list of one map.
        unit: Index of the class or the channel.
        layer: Number of the stage; None for a class.
    """

    def __init__(self, network: nn.Module, unit: int, layer: int | None):
        super().__init__()
        self.network = network
        self.unit = unit
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """The score of x, (1, C, H, W), before the softmax, or the channel's mean, as (1,)."""
        output = self.network(x)
        scores = output if self.layer is None else output[0].mean((-2, -1))
        if not 0 <= self.unit < scores.shape[1]:
            what = "class" if self.layer is None else "channel"
            of = "" if self.layer is None else f" of stage {self.layer}"
            raise SettingsError(f"There is no {what} {self.unit}{of}; they are 0 to {scores.shape[1] - 1}.")
        chosen: Tensor = scores[:, self.unit]
        return chosen


def negative_mean(prediction: Tensor, observation: Tensor, weight: Tensor | None = None) -> Tensor:
    """E of a task without an observation: the larger the prediction, the better.

    Args:
        prediction: A x, (1,).
        observation: Not used.
        weight: Not used.

    Returns:
        The energy, ().
    """
    return -prediction.mean()


def invert_features(image: Tensor, *, model: str = DEFAULT, layers: Sequence[int] = (2,)) -> Task:
    """Find the image that has the features of another one to a classifier.

    Args:
        image: (1, C, H, W) in [0, 1], C 1 or 3.
        model: Classifier of timm.
        layers: Numbers of its stages, from 0, fine to coarse.

    Returns:
        The task, whose observation are the features.

    Raises:
        SettingsError: An unknown model or stage, or an image of other channels or below 16x16 pixels.
        WeightsError: The weights are not on this machine and cannot be downloaded.
    """
    forward = Stages(load_features(model, tuple(layers)))
    with torch.no_grad():
        y = forward(image)
    height, width = image.shape[-2:]
    return Task(y, (1, image.shape[1], height, width), forward, gaussian, name="invert-features")


def maximise_activation(
    unit: int, *, model: str = DEFAULT, layer: int | None = None, size: int = SHOWN, target: float | None = None
) -> Task:
    """Find the image with the largest score of a class, or the largest activation of a channel.

    Args:
        unit: Index of the class or the channel.
        model: Classifier of timm.
        layer: Number of a stage, from 0; None for a class.
        size: Side of the image in pixels.
        target: What the score or activation s is driven to, E = |s - target|; the original takes 300 for a class. None: as
            large as possible, E = -s, as in the original for a channel. The gradients are the same below the target.

    Returns:
        The task; its observation is the target, or 0, which is not used.

    Raises:
        SettingsError: An unknown model, stage, class or channel, a size below 16, or a target that is not finite.
        WeightsError: The weights are not on this machine and cannot be downloaded.
    """
    network = load_classifier(model) if layer is None else load_features(model, (layer,))
    if target is not None and not math.isfinite(target):
        raise SettingsError(
            f"The target of an activation must be a finite number, such as 300, got {target}; leave it out for none."
        )
    fidelity = negative_mean if target is None else l1
    y = torch.tensor([target or 0.0])
    task = Task(y, (1, 3, size, size), Unit(network, unit, layer), fidelity, name="maximise-activation")
    with torch.no_grad():
        task.forward(torch.zeros(1, 3, 32, 32))  # raises here if there is no such unit
    return task


def read_class(text: str, model: str = DEFAULT) -> int:
    """Read the index of a class.

    Args:
        text: A number, or a name of one of ImageNet's 1000 classes, such as "espresso"; a class may have several names.
        model: Classifier of timm.

    Returns:
        The index.

    Raises:
        SettingsError: No class or several have the name, or the classes of the model are not ImageNet's.
        WeightsError: The weights are not on this machine and cannot be downloaded.
    """
    if text.isdecimal():
        return int(text)
    classes = class_names(model)
    if classes is None:
        raise SettingsError(f"The classes of '{model}' are not ImageNet's 1000: give the number of one.")
    asked = text.strip().lower()
    matches = [index for index, names in enumerate(classes) if asked in map(str.lower, names)]
    if not matches:
        known = sorted({name.lower() for names in classes for name in names})
        raise SettingsError(f"ImageNet has no class '{text}': {nearest(asked, known)}.")
    if len(matches) > 1:
        raise SettingsError(
            f"ImageNet has {len(matches)} classes '{text}': give the number of one, {' or '.join(map(str, matches))}."
        )
    return matches[0]


def class_names(model: str = DEFAULT) -> list[list[str]] | None:
    """The names of each class of a classifier, by index.

    Args:
        model: Classifier of timm.

    Returns:
        For each class the usual name first, then the others; None if the classes are not ImageNet's 1000.

    Raises:
        SettingsError: An unknown model, or timm is not installed.
        WeightsError: The weights are not on this machine and cannot be downloaded.
    """
    classes = load_classifier(model)(torch.zeros(1, 3, 32, 32)).shape[1]
    from timm.data import ImageNetInfo  # after the classifier, whose error is the better one if timm is missing

    info = ImageNetInfo()
    if classes != info.num_classes():
        return None
    return [info.index_to_description(index).split(", ") for index in range(classes)]


def likeliest_classes(image: Tensor, model: str = DEFAULT, count: int = 3) -> list[tuple[str, float]]:
    """The classes that an image most likely belongs to.

    Args:
        image: (1, C, H, W) in [0, 1], C 1 or 3, on the CPU.
        model: Classifier of timm.
        count: Number of classes.

    Returns:
        Class and probability, the likeliest first.
    """
    with torch.no_grad():
        probabilities, indices = load_classifier(model)(image).softmax(1)[0].topk(count)
    names = class_names(model)
    labels = [str(int(index)) if names is None else names[int(index)][0] for index in indices]
    return list(zip(labels, map(float, probabilities), strict=True))

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hybrid_dip.errors import SettingsError
from pretrained import weights
from pretrained.features import load_features, load_in_order
from pretrained.weights import WeightsError

pytestmark = pytest.mark.skipif(weights.get("efficientnet-lite0").here() is None, reason="the extra offline is not installed")


def sample(name: str) -> Tensor:
    """The centre of a photograph of scikit-image, as the classifier wants it."""
    import skimage.data

    x = torch.from_numpy(getattr(skimage.data, name)()).permute(2, 0, 1)[None].float() / 255
    side = min(x.shape[-2:])
    top, left = ((n - side) // 2 for n in x.shape[-2:])
    square = x[..., top : top + side, left : left + side]
    return (F.interpolate(square, (224, 224), mode="bicubic", antialias=True) - 0.5) / 0.5


def test_the_weights_classify_a_cat_and_an_espresso() -> None:
    import timm

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    load_in_order(network, weights.get("efficientnet-lite0").load(), "tf_efficientnet_lite0")
    with torch.no_grad():
        found = [int(network(sample(name)).argmax()) for name in ("cat", "coffee")]
    assert found == [285, 967], "Egyptian cat, espresso"


def test_the_features_are_those_of_the_classifier() -> None:
    import timm

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    load_in_order(network, weights.get("efficientnet-lite0").load(), "tf_efficientnet_lite0")
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = network.forward_features((x - 0.5) / 0.5)
        deepest = load_features(layers=(4,))(x)[0]
        torch.testing.assert_close(network.bn2(network.conv_head(deepest)), expected)


@pytest.mark.parametrize("shape", [(1, 3, 64, 48), (1, 1, 17, 23), (1, 3, 16, 16)])
def test_any_size_grey_or_colour(shape: tuple[int, ...]) -> None:
    x = torch.rand(shape, requires_grad=True)
    features = load_features()
    found = features.train()(x)
    assert [f.shape[1] for f in found] == [16, 24, 40]
    (gradient,) = torch.autograd.grad(sum((f.square().mean() for f in found), torch.zeros(())), x)
    assert float(gradient.abs().sum()) > 0
    assert not any(module.training for module in features.modules())
    assert not any(parameter.requires_grad for parameter in features.parameters())


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(SettingsError, match="1 or 3 channels, got 5"):
        load_features()(torch.rand(1, 5, 32, 32))
    with pytest.raises(SettingsError, match="timm has no model 'resnet-18'"):
        load_features("resnet-18")
    with pytest.raises(SettingsError, match=r"layers \(9,\)"):
        load_features(layers=(9,))
    with pytest.raises(WeightsError, match="do not fit the network"):
        load_in_order(torch.nn.Linear(2, 2), {"weight": torch.ones(3, 3), "bias": torch.ones(2)}, "mine")

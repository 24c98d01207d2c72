import copy
import itertools
from typing import Any

import pytest
import torch
from torch import nn

from hybrid_dip import networks
from hybrid_dip.errors import SettingsError
from hybrid_dip.networks import blocks, convolution, skip
from hybrid_dip.networks.convolution import Padding, drop_idle_biases
from hybrid_dip.networks.kernels import reflection
from hybrid_dip.networks.padded import Padded


class Inner(torch.nn.Module):
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        assert z.shape[-1] % 8 == 0
        assert z.shape[-2] % 8 == 0
        return z * 2


def test_padded_crops_its_own_padding_away() -> None:
    z = torch.rand(1, 2, 17, 30)
    torch.testing.assert_close(Padded(Inner(), 8)(z), z * 2)


def test_padded_reflects_as_often_as_needed() -> None:
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            seen.append(z)
            return z

    Padded(Spy(), 8, smallest=2)(torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 1, 3).expand(1, 1, 3, 3))
    # six entries to the left of the three, seven to the right: the pattern 1 2 3 2 1 2 3 ... without gaps
    assert seen[0][0, 0, 0].tolist() == [3, 2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2]


def test_padded_leaves_sizes_that_fit_alone() -> None:
    assert Padded(Inner(), 8).padded_size(16) == 16
    assert Padded(Inner(), 8).padded_size(15) == 16
    assert Padded(Inner(), 8, smallest=3).padded_size(16) == 24


def test_skip_takes_one_value_a_scale() -> None:
    network = networks.skip(
        4,
        down=(8, 8),
        skip=(2, 0),
        upsample=("nearest", "bilinear"),
        downsample=("avg", "lanczos2"),
        kernel_down=(5, 3),
        padding="reflection",
    )
    assert network(torch.rand(1, 4, 16, 24)).shape == (1, 3, 16, 24)


@pytest.mark.parametrize("downsample", ["stride", "avg", "max", "lanczos2", "lanczos3"])
@pytest.mark.parametrize("activation", ["leaky_relu", "swish", "elu", "none"])
def test_skip_choices(downsample: blocks.Downsampling, activation: blocks.Activation) -> None:
    network = networks.skip(2, 1, down=(4, 4), skip=(2, 2), downsample=downsample, activation=activation, sigmoid=False)
    assert network(torch.rand(1, 2, 16, 16)).shape == (1, 1, 16, 16)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"down": (4, 4), "skip": (2,)}, "as many values"),
        ({"down": (4, 4), "skip": (2, 2), "upsample": ("nearest",)}, "2 scales, but 'upsample' has 1"),
        ({"upsample": "bilinar"}, "did you mean 'bilinear'"),
        ({"downsample": "strid"}, "did you mean 'stride'"),
        ({"padding": "reflect"}, "did you mean 'reflection'"),
        ({"activation": "relu"}, "Unknown activation 'relu'"),
        ({"kernel_down": 4}, "must be odd"),
    ],
)
def test_skip_says_what_is_wrong(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        networks.skip(4, **options)


@pytest.mark.parametrize("more_layers", [0, 1, 2])
@pytest.mark.parametrize("upsample", ["deconv", "nearest", "bilinear"])
def test_unet_of_any_depth(more_layers: int, upsample: str) -> None:
    network = networks.unet(3, feature_scale=16, more_layers=more_layers, upsample=upsample, concat_input=True)  # type: ignore[arg-type]
    assert network(torch.rand(1, 3, 40, 20)).shape == (1, 3, 40, 20)


def test_unet_has_the_widths_that_its_words_say() -> None:
    network = networks.unet(1, feature_scale=8, more_layers=1)
    # start, four downs, one extra at the last width; two convolutions with bias each
    widths = [8, 16, 32, 64, 128, 128]
    levels = sum((9 * a + 1) * b + (9 * b + 1) * b for a, b in zip([1, *widths[:-1]], widths, strict=True))
    rises = sum(
        (16 * below) * own + own + (9 * 2 * own + 1) * own + (9 * own + 1) * own
        for below, own in [(128, 128), (128, 64), (64, 32), (32, 16), (16, 8)]
    )
    assert sum(p.numel() for p in network.parameters()) == levels + rises + (8 + 1) * 3


def assert_made_from(network: torch.nn.Module, layers: list[torch.nn.Module]) -> None:
    """The network's convolutions hold the weights that making these layers in this order gives."""
    convolutions = (torch.nn.Conv2d, torch.nn.ConvTranspose2d)
    expected = [layer.weight for layer in layers if isinstance(layer, convolutions)]
    found = {id(module): module.weight for module in network.modules() if isinstance(module, convolutions)}
    assert len(found) == len(expected)
    unmatched = list(found.values())
    for weight in expected:
        same = [i for i, other in enumerate(unmatched) if other.shape == weight.shape and torch.equal(other, weight)]
        assert same, f"no layer holds the draws of {tuple(weight.shape)}"
        unmatched.pop(same[0])


def test_unet_draws_its_weights_in_the_originals_order() -> None:
    """Start, downs 1..4, the extra down, the extra up, ups 4..1, the output."""
    conv, deconv = torch.nn.Conv2d, torch.nn.ConvTranspose2d
    torch.manual_seed(0)
    widths = [4, 8, 16, 32, 64, 64]
    layers: list[torch.nn.Module] = []
    for above, width in zip([5, *widths[:-1]], widths, strict=True):
        layers += [conv(above, width, 3), conv(width, width, 3)]
    for below, width in [(64, 64), (64, 32), (32, 16), (16, 8), (8, 4)]:
        layers += [deconv(below, width, 4), conv(2 * width, width, 3), conv(width, width, 3)]
    layers += [conv(4, 3, 1)]
    torch.manual_seed(0)
    assert_made_from(networks.unet(5, feature_scale=16, more_layers=1), layers)


def test_resnet_draws_its_weights_in_the_originals_order() -> None:
    conv = torch.nn.Conv2d
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = [conv(5, 8, 3)]
    layers += [conv(8, 8, 3, bias=False) for _ in range(6)]
    layers += [conv(8, 8, 3), conv(8, 3, 3)]
    torch.manual_seed(0)
    assert_made_from(networks.resnet(5, blocks=3, channels=8), layers)


@pytest.mark.parametrize(
    ("options", "side"),
    [
        # the original's feature inversion at 128: zero padding needs nothing but two pixels at the bottom
        ({"down": (4,) * 6, "skip": (0,) * 6, "kernel_down": (7, 7, 5, 5, 3, 3), "downsample": "avg", "padding": "zero"}, 128),
        ({"down": (4,) * 5, "skip": (2,) * 5, "kernel_skip": 5, "padding": "reflection"}, 64),
        ({"down": (4,) * 5, "skip": (2,) * 5, "kernel_down": (9, 3, 3, 3, 3), "padding": "reflection"}, 64),
    ],
)
def test_sizes_that_the_original_takes_are_not_padded(options: dict[str, Any], side: int) -> None:
    network = networks.skip(1, **options)
    assert network.padded_size(side) == side
    z = torch.rand(1, 1, side, side)
    assert torch.equal(network(z), network.network(z))


def test_a_large_reflected_kernel_gets_the_room_that_it_needs() -> None:
    network = networks.skip(1, down=(4, 4), skip=(0, 0), kernel_down=7, padding="reflection")
    assert network.padded_size(8) == 16
    assert network(torch.rand(1, 1, 8, 8)).shape == (1, 3, 8, 8)


def test_resnet_has_the_layers_that_its_words_say() -> None:
    network = networks.resnet(1, blocks=8, channels=32)
    block = 2 * (9 * 32 * 32) + 2 * 64
    expected = (9 * 1 + 1) * 32 + 8 * block + (9 * 32 + 1) * 32 + 64 + (9 * 32 + 1) * 3
    assert sum(p.numel() for p in network.parameters()) == expected


@pytest.mark.parametrize(("width", "parameters"), [(64, 25536), (128, 100224)])
def test_decoder_is_that_of_its_authors(width: int, parameters: int) -> None:
    """Six layers, the last without a doubling, as their code makes them and with the paper's numbers of parameters."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for i in range(6):
        layers.append(nn.Conv2d(width, width, 1, bias=False))
        if i < 5:
            layers.append(nn.Upsample(scale_factor=2, mode="bilinear"))
        layers += [nn.ReLU(), nn.BatchNorm2d(width)]
    authors = nn.Sequential(*layers, nn.Conv2d(width, 3, 1, bias=False), nn.Sigmoid())
    torch.manual_seed(0)
    network = networks.decoder(width, channels=(width,) * 5)
    assert sum(p.numel() for p in network.parameters()) == parameters
    z = torch.rand(1, width, 64, 96)
    torch.testing.assert_close(network(z), authors(z[..., ::32, ::32]), atol=1e-5, rtol=0)


def test_decoder_reads_a_coarse_latent_and_has_few_parameters() -> None:
    network = networks.decoder(32, channels=(16, 16))
    assert sum(p.numel() for p in network.parameters()) == 32 * 16 + 2 * 16 * 16 + 16 * 3 + 6 * 16
    z = torch.rand(1, 32, 16, 16)
    changed = z.clone()
    changed[..., 1, 1] += 1
    torch.testing.assert_close(network(z), network(changed))


def test_s2s_is_the_network_of_dip_sures_runs() -> None:
    """A second, plain one from the same seed: twice (3x3, norm, softplus) at each scale, nearest neighbours on the way up."""

    def stages(*widths: int, stride: int = 1) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for one, other in itertools.pairwise(widths):
            layers += [
                nn.Conv2d(one, other, 3, stride, 1, padding_mode="reflect"), nn.BatchNorm2d(other), nn.Softplus(),
            ]  # fmt: skip
            stride = 1
        return layers

    torch.manual_seed(0)
    down = [nn.Sequential(*stages(width, 48, 48, stride=2)) for width in (3, 48, 48, 48, 48)]
    deepest = nn.Sequential(*stages(48, 96))
    up = [nn.Sequential(nn.BatchNorm2d(144), *stages(144, 96, 96)) for _ in range(4)]
    head = nn.Sequential(*stages(99, 64, 32), nn.Conv2d(32, 3, 3, 1, 1, padding_mode="reflect"), nn.Sigmoid())
    torch.manual_seed(0)
    network = networks.s2s(3)
    z = torch.rand(1, 3, 64, 96)

    maps = [z]
    for one in down:
        maps.append(one(maps[-1]))
    x = deepest(maps.pop())
    for part in (*up, head):
        x = part(torch.cat([nn.functional.interpolate(x, scale_factor=2), maps.pop()], 1))
    torch.testing.assert_close(network(z), x, atol=1e-5, rtol=0)


def test_pixels_is_its_own_parameter() -> None:
    network = networks.pixels(32, 3, size=(16, 20), level=0.25)
    assert network(torch.rand(1, 32, 16, 20)).unique().tolist() == [0.25]
    assert [p.shape for p in network.parameters()] == [(1, 3, 16, 20)]


def test_the_image_of_pixels_stays_when_they_move() -> None:
    network = networks.pixels(1, 3, size=(4, 4))
    before = network(torch.zeros(1))
    with torch.no_grad():
        network.image.add_(1)
    assert float(before.detach().max()) == 0.5


def test_in_half_precision_maps_stay_in_half_precision() -> None:
    network = skip(8, down=(8, 8), up=(8, 8), skip=(4, 4), upsample="bilinear", padding="reflection")
    seen = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Upsample):
            module.register_forward_hook(lambda module, given, output: seen.append((given[0].dtype, output.dtype)))
    with torch.autocast("cpu", torch.bfloat16):
        network(torch.rand(1, 8, 32, 32))
    assert len(seen) > 8
    assert {output for _, output in seen} == {torch.bfloat16}
    assert sum(given == torch.float32 for given, _ in seen) == 2, "z, to the two branches of the first scale"


@pytest.mark.parametrize("padding", ["zero", "reflection"])
def test_biases_that_batch_norm_takes_away_are_left_out(padding: Padding) -> None:
    network = skip(8, down=(8, 8), up=(8, 8), skip=(4, 4), padding=padding).double()
    other, z = drop_idle_biases(copy.deepcopy(network)), torch.rand(1, 8, 32, 32, dtype=torch.double)
    torch.testing.assert_close(other(z), network(z))
    named = dict(other.named_parameters())
    gradients = torch.autograd.grad(other(z).square().sum(), list(named.values()), allow_unused=True)
    without = {name for name, gradient in zip(named, gradients, strict=True) if gradient is None}
    convolutions = {f"{name}.bias" for name, module in other.named_modules() if isinstance(module, nn.Conv2d)}
    assert without < convolutions
    assert len(convolutions - without) == 1, "the last one is followed by no batch norm"
    expected = torch.autograd.grad(network(z).square().sum(), list(network.parameters()))
    for one, usual in zip(gradients, expected, strict=True):
        torch.testing.assert_close(torch.zeros_like(usual) if one is None else one, usual, atol=1e-9, rtol=1e-6)
    assert list(other.state_dict()) == list(network.state_dict())
    assert all(not named[name].any() for name in without)


@pytest.mark.parametrize("kernel", [3, 5])
def test_what_a_gpu_does_to_a_convolution_changes_no_result(kernel: int, monkeypatch: pytest.MonkeyPatch) -> None:
    widths = {"down": (8, 8), "up": (8, 8), "skip": (4, 4)}
    network = skip(9, **widths, padding="reflection", kernel_up=kernel, kernel_down=kernel).double()
    z = torch.rand(1, 9, 32, 32, dtype=torch.double)
    expected = network(z)
    usual = torch.autograd.grad(expected.square().sum(), list(network.parameters()))
    padded: list[int] = []
    monkeypatch.setattr(reflection, "pays", lambda x: padded.append(x.shape[1]) or True)
    monkeypatch.setattr(convolution, "_missing_channels", lambda x: -x.shape[1] % 8)
    found = network(z)
    torch.testing.assert_close(found, expected)
    assert set(padded) == {8, 16}, "9 channels of z and 12 of each merger are made 16"
    for one, other in zip(torch.autograd.grad(found.square().sum(), list(network.parameters())), usual, strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-6)

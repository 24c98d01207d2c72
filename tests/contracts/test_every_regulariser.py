"""One list of laws for every regulariser in the catalogue, family by family, and for those that the documentation shows."""

import ast
import re
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybrid_dip import networks
from hybrid_dip.contracts import Fit
from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting.checkpoint import Checkpoint
from hybrid_dip.fitting.fit import fit
from hybrid_dip.networks import latents
from hybrid_dip.problem import tasks
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.regularisers.terms import Term

ROOT = Path(__file__).parents[2]


def shown(page: str) -> Mapping[str, Any]:
    """What the Python of a page imports and defines; its other lines would restore an image."""
    text = "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL))
    kept = [
        node for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)
    ]
    names: dict[str, Any] = {"__name__": page}
    exec(compile(ast.Module(kept, []), page, "exec"), names)
    return names


def of_plugin() -> Any:
    """The example plug-in's own file, which is not installed here."""
    found = spec_from_file_location("example_priors", ROOT / "examples/hybrid-dip-example/hybrid_dip_example/priors.py")
    assert found is not None
    assert found.loader is not None
    module = module_from_spec(found)
    sys.modules[module.__name__] = module  # dataclasses look it up
    found.loader.exec_module(module)
    return module


EXAMPLES: dict[str, Any] = {
    "README's laplacian": lambda: shown("README.md")["laplacian"],
    "extending's laplacian": lambda: shown("docs/extending.md")["laplacian"],
    "extending's Anchor": lambda: shown("docs/extending.md")["Anchor"](),
    "the plug-in's Checkerboard": lambda: of_plugin().Checkerboard(),
}
"""Name -> what makes it."""
OF_THE_PAST = ("extending's Anchor",)
"""Zero at the image that it has looked at last."""

ENTRIES = catalogue().entries("regularisers")
REGULARISERS = [*sorted(ENTRIES), *EXAMPLES]
FAMILY = {name: ENTRIES[name].family if name in ENTRIES else "" for name in REGULARISERS}
ON_NETWORK = [name for name in REGULARISERS if FAMILY[name] == "generator"]
ON_IMAGE = [name for name in REGULARISERS if name not in ON_NETWORK]
WITH_GUIDE = [name for name in REGULARISERS if FAMILY[name] == "reference"]
OF_PHOTOGRAPHS = [name for name in REGULARISERS if FAMILY[name] == "learned"]
"""What looks at them was trained on photographs in colour."""
SMALL: dict[str, dict[str, Any]] = {"epll": {"components": 3}}
WITHOUT_ENERGY = ("red",)
WITH_OBSERVATION = ("denoised-observation",)
"""Within a fit only."""


def make(name: str, x: Tensor) -> Any:
    """The regulariser with its own options; a guide where it needs one."""
    if name in EXAMPLES:
        return EXAMPLES[name]()
    options = dict(SMALL.get(name, {}))
    if name in WITH_GUIDE:
        seed = torch.Generator().manual_seed(1)
        options["image"] = (x.detach() + 0.2 * torch.rand(x.shape, generator=seed, dtype=x.dtype)).clamp(0, 1)
    return catalogue().get("regularisers", name)(**options)


def bound(name: str, x: Tensor) -> Any:
    """The regulariser as it is in a fit, after its first look at x."""
    term = Term(make(name, x)).bind(tasks.denoise(x.detach(), sigma=0.1))
    if hasattr(term.regulariser, "refresh"):
        seen = x.detach().flip(-1) if name in OF_THE_PAST else x.detach()
        term.regulariser.refresh(0, seen)
    return term.regulariser


def energy_and_gradient(name: str, x: Tensor) -> tuple[Tensor, Tensor]:
    regulariser = bound(name, x)
    x = x.clone().requires_grad_()
    value = regulariser(x)
    (gradient,) = torch.autograd.grad(value, x)
    return value.detach(), gradient


@pytest.mark.parametrize("name", ON_IMAGE)
@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("kind", ["constant", "noise"])
def test_scalar_and_finite(name: str, channels: int, kind: str) -> None:
    x = torch.full((1, channels, 17, 23), 0.5) if kind == "constant" else 0.5 + 0.1 * torch.randn(1, channels, 17, 23)
    if name in OF_PHOTOGRAPHS and channels == 5:
        with pytest.raises(SettingsError, match="1 or 3 channels, got 5"):
            energy_and_gradient(name, x)
        return
    value, gradient = energy_and_gradient(name, x)
    assert value.shape == ()
    assert bool(torch.isfinite(value))
    assert bool(torch.isfinite(gradient).all())
    assert kind == "constant" or float(gradient.abs().max()) > 0


@pytest.mark.parametrize("name", [name for name in ON_IMAGE if name not in WITHOUT_ENERGY])
def test_the_gradient_is_that_of_the_energy(name: str) -> None:
    x = torch.rand(1, 3 if name in OF_PHOTOGRAPHS else 2, 16, 17, dtype=torch.float64)
    regulariser = bound(name, x)
    assert torch.autograd.gradcheck(regulariser, x.requires_grad_(), fast_mode=True)


@pytest.mark.parametrize("name", ON_IMAGE)
def test_a_mean_per_pixel(name: str) -> None:
    """The same texture, four times as many pixels: the energy stays within a tenth."""
    side = 128 if name in OF_PHOTOGRAPHS else 64  # what a deep layer sees of borders reaches far
    texture = F.avg_pool2d(torch.rand(1, 3, 2 * side + 2, 2 * side + 2), 3, stride=1)
    small, _ = energy_and_gradient(name, texture[..., :side, :side])
    large, _ = energy_and_gradient(name, texture)
    assert float(large) == pytest.approx(float(small), rel=0.1)


@pytest.mark.parametrize("name", ON_IMAGE)
def test_the_same_value_twice_and_in_bfloat16(name: str) -> None:
    x = torch.rand(1, 3, 16, 16)
    regulariser = bound(name, x) if name in WITH_OBSERVATION else make(name, x)
    assert torch.equal(regulariser(x), regulariser(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lower = regulariser(x.requires_grad_())
        (gradient,) = torch.autograd.grad(lower, x)
    assert float(lower.detach()) == pytest.approx(float(regulariser(x).detach()), rel=0.05)
    assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("name", ON_NETWORK)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_energy_of_the_network(name: str, dtype: torch.dtype) -> None:
    network = lean()
    z = torch.rand(1, 8, 16, 16)
    regulariser = bound(name, torch.rand(1, 3, 16, 16))
    buffers = [buffer.clone() for buffer in network.buffers()]
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        regulariser(network, z, network(z).detach())  # what starts here is 0 here
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(1.5)
        for buffer, before in zip(network.buffers(), buffers, strict=True):
            buffer.copy_(before)
        x = network(z)
        buffers = [buffer.clone() for buffer in network.buffers()]
        value = regulariser(network, z, x)
        again = regulariser(network, z, x)
    assert value.shape == ()
    assert torch.equal(value, again)
    assert all(torch.equal(buffer, before) for buffer, before in zip(network.buffers(), buffers, strict=True))
    gradients = torch.autograd.grad(value, list(network.parameters()), allow_unused=True)
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients if gradient is not None)
    assert any(float(gradient.abs().max()) > 0 for gradient in gradients if gradient is not None)


def lean() -> nn.Module:
    return networks.skip(8, 3, down=(8, 8), skip=(2, 2), upsample="bilinear")


@pytest.mark.parametrize("name", REGULARISERS)
def test_a_resumed_fit_goes_on_to_the_same_floats(name: str, photograph: Tensor, tmp_path: Path) -> None:
    """Interrupted between two looks at the estimate, after the state was saved."""

    def once(**options: Any) -> Fit:
        torch.manual_seed(0)
        regulariser = make(name, photograph)
        if is_dataclass(regulariser) and any(field.name == "every" for field in fields(regulariser)):
            regulariser = replace(regulariser, every=4)
        z = latents.uniform(8, (32, 32))
        task = tasks.denoise(photograph, sigma=0.1)
        return fit(lean(), z, task, Term(regulariser, 0.1), max_steps=12, jitter=0.03, log_every=3, **options)

    whole = once()
    checkpoint = Checkpoint(tmp_path / "state.pt", every=3)
    asked = []

    def halt() -> bool:
        asked.append(0)
        return len(asked) == 7

    assert once(checkpoint=checkpoint, halt=halt).steps == 7
    resumed = once(checkpoint=checkpoint)
    assert torch.equal(resumed.last, whole.last)
    values = [[row[column] for column in row if column != "seconds"] for row in (*resumed.history, *whole.history)]
    assert values[: len(values) // 2] == values[len(values) // 2 :]

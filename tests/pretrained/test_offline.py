"""With no route out, every weight that is installed loads, and every prior built on it runs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import socket
import torch
import hybrid_dip as hd
from hybrid_dip import tasks
from hybrid_dip.errors import HybridDIPError
from hybrid_dip.recipes import spec
from hybrid_dip.recipes.catalogue import catalogue
from pretrained import weights

try:
    socket.create_connection(("1.1.1.1", 53), timeout=2)
    print("there is a route out")
except OSError:
    print("no route")
here = {name for name, found in weights.index().items() if found.here() is not None}
for name in sorted(here):
    weights.get(name).load()
    print("loaded", name)
names = catalogue()
priors = ["red:denoiser=bundled@0.1", "red:denoiser=ffdnet@0.1", "denoised-observation:denoiser=bundled@0.1"]
priors += ["deep-features@0.1", "lpips@0.1"]
needs = {"ffdnet": {"ffdnet-colour"}, "deep-features": {"efficientnet-lite0"}, "lpips": {"stlpips-alex"}}
task = tasks.denoise(torch.rand(1, 3, 32, 32), sigma=0.1)
recipe = hd.Recipe(lambda i, o: hd.networks.skip(i, o, down=(8,), skip=(2,)), lambda size: hd.latents.uniform(4, size), steps=2)
for prior in priors:
    if all(part not in prior or wanted <= here for part, wanted in needs.items()):
        hd.restore(task, preset=recipe, regularisers=[spec.term(prior, names)], device="cpu")
        print("ran", prior)
try:
    spec.term("deep-features:model=resnet18@0.1", names).regulariser(torch.rand(1, 3, 32, 32))
except HybridDIPError as error:
    print("refused:", error)
"""


@pytest.fixture
def unrouted() -> list[str]:
    """A command in front of others that leaves them without a network."""
    command = ["unshare", "-rn"]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("network namespaces are not to be had here")
    return command


def test_everything_installed_works_with_no_route_out(unrouted: list[str], tmp_path: Path) -> None:
    around = {**os.environ, "HF_HUB_OFFLINE": "1", "HYBRID_DIP_CACHE": str(tmp_path), "HF_HOME": str(tmp_path)}
    done = subprocess.run([*unrouted, sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=around, timeout=300)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[0] == "no route"
    assert "loaded denoiser" in said
    assert "ran red:denoiser=bundled@0.1" in said
    assert "ran denoised-observation:denoiser=bundled@0.1" in said
    assert ("loaded efficientnet-lite0" in said) == ("ran deep-features@0.1" in said)
    assert ("loaded stlpips-alex" in said) == ("ran lpips@0.1" in said)
    assert any(line.startswith("refused: timm cannot load 'resnet18'") for line in said)

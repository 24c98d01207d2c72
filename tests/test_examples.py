"""What docs/extending.md shows is run as it stands there; the example plug-in is installed and used."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.problem.tiles import can_be_tiled
from hybrid_dip.recipes.catalogue import Catalogue
from tests.waiting import HANG

ROOT = Path(__file__).parent.parent
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """All Python of the page as one file, mine.py in the current folder."""
    text = (ROOT / "docs/extending.md").read_text()
    (tmp_path / "mine.py").write_text("\n\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL)))
    monkeypatch.chdir(tmp_path)
    found = importlib.util.spec_from_file_location("mine", tmp_path / "mine.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


SMALL = [
    "--preset",
    "quick",
    "--steps",
    "6",
    "--network",
    "skip:down=8,8,skip=2,2",
    "--latent",
    "uniform:channels=4",
    "--quiet",
]


@pytest.mark.parametrize(
    "options",
    [
        ["-R", "mine.py:laplacian@0.01", "-R", "tv@balance=0.3"],
        ["-R", "mine.py:Anchor:decay=0.5@steps=0.1,3,0.01"],
        ["-R", "red:denoiser=mine.py:smooth,sigma=0.1,every=5@balance=0.5"],
        ["--network", "mine.py:Plain:width=16"],
        ["--stop", "mine.py:Settled:tolerance=1e-3"],
    ],
)
def test_the_door_on_the_command_line(
    mine: ModuleType, photograph: Tensor, hybrid_dip_command: Command, options: list[str]
) -> None:
    hd.save_image(photograph, "photo.png")
    code, _, err = hybrid_dip_command("restore", "photo.png", "--task", "denoise", "--sigma", 25, *SMALL, *options, "-o", "out")
    assert (code, err) == (0, "")
    written = json.loads(Path("out/run.json").read_text())
    name = re.findall(r"mine\.py:(\w+)", options[1])[0]
    assert name.lower() in json.dumps(written).lower()


def test_the_door_for_an_operator(mine: ModuleType, photograph: Tensor, hybrid_dip_command: Command) -> None:
    hd.save_image(photograph, "photo.png")
    own = ["--task", "linear", "--operator", "mine.py:rows", "--sigma", 5]
    assert hybrid_dip_command("degrade", "photo.png", *own, "-o", "measured.png")[0] == 0
    assert hd.load_image("measured.png").shape == (1, 3, 16, 32)
    code, _, err = hybrid_dip_command("restore", "measured.png", *own, "--shape", "32,32", *SMALL, "-o", "out")
    assert (code, err) == (0, "")
    assert hd.load_image("out/restored.png").shape == photograph.shape
    code, _, err = hybrid_dip_command("restore", "measured.png", *own, *SMALL, "-o", "whole")
    assert code == 2
    assert "give the shape of the image to restore" in err


def test_the_door_in_a_study(mine: ModuleType, photograph: Tensor, hybrid_dip_command: Command) -> None:
    hd.save_image(photograph, "photo.png")
    Path("study.toml").write_text(
        'name = "own-parts"\nimages = ["photo.png"]\nseeds = [0]\nmetrics = ["psnr", "mine.py:worst"]\n'
        '[[tasks]]\nkind = "denoise"\nsigma = 25\n[[tasks]]\nkind = "linear"\noperator = "mine.py:rows"\n'
        '[[arms]]\nname = "own"\npreset = "quick"\nsteps = 4\nnetwork = "mine.py:Plain"\nstop = "mine.py:Settled"\n'
        'regularisers = ["mine.py:laplacian@0.01", "red:denoiser=mine.py:smooth@0.1"]\n'
    )
    code, _, err = hybrid_dip_command("study", "run", "study.toml", "-o", "out", "--workers", 1)
    assert code == 0, err
    header, *rows = Path("out/results.csv").read_text().splitlines()
    assert len(rows) == 2
    assert all(0 < float(row.split(",")[header.split(",").index("worst")]) < 1 for row in rows)


def test_the_door_in_python(mine: ModuleType, photograph: Tensor) -> None:
    task = hd.tasks.denoise(photograph, sigma=0.1)
    terms = hd.Term(mine.laplacian, hd.schedules.Cosine(0.1, 0)) + 0.3 * hd.TV() + 0.1 * mine.Anchor()
    found = hd.restore(task, preset="quick", steps=4, regularisers=terms, rule=mine.Settled())
    assert {"laplacian", "tv", "anchor"} <= set(found.fits[0].history[0])
    assert mine.restore_rows(photograph[..., ::2, :]).shape == photograph.shape
    binned = mine.Binned()
    assert can_be_tiled(hd.tasks.linear(binned(photograph), binned, photograph.shape))


def test_the_door_for_a_command(
    mine: ModuleType, photograph: Tensor, hybrid_dip_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    hd.save_image(photograph, "photo.png")
    names = Catalogue()
    mine.register(names)
    monkeypatch.setitem(sys.modules, "mine", mine)
    monkeypatch.setattr("hybrid_dip.cli.plugins.catalogue", lambda: names)
    code, out, err = hybrid_dip_command("roughness", "photo.png", "--scale", 2)
    assert (code, err) == (0, "")
    assert float(out) == pytest.approx(2 * float(mine.laplacian(hd.load_image("photo.png"))))


def test_the_example_plugin_is_installed_and_used(tmp_path: Path, photograph: Tensor) -> None:
    site, image = tmp_path / "site", tmp_path / "photo.png"
    package = ROOT / "examples/hybrid-dip-example"
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", site, package], check=True, timeout=120)
    hd.save_image(photograph, image)

    priors = ["-R", "example-checkerboard:scale=2@0.1", "-R", "red:denoiser=example-box@0.1"]
    commands: list[list[object]] = [
        ["list", "regularisers", "--json"],
        ["explain", "example-checkerboard"],
        ["example-measure", image, "--scale", 2, "--crop", 16],
        ["restore", image, "--task", "denoise", "--sigma", 25, *SMALL, *priors, "-o", tmp_path / "out"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_THE_OTHER, json.dumps([[str(word) for word in words] for words in commands])],
        capture_output=True,
        text=True,
        timeout=HANG,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}"},
    )
    assert done.returncode == 0, done.stderr
    listed, explained, measured, _ = done.stdout.split("\f")
    (row,) = [row for row in json.loads(listed) if row["source"] == "example"]
    assert (row["name"], row["family"], row["options"]) == ("example-checkerboard", "sparsity", {"scale": 1.0})
    assert "Odena, Dumoulin & Olah 2016" in explained
    assert float(measured) > 0
    assert "example-checkerboard" in (tmp_path / "out/history.csv").read_text().splitlines()[0]


ONE_AFTER_THE_OTHER = """
import json, sys
from hybrid_dip.cli.app import main

for number, words in enumerate(json.loads(sys.argv[1])):
    print(end="\\f" if number else "")
    sys.argv = ["hybrid-dip", *words]
    try:
        main()
    except SystemExit as exit:
        if exit.code:
            raise
"""
"""Several commands in one process: each of its own would import torch, for seconds."""


def test_what_the_example_computes() -> None:
    found = importlib.util.spec_from_file_location("priors", ROOT / "examples/hybrid-dip-example/hybrid_dip_example/priors.py")
    assert found is not None
    assert found.loader is not None
    priors = importlib.util.module_from_spec(found)
    sys.modules["priors"] = priors
    found.loader.exec_module(priors)
    board = torch.tensor([[0.0, 1.0], [1.0, 0.0]])[None, None]
    assert float(priors.Checkerboard()(board)) == 1.0

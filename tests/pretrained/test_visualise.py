import json
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from hybrid_dip.images.files import save_image
from pretrained import weights

pytestmark = pytest.mark.skipif(weights.get("efficientnet-lite0").here() is None, reason="the extra offline is not installed")
Command = Callable[..., tuple[int, str, str]]


def test_features_are_inverted_from_the_command_line(tmp_path: Path, photograph: Tensor, hybrid_dip_command: Command) -> None:
    save_image(photograph, tmp_path / "photo.png")
    out = tmp_path / "out"
    given = [
        "invert-features",
        tmp_path / "photo.png",
        "-o",
        out,
        "--size",
        24,
        "--steps",
        4,
        "--layers",
        "0,1",
        "-R",
        "tv@0.1",
    ]
    code, said, err = hybrid_dip_command(*given)
    assert code == 0, err
    assert "Features differ by" in said
    assert "takes the image for" in said
    found = json.loads((out / "run.json").read_text())
    assert found["settings"]["layers"] == "0,1"
    assert "psnr" in found["metrics"]
    assert (out / "comparison.png").exists()
    assert hybrid_dip_command(*given)[0] == 2
    assert "is finished already" in hybrid_dip_command(*given, "--resume")[2]


def test_activations_are_maximised_from_the_command_line(tmp_path: Path, hybrid_dip_command: Command) -> None:
    code, said, err = hybrid_dip_command(
        "maximise-activation", "--layer", 1, "--channel", 3, "--target", 2, "-o", tmp_path / "out", "--size", 16, "--steps", 3
    )
    assert code == 0, err
    assert "Activation " in said
    settings = json.loads((tmp_path / "out" / "run.json").read_text())["settings"]
    assert (settings["unit"], settings["target"]) == (3, 2)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["maximise-activation"], "Name either a class"),
        (["maximise-activation", "--class", "3", "--layer", "3"], "Name either a class"),
        (["maximise-activation", "--layer", "3"], "Name either a class"),
        (["maximise-activation", "--class", "3", "--target", "inf"], "must be a finite number, such as 300"),
        (["maximise-activation", "--class", "1000"], "no class 1000"),
        (["maximise-activation", "--class", "3", "--model", "alexnot"], "timm has no model 'alexnot'"),
        (["maximise-activation", "--class", "3", "--size", "8"], "at least 16x16"),
        (["invert-features", "PHOTO", "--layers", "a"], "--layers takes whole numbers"),
        (["invert-features", "PHOTO", "--layers", "9"], "has no such stages"),
        (["invert-features", "PHOTO", "--size", "0"], "--size must be"),
    ],
)
def test_bad_input_is_one_sentence(
    given: list[str], said: str, tmp_path: Path, photograph: Tensor, hybrid_dip_command: Command
) -> None:
    save_image(photograph, tmp_path / "photo.png")
    full = [str(tmp_path / "photo.png") if part == "PHOTO" else part for part in given]
    code, _, err = hybrid_dip_command(*full, "-o", tmp_path / "out")
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()

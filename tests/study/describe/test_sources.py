from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from torch import Tensor

from hybrid_dip.errors import ImageFileError, SettingsError
from hybrid_dip.images.files import save_image
from hybrid_dip.study.describe.sections import ImageEntry
from hybrid_dip.study.describe.sources import Source, absolute_path, expand


@pytest.fixture
def folder(tmp_path: Path, photograph: Tensor) -> Path:
    for name in ("b.png", "a.png", "deep/a.png", "deep/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save_image(photograph, tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def names(folder: Path, *entries: Any) -> list[str]:
    return [source.name for source in expand([ImageEntry.model_validate(entry) for entry in entries], folder, None)]


def test_files_folders_and_globs(folder: Path) -> None:
    assert names(folder, {"path": "b.png"}) == ["b"]
    assert names(folder, {"path": "."}) == ["a", "b"]
    assert names(folder, {"path": "*.png"}) == ["a", "b"]
    assert names(folder, {"path": "**/*.jpg"}) == ["c"]
    assert names(folder, {"path": str(folder / "deep" / "*")}) == ["a", "c"]
    assert names(folder, {"path": "skimage:camera"}, {"path": "b.png", "name": "mine"}) == ["camera", "mine"]


def test_a_folder_is_no_pattern_and_hidden_files_no_images(tmp_path: Path, photograph: Tensor) -> None:
    folder = tmp_path / "exp [v2]"
    folder.mkdir()
    for name in ("a.png", "._a.png"):
        save_image(photograph, folder / name)
    (folder / "paper.pdf").write_text("no image")
    assert names(folder, {"path": "[a-z]*.png"}) == ["a"]
    assert names(folder, {"path": "."}) == ["a"]
    assert names(tmp_path, {"path": "exp [v2]"}) == ["a"]


def test_a_path_that_is_found_from_anywhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert absolute_path("deep/*.png") == str(folder / "deep" / "*.png")
    assert absolute_path("skimage:camera") == "skimage:camera"


def test_one_name_in_two_folders_gets_the_folder_s(folder: Path) -> None:
    assert names(folder, {"path": "deep"}, {"path": "a.png"}) == ["deep-a", "c", f"{folder.name}-a"]


def test_names_in_one_folder_are_told_apart_and_can_be_file_names(tmp_path: Path, photograph: Tensor) -> None:
    for name in ("a.png", "a.jpg", "a.jpg.png", "b\\c.png", "d\ne.png"):
        save_image(photograph, tmp_path / name)
    assert names(tmp_path, {"path": "."}) == ["a.jpg.jpg", "a.jpg.png", "a.png", "b%5Cc", "d%0Ae"]
    assert names(tmp_path, {"path": "a.png"}, {"path": "a.jpg"}) == ["a.png", "a.jpg"]


def test_what_stands_for_nothing_is_refused(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"image 1 \('nothing.png'\): there is no file"):
        names(folder, {"path": "nothing.png"})
    with pytest.raises(SettingsError, match="there are no images in"):
        names(folder, {"path": "*.tiff"})
    with pytest.raises(SettingsError, match="a name is for one image, and this stands for 2"):
        names(folder, {"path": "*.png", "name": "x"})
    with pytest.raises(SettingsError, match="image 1: the path is empty"):
        names(folder, {"path": ""})
    with pytest.raises(SettingsError, match=r"2 images are called .*x': give them names"):
        names(folder, {"path": "a.png", "name": "x"}, {"path": "b.png", "name": "x"})
    with pytest.raises(SettingsError, match="no image 'astronot': did you mean 'astronaut'"):
        names(folder, {"path": "skimage:astronot"})


def test_a_sample_is_the_package_s_own_array() -> None:
    x = Source("x", "skimage:astronaut").load()
    assert np.array_equal((x[0].permute(1, 2, 0) * 255).round().byte().numpy(), skimage.data.astronaut())
    assert Source("x", "skimage:camera").load().shape == (1, 1, 512, 512)
    with pytest.raises(ImageFileError, match="not a photograph"):
        Source("x", "skimage:horse").load()


def test_a_box_is_cut_before_its_centre(folder: Path, photograph: Tensor) -> None:
    x = Source("x", str(folder / "a.png"), box=(2, 4, 20, 24), crop=10).load()
    assert x.shape == (1, 3, 10, 10)
    assert torch.equal(x, Source("x", str(folder / "a.png")).load()[..., 7:17, 11:21])
    with pytest.raises(SettingsError, match=r"The crop \[20, 0, 20, 20\] .* reaches beyond .*32 pixels high and 32 wide"):
        Source("x", str(folder / "a.png"), box=(20, 0, 20, 20)).load()

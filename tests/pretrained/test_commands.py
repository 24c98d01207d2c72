import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hybrid_dip.recipes.catalogue import Catalogue, catalogue
from pretrained import weights

Command = Callable[..., tuple[int, str, str]]
LPIPS_HEADS = "lpips-alex-heads"


def test_all_weights_are_listed(hybrid_dip_command: Command) -> None:
    code, out, _ = hybrid_dip_command("weights", "list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert set(rows) == set(weights.index())
    assert rows["ffdnet-grey"]["licence"].startswith("GPL-3.0")
    assert rows[LPIPS_HEADS]["here"] is True
    assert hybrid_dip_command("list", "weights", "--json")[1] == out
    _, text, _ = hybrid_dip_command("weights", "list")
    assert "0.006 MB, on this machine" in text
    assert "240 MB" in text
    assert "e+0" not in text
    assert "first 8 digits of their SHA-256 only" in text
    assert "alexnet, vgg16, squeezenet." in text


def test_sound_weights_are_sound(hybrid_dip_command: Command) -> None:
    code, out, _ = hybrid_dip_command("weights", "verify", LPIPS_HEADS)
    assert code == 0
    assert out.startswith(f"{LPIPS_HEADS}: sound, ")


def test_a_flipped_byte_is_found(hybrid_dip_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = weights.get(LPIPS_HEADS)
    found = known.here()
    assert found is not None
    damaged = shutil.copy(found, tmp_path / known.file)
    content = bytearray(damaged.read_bytes())
    content[100] ^= 1
    damaged.write_bytes(content)
    monkeypatch.setattr(weights.Weights, "here", lambda self: damaged if self.name == LPIPS_HEADS else None)
    for names in ([], [LPIPS_HEADS]):
        code, _, err = hybrid_dip_command("weights", "verify", *names)
        assert code == 2
        assert f"is not what the weights '{LPIPS_HEADS}' should be" in err
        assert len(err.strip().splitlines()) == 1


def test_fetching_with_no_network_is_one_sentence(
    hybrid_dip_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYBRID_DIP_CACHE", str(tmp_path))
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    code, _, err = hybrid_dip_command("weights", "fetch", "squeezenet")
    assert code == 2
    assert "cannot be downloaded" in err.splitlines()[-1]
    assert str(tmp_path) in err
    code, out, _ = hybrid_dip_command("weights", "fetch", LPIPS_HEADS)
    assert code == 0, "what is here is not downloaded"
    assert out.startswith(LPIPS_HEADS)


def test_a_quiet_command_downloads_without_a_word(
    hybrid_dip_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = []

    def retrieve(url: str, known_hash: None, *, fname: str, path: Path, progressbar: bool) -> str:
        bars.append(progressbar)
        return shutil.copy(kept, tmp_path / fname)

    kept = weights.get(LPIPS_HEADS).here()
    assert kept is not None
    monkeypatch.setattr("pooch.retrieve", retrieve)
    monkeypatch.setattr(weights.Weights, "here", lambda self: None)
    found = replace(weights.get(LPIPS_HEADS), url="http://localhost:1/a.pth")
    monkeypatch.setattr("pretrained.commands.get", lambda name: found)
    monkeypatch.setattr(weights.Weights, "verify", lambda self: None)
    code, out, err = hybrid_dip_command("weights", "fetch", LPIPS_HEADS, "--quiet")
    assert (code, out, err) == (0, "", "")
    assert "alex.pth" in hybrid_dip_command("weights", "fetch", LPIPS_HEADS)[1]
    assert bars == [False, True]


def test_a_broken_command_of_a_plugin_leaves_the_others(hybrid_dip_command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Catalogue()
    broken.add("commands", "broken", "a_module_that_is_missing:app", "A command.")
    monkeypatch.setattr("hybrid_dip.cli.plugins.catalogue", lambda: broken)
    code, out, _ = hybrid_dip_command("--help")
    assert code == 0
    assert "restore" in out
    assert "broken" in out
    code, _, err = hybrid_dip_command("broken", "--anything", "1")
    assert code == 2
    assert "'broken' of hybrid_dip cannot be loaded" in err


def test_what_needs_weights_is_known_by_the_catalogue() -> None:
    assert catalogue().entries("metrics")["lpips-alex"].needs == ("alexnet", LPIPS_HEADS)

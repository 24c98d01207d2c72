from pathlib import Path

import pytest
import torch
from torch import Tensor

from hybrid_dip.images.files import load_image, save_image
from pretrained import model_card, weights
from pretrained.model_card import Card, content, measure, photographs, table


def test_measure_by_hand(tmp_path: Path, photograph: Tensor) -> None:
    """A denoiser that does nothing leaves -20 log10(sigma / 255) dB, but for the clamping, which only helps."""
    (tmp_path / "in").mkdir()
    save_image(photograph, tmp_path / "in" / "a.png")
    save_image(photograph.flip(-1), tmp_path / "b.png")
    (tmp_path / "notes.txt").write_text("no photograph")
    assert len(photographs(tmp_path)) == 2
    found = measure(lambda x, sigma: x, tmp_path)
    for kind in ("colour", "grey"):
        for level, noisy in ((15, 24.61), (25, 20.17), (50, 14.15)):
            before, after = found[kind, level]
            assert before == pytest.approx(noisy, abs=0.5), "of a thousand pixels"
            assert before <= after < before + 2
    assert table(found)[2].startswith(f"| colour, noisy | {found['colour', 15][0]:.2f} dB")


def test_the_card_says_whether_training_saw_the_test(tmp_path: Path, photograph: Tensor) -> None:
    (tmp_path / "test").mkdir()
    save_image(photograph, tmp_path / "test" / "a.png")
    save_image(photograph.flip(-1), tmp_path / "test" / "b.bmp")
    (tmp_path / "weights").write_bytes(b"0")
    of = {"parameters": 1, "weights": tmp_path / "weights", "data": Path("photos"), "trained_on": 1, "settings": {}, "hours": 1}
    of |= {"machine": {"device_name": "a machine", "threads": 1, "torch": "2"}, "test": tmp_path / "test"}
    found = measure(lambda x, sigma: x, tmp_path / "test")

    def card(seen: list[str], **more: str) -> str:
        Card(model_card.GAUSSIAN, **of, seen=seen, figures=table(found), **more).write(tmp_path / "card.md")  # type: ignore[arg-type]
        return (tmp_path / "card.md").read_text()

    assert "None has the pixels of a photograph that the training has seen" in card([content(photograph.flip(-2))])
    known = content(load_image(tmp_path / "test" / "b.bmp"))
    assert "The training has seen 1 of them" in card([known])
    assert "BSDS" not in card([])
    assert "MIT" not in card([])
    assert card([], licence="MIT.").endswith("## Licence\n\nMIT.\n")


def test_luminance_of_grey_is_itself() -> None:
    x = torch.rand(2, 1, 4, 4)
    torch.testing.assert_close(model_card.luminance(x.expand(-1, 3, -1, -1)), x)


def test_the_shipped_denoiser_has_its_card() -> None:
    card = (weights.HERE / "denoiser.md").read_text()
    known = weights.get("denoiser")
    assert known.size < 4_000_000
    assert known.verify().stat().st_size == known.size
    assert f"{known.size / 1e6:.1f} MB" in card
    for said in ("cbsd68", "bsds500", "MIT", "24000"):
        assert said in card
    (row,) = (line for line in card.splitlines() if line.startswith("| colour, denoised"))
    at_25 = row.split("|")[3].strip()
    for page in ("docs/priors.md", "CHANGELOG.md"):
        assert f"{at_25} on CBSD68 at sigma 25" in (Path(__file__).parents[2] / page).read_text()

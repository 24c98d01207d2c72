"""What a page has open."""

from pathlib import Path
from typing import Any

import pytest
import torch

from hybrid_dip.app.run import Queue
from hybrid_dip.app.session import CLEAN, DEGRADED, Session
from hybrid_dip.errors import HybridDIPError
from tests.waiting import wait_for

QUICK: dict[str, Any] = {"task": "denoise", "options": {"sigma": 25.0}, "preset": "fast", "steps": 3, "runs": 1}


def test_restorations_lie_side_by_side(queue: Queue, files: Path) -> None:
    session = Session(queue)
    image = {"image": files / "noisy.png", "reference": files / "clean.png"}
    first = session.restore(image, **QUICK)
    second = session.restore(image, **QUICK, priors=("tv@0.05",))
    wait_for(lambda: not second.active)
    assert session.others() == [DEGRADED, CLEAN, first.title]
    session.compare(first.title)
    (left, before), (right, after) = session.pictures()
    assert left.startswith("1: fast: result, ")
    assert right.startswith("result, ")
    assert not torch.equal(before, after)
    session.look(1)
    assert session.pictures()[1][0].startswith("seed 0, step 1, ")
    assert session.keep().label == "seed 0, step 1"
    session.look(session.count - 1)
    assert session.iterate is None, "the last one is the result"
    session.watch(first.title)
    assert session.against == DEGRADED, "nothing is compared with itself"


WRONG: dict[str, tuple[dict[str, str], dict[str, Any], str]] = {
    "no image": ({}, {}, "There is no image yet"),
    "no picture": ({"image": "text.png"}, {}, "is not an image"),
    "empty file": ({"image": "empty.png"}, {}, "is empty"),
    "too small": ({"image": "one.png"}, {}, "at least 16x16"),
    "mask of another size": (
        {"image": "noisy.png", "mask": "mask31.png"},
        {"task": "inpaint", "options": {}},
        "The mask is 31x32",
    ),
    "no mask": ({"image": "noisy.png"}, {"task": "inpaint", "options": {}}, "'inpaint' needs 'mask'"),
    "clean image of another size": ({"image": "noisy.png", "reference": "one.png"}, {}, "The reference is 1x1"),
    "sigma": ({"image": "noisy.png"}, {"options": {"sigma": -1.0}}, "sigma is in grey levels"),
    "steps": ({"image": "noisy.png"}, {"steps": 1.5}, "steps must be a whole number"),
    "weight": ({"image": "noisy.png"}, {"priors": ("tv@much",)}, "'much' is not a weight"),
    "PSF in colour": ({"image": "noisy.png", "psf": "noisy.png"}, {"task": "deblur", "options": {}}, "in colour"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_one_sentence_and_leaves_nothing(queue: Queue, files: Path, wrong: str) -> None:
    given, asked, sentence = WRONG[wrong]
    session = Session(queue)
    with pytest.raises(HybridDIPError, match=sentence):
        session.restore({what: files / name for what, name in given.items()}, **{**QUICK, **asked})
    assert session.runs == []
    assert list(session.scratch.iterdir()) == []


def test_files_of_one_name_are_told_apart_and_doubts_are_noted(queue: Queue, files: Path) -> None:
    (files / "noisy.png").rename(files / "reference.png")
    given = {"image": files / "reference.png", "reference": files / "clean.png"}
    run = Session(queue).restore(given, **{**QUICK, "options": {"sigma": 0.1}})
    assert (run.asked.image, run.asked.reference) == ("image-reference.png", "reference.png")
    assert any("The noise level is said to be" in note for note in run.notes)

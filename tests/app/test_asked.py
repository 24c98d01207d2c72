import shlex
from pathlib import Path

import torch

from hybrid_dip.app.asked import Asked


def test_the_command_has_what_was_given_and_nothing_else() -> None:
    asked = Asked(Path(), "a.png", "denoise", {"sigma": 25.0}, "quick", ("tv@0.05",), steps=30)
    threads = torch.get_num_threads()
    assert asked.command() == (
        f"hybrid-dip restore a.png --task denoise --sigma 25 --preset quick --steps 30 --seed 0 --threads {threads} "
        "-R tv@0.05 -o restored"
    )


def test_names_of_files_are_quoted() -> None:
    asked = Asked(Path(), "it's; a.png", "inpaint", {"mask": "mask of mine.png"})
    assert {"it's; a.png", "mask of mine.png"} <= set(shlex.split(asked.command()))


def test_files_are_those_that_are_named_and_there(tmp_path: Path) -> None:
    for name in ("a.png", "mask.png", "other.png"):
        (tmp_path / name).touch()
    asked = Asked(tmp_path, "a.png", "deblur", {"mask": "mask.png", "psf": "gaussian:1.5"})
    assert [path.name for path in asked.files] == ["a.png", "mask.png"]

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import skimage.data
import torch
import torch.nn.functional as F
from torch import Tensor

from hybrid_dip import cli


@pytest.fixture(scope="session")
def photograph() -> Tensor:
    """A real photograph at 32x32: the astronaut's face, shrunk."""
    face = torch.from_numpy(skimage.data.astronaut()[:256, 96:352]).permute(2, 0, 1)[None].float() / 255
    return F.interpolate(face, (32, 32), mode="area")


@pytest.fixture
def hybrid_dip_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in this process; returns exit status, stdout and stderr."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hybrid-dip", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        output = capsys.readouterr()
        return int(exit_.value.code or 0), output.out, output.err

    return run


@pytest.fixture(autouse=True)
def one_random_state() -> None:
    torch.manual_seed(0)

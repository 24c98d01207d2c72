from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import hybrid_dip as hd
from hybrid_dip.errors import SettingsError
from hybrid_dip.images.files import save_image
from hybrid_dip.networks.start import read_start, write_start
from hybrid_dip.problem import tasks
from hybrid_dip.recipes.prepare import prepare, sketch
from hybrid_dip.regularisers import StartDistance
from hybrid_dip.restoring.restore import restore
from hybrid_dip.study.describe.plan import plan_study
from hybrid_dip.study.describe.settings import as_study

Command = Callable[..., tuple[int, str, str]]


def network(in_channels: int, out_channels: int, width: int = 8) -> nn.Module:
    return hd.networks.skip(in_channels, out_channels, down=(width, width), skip=(2, 2), upsample="bilinear")


RECIPE = hd.Recipe(network, lambda size: hd.latents.uniform(8, size), steps=3)


@pytest.fixture
def start(tmp_path: Path) -> Path:
    torch.manual_seed(7)
    write_start(network(8, 3), tmp_path / "theta.safetensors", {"preset": "mine", "rounds": 5})
    return tmp_path / "theta.safetensors"


def test_what_was_written_is_read(start: Path) -> None:
    found = read_start(start)
    torch.manual_seed(7)
    assert all(torch.equal(value, found.tensors[name]) for name, value in network(8, 3).state_dict().items())
    assert found.about == {"preset": "mine", "rounds": 5}


def test_a_fit_begins_there_and_draws_the_same_latent(start: Path, photograph: Tensor) -> None:
    task = tasks.denoise(photograph, sigma=0.1)
    begun = hd.Recipe(**{**vars(RECIPE), "start": read_start(start)})
    for seed in (0, 1):
        made, z = prepare(task, begun, seed)
        plain, same = prepare(task, RECIPE, seed)
        assert torch.equal(z, same)
        values = dict(made.named_parameters())
        assert all(torch.equal(value, values[name]) for name, value in read_start(start).tensors.items() if name in values)
        assert not all(torch.equal(value, values[name]) for name, value in plain.named_parameters())
    assert sketch(task, begun)[1].is_meta
    assert "start_sha256" in begun.describe()
    assert "start_sha256" not in RECIPE.describe(), "runs of studies keep their names"
    distance = StartDistance()
    found = restore(task, preset=begun, regularisers=distance, device="cpu")
    assert found.fits[0].history[0]["startdistance"] == 0, "the distance is to this start"


def test_another_network_than_the_start_s_is_refused(start: Path) -> None:
    with pytest.raises(SettingsError, match=r"was made for another network \(preset mine\): .* there and .* here"):
        read_start(start).fill(network(8, 3, width=6))


def test_what_is_no_start_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="pretrain-network"):
        read_start(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors here")
    with pytest.raises(SettingsError, match="cannot be read as a start"):
        read_start(tmp_path / "text.safetensors")
    torch.save({"a": torch.ones(1)}, tmp_path / "pickle.safetensors")
    with pytest.raises(SettingsError, match="cannot be read as a start"):
        read_start(tmp_path / "pickle.safetensors")


def test_on_the_command_line_and_in_studies(tmp_path: Path, photograph: Tensor, hybrid_dip_command: Command) -> None:
    save_image(photograph, tmp_path / "noisy.png")
    torch.manual_seed(0)
    write_start(hd.networks.skip(32, 3, down=(8, 8), skip=(2, 2)), tmp_path / "theta.safetensors", {"preset": "quick"})
    spec = "skip:down=8,8,skip=2,2"
    given = [
        "restore",
        tmp_path / "noisy.png",
        "--task",
        "denoise",
        "--sigma",
        25,
        "--preset",
        "quick",
        "--steps",
        2,
        "--quiet",
    ]
    start = tmp_path / "theta.safetensors"
    code, _, err = hybrid_dip_command(*given, "--network", spec, "--start", start, "-o", tmp_path / "out")
    assert (code, err) == (0, "")
    code, _, err = hybrid_dip_command(*given, "--start", start, "-o", tmp_path / "other")
    assert code == 2
    assert "was made for another network (preset quick" in err
    arms = [{"name": name, "preset": "quick", "network": spec, "steps": 2, **own} for name, own in ARMS.items()]
    content = {"name": "s", "images": ["noisy.png"], "tasks": [{"kind": "denoise"}], "arms": arms}
    plan = plan_study(as_study(content, tmp_path / "study.toml"))
    assert plan.runs[0].key != plan.runs[1].key
    assert plan.runs[1].config["recipe"]["start_sha256"] == read_start(start).sha256


ARMS: dict[str, dict[str, str]] = {"random": {}, "learned": {"start": "theta.safetensors"}}

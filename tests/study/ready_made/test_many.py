import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from hybrid_dip import networks
from hybrid_dip.execution import devices
from hybrid_dip.images.files import load_image, save_image
from hybrid_dip.images.reading import read_picture
from hybrid_dip.networks import latents
from hybrid_dip.problem import tasks
from hybrid_dip.recipes.presets import quick
from hybrid_dip.restoring.memory import memory_of_a_step
from hybrid_dip.study.ready_made.many import processes, side_for_all
from hybrid_dip.study.running import machine
from hybrid_dip.study.running.forecast import PROCESS
from tests.command import SMALL
from tests.studies import MakePlan

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folders(tmp_path: Path, photograph: Tensor) -> Path:
    """Three noisy photographs, one of them with an alpha channel, and the clean ones."""
    for place in ("noisy", "clean"):
        (tmp_path / place).mkdir()
    for number, name in enumerate("abc"):
        clean = photograph[..., :16, number * 8 : number * 8 + 16]
        save_image(clean, tmp_path / "clean" / f"{name}.png")
        noisy = (clean + 0.1 * torch.randn(clean.shape)).clamp(0, 1)
        alpha = torch.full((1, 1, 16, 16), 0.5) if name == "b" else None
        save_image(noisy, tmp_path / "noisy" / f"{name}.png", alpha=alpha)
    return tmp_path


def command(image: Path, *more: object) -> list[object]:
    return ["restore", image, "--task", "denoise", "--sigma", 25, *SMALL, "--steps", 4, "--device", "cpu", "--quiet", *more]


def test_a_folder_is_restored_as_one_by_one(folders: Path, hybrid_dip_command: Command) -> None:
    out = folders / "out"
    given = command(folders / "noisy", "--reference", folders / "clean", "-o", out, "--workers", 1)
    given.remove("--quiet")
    status, said, err = hybrid_dip_command(*given)
    assert status == 0, err
    assert "3 of 3 images restored" in said
    table = pd.read_csv(out / "results.csv")
    assert list(table["image"]) == ["a", "b", "c"]
    assert (table["psnr"] > 5).all()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name in "abc":
        status, _, err = hybrid_dip_command(*command(folders / "noisy" / f"{name}.png", "-o", folders / name))
        assert status == 0, err
        assert (out / f"{name}.png").read_bytes() == (folders / name / "restored.png").read_bytes()
    torch.set_num_threads(threads)


def test_a_crop_takes_its_part_of_the_alpha_channel(tmp_path: Path, photograph: Tensor, hybrid_dip_command: Command) -> None:
    (tmp_path / "noisy").mkdir()
    alpha = torch.linspace(0, 1, 32).expand(1, 1, 32, 32)
    save_image(photograph, tmp_path / "noisy" / "a.png", alpha=alpha)
    given = command(tmp_path / "noisy", "-o", tmp_path / "out", "--crop", 16, "--workers", 1)
    status, _, err = hybrid_dip_command(*given)
    assert status == 0, err
    found = read_picture(tmp_path / "out" / "a.png").alpha
    assert found is not None
    assert torch.allclose(found, alpha[..., 8:24, 8:24], atol=1 / 255)


def test_holes_are_filled_whatever_the_files_are_called(
    tmp_path: Path, photograph: Tensor, hybrid_dip_command: Command
) -> None:
    (tmp_path / "holes").mkdir()
    mask = torch.ones(1, 1, 16, 16)
    mask[..., :8, :4] = 0
    save_image(mask, tmp_path / "mask.png")
    save_image(photograph[..., :16, :16], tmp_path / "holes" / "a.png", alpha=mask)
    save_image(photograph[..., :16, :16], tmp_path / "holes" / "a.jpg")
    save_image(photograph[..., :16, 16:], tmp_path / "holes" / "b\\c\nd.png", alpha=mask)
    given = ["restore", tmp_path / "holes", "--task", "inpaint", "--mask", tmp_path / "mask.png", *SMALL, "--steps", 2]
    status, _, err = hybrid_dip_command(*given, "--device", "cpu", "--workers", 1, "-o", tmp_path / "out")
    assert status == 0, err
    assert "12.5 % to fill in." in err
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["a.jpg.png", "a.png.png", "b%5Cc%0Ad.png"]
    for name in ("a.png.png", "b%5Cc%0Ad.png"):
        alpha = read_picture(tmp_path / "out" / name).alpha
        assert alpha is not None
        assert (alpha == 1).all(), name


def test_it_goes_on_and_needs_no_clean_images(folders: Path, hybrid_dip_command: Command) -> None:
    out = folders / "out"
    given = command(folders / "noisy", "-o", out, "--time-budget", 1000, "-R", "tv@0.01", "--workers", 1)
    status, _, err = hybrid_dip_command(*given)
    assert status == 0, err
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").glob("*/run.json")}
    save_image(load_image(folders / "noisy" / "a.png").flip(-1), folders / "noisy" / "d.png")
    status, _, err = hybrid_dip_command(*given)
    assert status == 0, err
    after = {path: path.stat().st_mtime_ns for path in (out / "runs").glob("*/run.json")}
    assert len(after) == 4
    assert before.items() <= after.items()
    assert sorted(path.name for path in out.glob("*.png")) == ["a.png", "b.png", "c.png", "d.png"]
    status, _, err = hybrid_dip_command("study", "report", out / "restored.toml", "-o", out)
    assert status == 2
    assert "measures nothing" in err


def test_every_option_reaches_the_fits(folders: Path, hybrid_dip_command: Command) -> None:
    more = [
        "--precision",
        "bfloat16",
        "--lr",
        0.02,
        "--jitter",
        0.0,
        "--runs",
        2,
        "--seed",
        3,
        "--stop",
        "max_steps",
        "--crop",
        16,
        "--workers",
        1,
    ]
    status, _, err = hybrid_dip_command(*command(folders / "noisy", *more, "-o", folders / "out"))
    assert status == 0, err
    record = json.loads(next((folders / "out" / "runs").glob("*/run.json")).read_text())
    recipe = record["config"]["recipe"]
    assert (recipe["lr"], recipe["jitter"], recipe["runs"], recipe["steps"]) == (0.02, 0.0, 2, 4)
    assert (record["seed"], record["config"]["stop"]) == (3, "max_steps")
    assert record["config"]["execution"] == record["hardware"]["execution"] == "bfloat16"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--gif"], "--gif is for one image"),
        (["--log", "wandb"], "--log is for one image"),
        (["--precision", "auto"], "--precision auto is for one image"),
        (
            ["--precision", "bfloat16", "--fuse", "stack", "-R", "tv@1"],
            "'precision', 'compile' and 'graph' do not go with 'fuse'",
        ),
        (["--precision", "half"], "'half'"),
        (["--graph", "auto"], "--graph auto is for one image"),
        (["--graph", "on"], "takes a CUDA device; this fit is on cpu"),
        (["--fuse", "consensus"], "--fuse is for one image"),
        (["--reference", "nowhere"], "--reference is a folder as well"),
        (["-R", "tw@1"], "did you mean 'tv'"),
    ],
)
def test_bad_input(folders: Path, options: list[str], sentence: str, hybrid_dip_command: Command) -> None:
    status, _, err = hybrid_dip_command(*command(folders / "noisy", *options, "-o", folders / "out"))
    assert status == 2
    assert sentence in err


def test_workers_and_references_are_of_a_folder(folders: Path, hybrid_dip_command: Command) -> None:
    status, _, err = hybrid_dip_command(*command(folders / "noisy" / "a.png", "--workers", 2, "-o", folders / "out"))
    assert (status, "for a folder of images" in err) == (2, True)
    (folders / "clean" / "b.png").unlink()
    given = command(folders / "noisy", "--reference", folders / "clean", "-o", folders / "out")
    status, _, err = hybrid_dip_command(*given)
    assert (status, "has no clean image for b" in err) == (2, True)
    (folders / "empty").mkdir()
    status, _, err = hybrid_dip_command(*command(folders / "empty", "-o", folders / "out"))
    assert (status, "there are no images in" in err) == (2, True)


def test_nothing_that_was_there_before_is_replaced(folders: Path, hybrid_dip_command: Command) -> None:
    before = (folders / "noisy" / "a.png").read_bytes()
    status, _, err = hybrid_dip_command(*command(folders / "noisy", "-o", folders / "noisy"))
    assert (status, "name a new folder" in err) == (2, True)
    assert (folders / "noisy" / "a.png").read_bytes() == before
    assert len(list((folders / "noisy").iterdir())) == 3


def test_a_folder_is_restored_in_tiles_as_one_by_one(tmp_path: Path, hybrid_dip_command: Command) -> None:
    (tmp_path / "noisy").mkdir()
    save_image(torch.rand(1, 3, 40, 60), tmp_path / "noisy" / "a.png")
    tiled = ["--tile", 32, "-o"]
    given = command(tmp_path / "noisy", "--workers", 1, "--threads", 1, *tiled, tmp_path / "out")
    status, _, err = hybrid_dip_command(*given)
    assert status == 0, err
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    status, _, err = hybrid_dip_command(*command(tmp_path / "noisy" / "a.png", *tiled, tmp_path / "a"))
    torch.set_num_threads(threads)
    assert status == 0, err
    assert (tmp_path / "out" / "a.png").read_bytes() == (tmp_path / "a" / "restored.png").read_bytes()
    (record,) = (tmp_path / "out" / "runs").glob("*/run.json")
    assert json.loads(record.read_text())["steps"] == 4 * 2 * 3
    given[given.index(32)] = 20
    status, _, err = hybrid_dip_command(*given[:-1], tmp_path / "small")
    assert (status, "at least 32 pixels a side, got 20" in err) == (2, True), err


def test_images_beyond_memory_are_restored_and_resumed_in_tiles(
    tmp_path: Path, hybrid_dip_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "noisy").mkdir()
    save_image(torch.rand(1, 1, 64, 2000), tmp_path / "noisy" / "long.png")
    given = command(tmp_path / "noisy", "--workers", 1, "--steps", 2, "-o", tmp_path / "out")
    given.remove("--quiet")
    task = tasks.denoise(load_image(tmp_path / "noisy" / "long.png"), sigma=25 / 255)
    small = partial(networks.skip, down=(8, 8), skip=(4, 4), upsample="bilinear")
    recipe = replace(quick(task), network=small, latent=partial(latents.uniform, channels=8))
    whole = memory_of_a_step(task, recipe, recomputed=True)
    with monkeypatch.context() as scarce:
        scarce.setattr(devices, "free_memory", lambda device: PROCESS + whole - 1)
        status, _, err = hybrid_dip_command(*given)
    assert status == 0, err
    (record,) = (tmp_path / "out" / "runs").glob("*/run.json")
    begun = json.loads(record.read_text())
    side = begun["config"]["recipe"]["tile"]
    assert side < 2000
    assert f"Not all images fit into memory as a whole: in tiles of at most {side} pixels" in err
    status, _, err = hybrid_dip_command(*given)
    assert status == 0, err
    assert json.loads(record.read_text()) == begun
    assert len(list((tmp_path / "out" / "runs").glob("*/run.json"))) == 1


def test_scarce_memory_means_fewer_images_at_a_time(make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(arms=[{"name": "a", "preset": "quick", "steps": 2}], seeds=[0, 1, 2, 3], crop=32)
    task = plan.runs[0].subject().task
    needed = memory_of_a_step(task, quick(task)) + PROCESS
    monkeypatch.setattr(machine, "core_count", lambda: 3)
    for free, at_a_time in {needed - 1: 1, 2 * needed: 2, 100 * needed: 3}.items():
        monkeypatch.setattr(devices, "free_memory", lambda device, free=free: free)
        assert processes(plan, None) == at_a_time
        assert processes(plan, 7) == 4, "as asked for, but no more than there are fits"
        assert side_for_all(plan, at_a_time) is None


FAILS_AT_FIRST = """
from pathlib import Path

def picky(x):
    if (Path(__file__).parent / "full").exists():
        raise MemoryError("no room now")
    return x.square().mean()
"""


def test_failures_are_named_and_tried_again_next_time(folders: Path, hybrid_dip_command: Command) -> None:
    (folders / "picky.py").write_text(FAILS_AT_FIRST)
    (folders / "full").touch()
    given = command(folders / "noisy", "-R", f"{folders / 'picky.py'}:picky@1", "-o", folders / "out", "--workers", 1)
    status, _, err = hybrid_dip_command(*given)
    assert status == 2
    assert "3 of 3 fits failed; the first, of a by restored: " in err
    assert "no room now" in err
    (folders / "full").unlink()
    status, _, err = hybrid_dip_command(*given)
    assert status == 0, err
    assert (folders / "out" / "c.png").exists()

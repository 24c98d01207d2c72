"""The benchmarks run, and the tables in their README are what they printed. No test looks at a time."""

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.networks.kernels import reflection, upsampling
from tests.waiting import HANG

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
RESULTS = sorted((BENCHMARKS / "results").glob("time_to_quality*.json"))


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """A benchmark as a module, by its name."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    threads = torch.get_num_threads()
    yield importlib.import_module
    torch.set_num_threads(threads)


@pytest.fixture
def command(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs a benchmark as by its command line, in this process; returns what it printed."""

    def run(name: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        capsys.readouterr()
        script(name).main()
        return capsys.readouterr().out

    return run


def save_larger(photograph: Tensor, path: Path) -> None:
    hd.save_image(torch.nn.functional.interpolate(photograph, scale_factor=2), path)


SLOW = pytest.mark.slow


@pytest.mark.parametrize("task", [pytest.param(task, marks=SLOW) for task in ("denoise", "super-resolve", "missing-pixels")])
@pytest.mark.usefixtures("copies")  # the original is timed in processes of its own
def test_time_to_quality(task: str, tmp_path: Path, photograph: Tensor, command: Callable[..., str]) -> None:
    save_larger(photograph, tmp_path / "clean.png")
    common = [
        "time_to_quality", "--task", task, "--size", 64, "--images", tmp_path / "clean.png",
        "--steps", 12, "--threads", 1, "--cache", tmp_path / "curves",
    ]  # fmt: skip
    printed = command(*common, "--curves-only").splitlines()[-1]
    (curve,) = (tmp_path / "curves").iterdir()
    fitted = curve.read_bytes()
    quality = json.loads(fitted)["curve"]["average"]
    assert json.loads(fitted)["curve"]["steps"] == [10, 12]
    assert printed.endswith(f"| {max(quality):.2f} dB ({10 if quality[0] > quality[1] else 12}) | {quality[1]:.2f} dB (12) |")
    out = command(*common, "--json", tmp_path / "out.json", "--plot", tmp_path / "out.png")
    assert curve.read_bytes() == fitted
    assert hd.load_image(tmp_path / "out.png").shape[1] == 3
    (row,) = json.loads((tmp_path / "out.json").read_text())
    assert row["original_peak_psnr"] == max(json.loads(fitted)["curve"]["average"])
    assert row["ratio"] == pytest.approx(row["original_seconds"] / row["ours_seconds"], rel=0.01)
    assert {"image", "task", "size", "original_final_psnr", "original_peak_seconds", "ours_psnr"} <= set(row)
    assert command("time_to_quality", "--show", tmp_path / "out.json") == out


@pytest.mark.parametrize("name", ["variants", "variants_256", "variants_inpaint_256"])
def test_the_long_tables_hold_those_of_the_variants(name: str, command: Callable[..., str]) -> None:
    text = (BENCHMARKS / "results" / "tables.md").read_text()
    for line in command("variants", "--show", BENCHMARKS / "results" / f"{name}.json").splitlines():
        assert line in text


def test_the_readme_quotes_the_table_of_variants() -> None:
    text = (BENCHMARKS / "README.md").read_text().split("| changed | denoise | super-resolve |\n")[1].split("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines()[1:]]
    long_table = (BENCHMARKS / "results" / "tables.md").read_text()
    assert len(rows) > 5
    for name, *quoted in rows:
        (row,) = re.findall(rf"^\| {re.escape(name)} \| (\S+, .*, .*) \| (\S+, .*, .*) \|$", long_table, re.MULTILINE)
        assert [cell.split(", ")[1] for cell in row] == quoted


def test_time_to_quality_goes_on_where_it_was_interrupted(
    tmp_path: Path, photograph: Tensor, script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The curve of a fit in two parts is that of one in one part."""
    save_larger(photograph, tmp_path / "clean.png")
    quality = script("time_to_quality")
    torch.set_num_threads(1)
    case = quality.make_case(tmp_path / "clean.png", "denoise", 64)
    recipe = replace(quality.original(case.task), steps=12)

    def curve(name: str) -> Any:
        return quality.original_curve(case, recipe, 0, quality.CurveSource(tmp_path / name), name)

    whole = curve("whole")
    step, count = quality.PlainFit.step, iter(range(100))

    def step_or_stop(fit: Any) -> None:
        if next(count) == 7:
            raise KeyboardInterrupt
        step(fit)

    monkeypatch.setattr(quality, "SAVED_EVERY", 0.0)
    with monkeypatch.context() as stopped:
        stopped.setattr(quality.PlainFit, "step", step_or_stop)
        with pytest.raises(KeyboardInterrupt):
            curve("parts")
    torch.manual_seed(99)
    parts = curve("parts")
    assert (parts.average, parts.steps) == (whole.average, whole.steps)
    assert [path.suffix for path in (tmp_path / "parts").iterdir()] == [".json"]


def test_jpeg_measures_brightness_and_goes_on_where_it_stopped(
    tmp_path: Path, photograph: Tensor, command: Callable[..., str]
) -> None:
    (tmp_path / "images").mkdir()
    hd.save_image(photograph, tmp_path / "images" / "face.png")
    given = ["jpeg", "--images", tmp_path / "images", "--json", tmp_path / "out.json", "--qualities"]
    command(*given, 30)
    (row,) = json.loads((tmp_path / "out.json").read_text())
    brightness = (255 * hd.metrics.luma(hd.load_image(tmp_path / "images" / "face.png"))).round() / 255
    compressed = hd.degradations.jpeg_compressed(brightness, quality=30).task.observation
    assert row["jpeg_psnr"] == pytest.approx(hd.metrics.psnr(compressed, brightness))
    assert row["psnr"] > row["jpeg_psnr"]
    printed = command(*given, 30, 10)
    again = json.loads((tmp_path / "out.json").read_text())
    assert again[0] == row
    assert [one["quality"] for one in again] == [30, 10]
    for one in again:
        decibels = f"{one['jpeg_psnr']:.2f} dB | {one['psnr']:.2f} dB | {one['psnr'] - one['jpeg_psnr']:+.2f} dB"
        assert f"| plug-and-play | whole | {one['quality']} | 1 | {decibels} |" in printed
    assert "| ARCNN (Dong et al. 2015) | LIVE1 | 28.96 dB | 32.67 dB |" in printed


def test_the_readme_holds_the_table_of_jpeg(command: Callable[..., str]) -> None:
    assert command("jpeg", "--json", BENCHMARKS / "results" / "jpeg.json").strip() in (BENCHMARKS / "README.md").read_text()


STEP = ["step", "--presets", "fast", "--steps", 2, "--threads", 1]


@pytest.mark.slow
def test_step_as_a_user_starts_it() -> None:
    given = ["step.py", *STEP[1:], "--sizes", 32]
    done = subprocess.run([sys.executable, *map(str, given)], capture_output=True, text=True, cwd=BENCHMARKS, timeout=HANG)
    assert done.returncode == 0, done.stderr
    (row,) = done.stdout.splitlines()[2:]
    assert row.startswith("| fast | 32 | float32 | cpu | 1 | 0.")


@pytest.mark.slow
def test_step_in_other_ways(command: Callable[..., str]) -> None:
    rows = command(*STEP, "--sizes", 32, 64, "--precision", "bfloat16").splitlines()[2:]
    assert [row.split(" | ")[:3] for row in rows] == [["| fast", "32", "bfloat16"], ["| fast", "64", "bfloat16"]]
    assert "| convolutions |" in command(*STEP, "--sizes", 32, "--parts")
    assert "| 64 | float32 |" in command(*STEP, "--sizes", 64, "--plain", "--rounds", 1)


def test_a_profile_tells_the_optimiser_from_convolutions(script: Callable[[str], Any]) -> None:
    layer = torch.nn.Conv2d(3, 4, 1)
    stepper = hd.optimizers.muon()(layer.parameters())
    with torch.profiler.profile() as profile:
        loss = (layer.weight[:, :, 0, 0] @ torch.ones(3, 5)).sum()
        loss.backward()
        stepper.step()
    parts = [(event.name, script("step").part_of(event)) for event in profile.events()]
    assert {part for name, part in parts if name == "aten::baddbmm"} == {"optimiser"}
    assert {part for name, part in parts if name == "aten::mm"} == {"convolutions"}


def test_a_profile_counts_parts_by_their_owner_and_views_not(script: Callable[[str], Any]) -> None:
    step = script("step")
    x = torch.rand(1, 2, 4, 4, requires_grad=True)
    with torch.profiler.profile() as profile:
        upsampling.double(x).sum().backward()
        reflection.pad(x, 1).sum().backward()
    events = profile.events()
    parts = {(event.name, step.part_of(event)) for event in events if event.name in ("aten::lerp", "aten::clone")}
    assert parts == {("aten::clone", "padding"), ("aten::lerp", "upsampling, concatenation")}
    looked_at = ("aten::lerp", "aten::narrow", "aten::as_strided")
    moving = {(event.name, step.moves(event)) for event in events if event.name in looked_at}
    assert moving == {("aten::as_strided", False), ("aten::lerp", True), ("aten::narrow", False)}


@pytest.mark.slow
def test_many_images_are_the_same_by_one_process_or_two(
    tmp_path: Path, photograph: Tensor, command: Callable[..., str]
) -> None:
    save_larger(photograph, tmp_path / "clean.png")
    options = ["--size", 32, "--count", 2, "--steps", 3, "--preset", "quick"]
    rows = command("many", "--images", tmp_path / "clean.png", *options).splitlines()[2:]
    assert [row.split(" | ")[1] for row in rows] == ["1", "2"]
    assert all(row.endswith("| 0.00 |") for row in rows)


@pytest.mark.slow
def test_seams_go_on_where_they_were_interrupted(tmp_path: Path, photograph: Tensor, script: Callable[[str], Any]) -> None:
    tiles = script("tiles")
    larger = torch.nn.functional.interpolate(photograph, scale_factor=2)
    setting = tiles.Setting("denoise", 48, "quick", 4, 1, tmp_path / "states")

    def seam() -> str:
        """The row without its seconds."""
        return re.sub(r" \(\d+\)", "", tiles.seam("photograph", larger, setting))

    row = seam()
    assert "4 of 48x48" in row
    states = sorted((tmp_path / "states").iterdir())
    assert [path.stem.split(" ", 1)[1] for path in states] == [
        *(f"seed 0, tile {n} of 4" for n in (1, 2, 3, 4)),
        "whole, seed 0",
    ]

    def histories() -> list[object]:
        """The histories, which hold the seconds of each logged step and so differ for a new fit."""
        return [torch.load(path, weights_only=True)["history"] for path in states]

    before = histories()
    states[0].unlink()
    assert seam() == row
    again = histories()
    assert again[1:] == before[1:]
    assert again[0] != before[0]


@pytest.mark.skipif(not RESULTS, reason="no results yet")
def test_the_readme_has_the_table_of_the_results(command: Callable[..., str]) -> None:
    lines = command("time_to_quality", "--show", *RESULTS).splitlines()
    readme = (BENCHMARKS / "README.md").read_text()
    assert all(line in readme for line in lines)

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from torch import Tensor

from hybrid_dip.errors import SettingsError
from hybrid_dip.images.files import save_image
from hybrid_dip.study.describe.settings import as_study, as_toml
from hybrid_dip.study.ready_made.sweep import WITHOUT, points, sentences, summarise, sweep_content

Command = Callable[..., tuple[int, str, str]]
SMALL = ["--preset", "quick", "--steps", 4, "--network", "skip:down=8,8,skip=2,2", "--latent", "uniform:channels=4"]


@pytest.fixture
def photos(tmp_path: Path, photograph: Tensor) -> Path:
    save_image(photograph[..., :16, :16], tmp_path / "clean.png")
    save_image(photograph[..., :16, :16].roll(1, -1), tmp_path / "noisy.png")
    return tmp_path


def test_points_of_numbers_and_of_balanced_weights() -> None:
    assert [(point.weight, point.text) for point in points("tv:epsilon=0.01@0.01,1e-1")] == [
        (0.01, "tv:epsilon=0.01@0.01"),
        (0.1, "tv:epsilon=0.01@1e-1"),
    ]
    assert [point.text for point in points("tv@balance=0.1,1")] == ["tv@balance=0.1", "tv@balance=1"]
    assert {point.line for point in points("a/b/mine.py:prior:file=c/d.png@1,2")} == {"prior:file=d.png"}
    for single in ("tv", "tv@0.1", "tv@balance=0.5", "tv@steps=0.1,500,0.01", "tv@warmup=0.05,200", "tv@linear=0.1..0"):
        assert points(single) == []


@pytest.mark.parametrize("text", ["tv@0.1,x", "tv@0,0.1", "tv@-1,1", "tv@nan,1"])
def test_weights_that_cannot_be_swept(text: str) -> None:
    with pytest.raises(SettingsError, match=r"numbers above 0|not a number"):
        points(text)


def test_a_sweep_has_an_arm_for_each_point() -> None:
    images, task = [{"path": "y.png"}], {"kind": "denoise", "observed": True, "held_out": 0.1}
    content, swept = sweep_content(["tv@0.1,0.2", "wavelet@0.3", "dct@1,2"], images, task, {"preset": "quick"})
    assert [arm["name"] for arm in content["arms"]] == [WITHOUT, "tv@0.1", "tv@0.2", "dct@1", "dct@2"]
    assert all("wavelet@0.3" in arm["regularisers"] for arm in content["arms"])
    assert [len(arm["regularisers"]) for arm in content["arms"]] == [1, 2, 2, 2, 2]
    assert content["metrics"] == ["held_out"]
    assert len(swept) == 4
    assert as_study(tomllib.loads(as_toml(content))) == as_study(content)
    with pytest.raises(SettingsError, match="several weights"):
        sweep_content(["tv@0.1"], images, task, {})
    with pytest.raises(SettingsError, match="swept twice"):
        sweep_content(["tv@0.1,0.2", "tv@0.2,0.3"], images, task, {})


def test_a_sweep_with_a_clean_image(photos: Path, hybrid_dip_command: Command) -> None:
    given = ["sweep", photos / "noisy.png", "--task", "denoise", "--sigma", 25, *SMALL, "-R", "tv@0.1,10", "--workers", 1]
    out = photos / "out"
    code, said, err = hybrid_dip_command(*given, "--reference", photos / "clean.png", "-o", out)
    assert code == 0, err
    table = pd.read_csv(out / "results.csv")
    psnr = table.set_index("arm")["psnr"]
    found = json.loads((out / "sweep.json").read_text())["metrics"]["psnr"]
    assert found["without"] == pytest.approx(psnr["without"], abs=1e-3)
    best = psnr[["tv@0.1", "tv@10"]].max()
    assert found["best"] is None or found["best"]["value"] == pytest.approx(best, abs=1e-3)
    assert (found["best"] is None) == (best <= psnr["without"])
    assert (out / "sweep.png").stat().st_size > 5000
    assert ("<- best" in said) == (found["best"] is not None)
    # Another weight is one more fit.
    given[given.index("tv@0.1,10")] = "tv@0.1,1,10"
    code, said, err = hybrid_dip_command(*given, "--reference", photos / "clean.png", "-o", out, "--json", "--quiet")
    assert (code, err) == (0, "")
    assert [row["weight"] for row in json.loads(said)["metrics"]["psnr"]["points"]] == [0.1, 1, 10]
    assert len(list((out / "runs").iterdir())) == 4


def test_a_sweep_without_reference_is_judged_by_held_out_data(photos: Path, hybrid_dip_command: Command) -> None:
    given = ["sweep", photos / "noisy.png", "--task", "denoise", "--sigma", 25, *SMALL, "-R", "tv@balance=0.1,1"]
    code, said, err = hybrid_dip_command(*given, "--workers", 1, "-o", photos / "out", "--json", "--quiet")
    assert (code, err) == (0, "")
    found = json.loads(said)["metrics"]
    assert list(found) == ["held_out"]
    smallest = min(row["value"] for row in found["held_out"]["points"])
    assert found["held_out"]["best"] is None or found["held_out"]["best"]["value"] == smallest
    assert (found["held_out"]["best"] is None) == (smallest >= found["held_out"]["without"])
    assert hybrid_dip_command("study", "report", photos / "out" / "sweep.toml")[0] == 0


@pytest.mark.parametrize("metric", ["psnr", "held_out"])
def test_a_best_weight_is_one_that_is_better_than_none(metric: str) -> None:
    swept = points("tv@0.1,1")

    def report(without: float, small: float, large: float) -> tuple[object, str]:
        arms = {WITHOUT: without, "tv@0.1": small, "tv@1": large}
        table = pd.DataFrame({"arm": list(arms), "error": "", metric: list(arms.values())})
        measured = summarise(table, swept, metric)
        return measured["best"], sentences({"metrics": {metric: measured}})

    sign = 1 if metric == "psnr" else -1
    best, said = report(sign * 20.0, sign * 21.0, sign * 19.0)
    assert best is not None
    assert "<- best" in said.splitlines()[2]
    best, said = report(sign * 22.0, sign * 21.0, sign * 19.0)
    assert best is None
    assert "best" not in said
    assert "No weight is better than the fit without." in said
    assert ("(dB)" if metric == "psnr" else "(grey levels of 255)") in said


def test_a_failing_prior_is_named(photos: Path, hybrid_dip_command: Command) -> None:
    (photos / "mine.py").write_text("def vector(x):\n    return x.mean(1)\n")
    given = ["sweep", photos / "noisy.png", "--task", "denoise", "--sigma", 25, *SMALL, "--workers", 1, "--quiet"]
    code, _, err = hybrid_dip_command(*given, "-R", f"{photos}/mine.py:vector@1,2", "-o", photos / "out")
    assert code == 2
    assert "2 of 3 fits failed; the first, of noisy by vector@1: FitError: The regulariser 'vector' must return a scalar" in err

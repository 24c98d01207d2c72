"""Logs are read back: TensorBoard's by its own reader, those of Weights & Biases from the files of its offline mode."""

import json
import math
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip.contracts import Fit, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.fitting.fit import fit
from hybrid_dip.fitting.loggers import Log, TensorBoard, Wandb
from hybrid_dip.fitting.observers import ReferenceWatch


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that Weights & Biases writes to; nothing leaves the machine."""
    folder = tmp_path_factory.mktemp("wandb")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DIR", "CACHE_DIR", "DATA_DIR", "CONFIG_DIR"):
            patch.setenv(f"WANDB_{name}", str(folder))
        for name, value in {"MODE": "offline", "ERROR_REPORTING": "false", "SILENT": "true"}.items():
            patch.setenv(f"WANDB_{name}", value)
        yield folder


def of_wandb(folder: Path) -> list[Any]:
    """All records of a run's file, in LevelDB's format: blocks of 32 KiB; pieces with a checksum, a length and a kind."""
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    wandb.teardown()  # a run that is finished is written a moment later, by another process
    (file,) = folder.glob("*.wandb")
    data, at, record, found = file.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        record, at = record + data[at + 7 : at + 7 + length], at + 7 + length
        if kind in (1, 4):  # the whole of a record, or its last piece
            found.append(Record.FromString(record))
            record = b""
    return found


def rows_of_wandb(folder: Path) -> list[dict[str, Any]]:
    histories = [record.history for record in of_wandb(folder) if record.HasField("history")]
    return [{item.key or item.nested_key[0]: json.loads(item.value_json) for item in one.item} for one in histories]


def of_tensorboard(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    return found.Reload()


def pixels(task: Task, *observers: Any, steps: int = 40, **options: Any) -> Fit:
    """x = theta, so that a step costs nothing."""
    network = hd.networks.pixels(1, 3, size=(32, 32))
    term = hd.Term(lambda x: x.square().mean(), 0.5, name="small")
    options = {"max_steps": steps, "log_every": 4, "average": 0.9, "observers": observers, **options}
    return fit(network, torch.zeros(1, 1, 32, 32), task, term, **options)


def killed_at(step: int) -> Any:
    """A rule-like halt that ends a fit as a crash does."""
    calls = iter(range(1, 10**6))

    def halt() -> bool:
        if next(calls) == step:
            raise KeyboardInterrupt
        return False

    return halt


def test_tensorboard_shows_what_the_history_has(noisy: Task, photograph: Tensor, tmp_path: Path) -> None:
    watch = ReferenceWatch(noisy, photograph)
    with Log(TensorBoard(tmp_path), noisy, photograph) as log:
        made = pixels(noisy, log, watch)
    found = of_tensorboard(tmp_path)
    names = {name: name for name in ("loss", "learning_rate")} | {"weight/small": "weight_small"}
    names |= {f"value/{part}": part for part in ("fidelity", "small")}
    names |= {f"gradient/{part}": f"gradient_{part}" for part in ("fidelity", "small")}
    assert set(found.Tags()["scalars"]) == {*names, "psnr"}
    for logged, column in names.items():
        rows = [(int(row["step"]), row[column]) for row in made.history]
        assert [(event.step, pytest.approx(event.value)) for event in found.Scalars(logged)] == rows
    assert {event.step: pytest.approx(event.value) for event in found.Scalars("psnr")} == watch.psnr
    pictures = found.Images("image")
    assert [picture.step for picture in pictures] == [0, 4, 8, 12, 20, 32, 39]  # the last one as the log is closed
    assert (pictures[0].width, pictures[0].height) == (32, 32)


def test_a_fit_that_was_killed_goes_on_in_its_log(noisy: Task, tmp_path: Path) -> None:
    """Steps 20 to 26 are logged twice: by the part that was killed after it was saved, and by the one that goes on."""
    states = hd.Checkpoint(tmp_path / "state.pt", every=20)
    with pytest.raises(KeyboardInterrupt):
        pixels(noisy, Log(TensorBoard(tmp_path / "log"), noisy), checkpoint=states, halt=killed_at(26))
    assert [event.step for event in of_tensorboard(tmp_path / "log").Scalars("loss")][-1] == 24
    with Log(TensorBoard(tmp_path / "log"), noisy) as log:
        made = pixels(noisy, log, checkpoint=states)
    found = of_tensorboard(tmp_path / "log")
    assert [event.step for event in found.Scalars("loss")] == [int(row["step"]) for row in made.history]
    assert [picture.step for picture in found.Images("image")] == [0, 4, 8, 12, 20, 32, 39]
    with Log(TensorBoard(tmp_path / "log"), noisy) as log:
        pixels(noisy, log, checkpoint=states)  # it is finished
    assert len(list((tmp_path / "log").iterdir())) == 2


def test_a_resumed_fit_goes_on_in_its_run(noisy: Task, photograph: Tensor, tmp_path: Path, offline: Path) -> None:
    states = hd.Checkpoint(tmp_path / "state.pt", every=20)
    with pytest.raises(KeyboardInterrupt), Log(Wandb("first", config={"sigma": 50}), noisy) as log:
        pixels(noisy, log, checkpoint=states, halt=killed_at(26))
    with Log(Wandb("second"), noisy, photograph) as log:
        made = pixels(noisy, log, checkpoint=states)
    (begun, resumed) = sorted((offline / "wandb").glob("offline-run-*"), key=lambda path: path.name)
    assert begun.name.split("-")[-1] == resumed.name.split("-")[-1], "another run"
    described = next(record.run for record in of_wandb(begun) if record.HasField("run"))
    assert described.display_name == "first"
    assert {item.key: item.value_json for item in described.config.update}["sigma"] == "50"
    rows = rows_of_wandb(resumed)
    numbers = [row for row in rows if "loss" in row]
    assert [row["step"] for row in numbers] == [20, 24, 28, 32, 36, 39]
    assert numbers[-1]["loss"] == pytest.approx(made.history[-1]["loss"])
    assert numbers[-1]["gradient/small"] == pytest.approx(made.history[-1]["gradient_small"])
    assert numbers[-1]["psnr"] == pytest.approx(hd.metrics.psnr(noisy.finish(made.last), photograph))
    assert [row["step"] for row in rows if "image" in row] == [20, 32, 39]
    assert len(list(resumed.glob("files/media/images/*.png"))) == 3


def test_a_run_of_the_user_is_used_and_stays_open(noisy: Task, offline: Path) -> None:
    import wandb

    with wandb.init() as run:
        run.log({"mine": 1})
        for name in ("seed-0", "seed-1"):
            with Log(Wandb(name), noisy) as log:
                pixels(noisy, log, steps=5)
        assert wandb.run is run
        run.log({"mine": 2})
        folder = Path(run.dir).parent
    rows = rows_of_wandb(folder)
    assert [row["mine"] for row in rows if "mine" in row] == [1, 2]
    for name in ("seed-0", "seed-1"):
        assert [row[f"{name}/step"] for row in rows if f"{name}/loss" in row] == [0, 4]


@pytest.mark.parametrize(("module", "extra"), [("torch.utils.tensorboard", "tensorboard"), ("wandb", "wandb")])
def test_a_missing_package_is_named(module: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SettingsError, match=rf"pip install 'hybrid-dip\[{extra}\]'"):
        TensorBoard(tmp_path) if extra == "tensorboard" else Wandb("dip")


def test_a_writer_of_ones_own(noisy: Task) -> None:
    """Three methods are enough; it has no state, so a fit can be saved all the same."""

    class Notes:
        def __init__(self) -> None:
            self.losses: list[float] = []
            self.sizes: set[tuple[int, ...]] = set()
            self.closed = False

        def numbers(self, step: int, values: Any) -> None:
            self.losses.append(values["loss"])

        def picture(self, step: int, picture: Tensor) -> None:
            self.sizes.add(tuple(picture.shape))

        def close(self) -> None:
            self.closed = True

    notes = Notes()
    hooks = hd.FitHooks([Log(notes, noisy)])
    hd.restore(noisy, preset="quick", steps=3, runs=1, hooks=lambda name: hooks)
    assert len(notes.losses) == 3
    assert all(map(math.isfinite, notes.losses))
    assert notes.sizes == {(1, 3, 32, 32)}
    assert notes.closed

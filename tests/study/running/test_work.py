import csv
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hybrid_dip.contracts import Step
from hybrid_dip.errors import SettingsError, StorageError
from hybrid_dip.execution import devices
from hybrid_dip.fusion.stacking import stack
from hybrid_dip.images.files import load_image, save_image
from hybrid_dip.images.metrics import psnr
from hybrid_dip.recipes.presets import quick
from hybrid_dip.restoring.hooks import FitHooks, FitName
from hybrid_dip.restoring.memory import memory_of_a_step
from hybrid_dip.restoring.restore import restore
from hybrid_dip.stopping.selection import Bootstrap, HeldOut
from hybrid_dip.study.reporting import results
from hybrid_dip.study.reporting.gallery import gallery_of
from hybrid_dip.study.reporting.report import report_study
from hybrid_dip.study.running import progress, work
from hybrid_dip.study.running.locks import held, take
from hybrid_dip.study.running.store import Store
from hybrid_dip.study.running.work import perform
from tests.studies import TINY, MakePlan

FAILING = """
def late(x):
    late.calls = getattr(late, "calls", 0) + 1
    if late.calls > 3:
        raise RuntimeError("my prior gave up,\\nin two lines")
    return x.square().mean()
"""


def test_a_run_is_what_restore_gives_and_what_it_wrote(make_plan: MakePlan, store: Store) -> None:
    run = make_plan(metrics=["psnr", "psnr_raw", "ssim"], tasks=[{"kind": "missing-pixels"}]).runs[1]
    assert perform(run, str(store.path)).status == "done"
    subject = run.preparation.build(run.source)
    assert subject.reference is not None
    recipe, terms, rule = run.method.build(subject.task)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    result = restore(subject.task, preset=recipe, regularisers=terms, rule=rule, seed=0, device="cpu")
    torch.set_num_threads(threads)
    assert torch.equal(store.output(run.key), result.raw)
    record = store.record(run.key)
    assert record is not None
    assert record["metrics"]["psnr"] == pytest.approx(psnr(result.image, subject.reference), abs=1e-9)
    assert record["metrics"]["psnr_raw"] == pytest.approx(psnr(result.raw, subject.reference), abs=1e-9)
    assert record["metrics"]["psnr"] > record["metrics"]["psnr_raw"], "known pixels are pasted back only in the finished image"
    assert (record["steps"], record["kept_at"], record["reason"], record["error"]) == (5, 4, "max_steps", "")
    assert record["config"] == json.loads(json.dumps(run.config))
    assert load_image(store.run(run.key) / "restored.png").shape == (1, 3, 16, 16)
    with (store.run(run.key) / "history.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [int(row["step"]) for row in rows] == [0, 1, 2, 3, 4]
    assert float(rows[-1]["psnr"]) == pytest.approx(record["metrics"]["psnr"], abs=1e-6)
    assert not store.work(run.key).exists()


def test_a_run_is_done_once(make_plan: MakePlan, store: Store) -> None:
    run = make_plan().runs[0]
    perform(run, str(store.path))
    before = (store.run(run.key) / "run.json").stat().st_mtime_ns
    assert perform(run, str(store.path)).status == "done"
    assert (store.run(run.key) / "run.json").stat().st_mtime_ns == before


def test_a_run_of_another_process_is_left_to_it(make_plan: MakePlan, store: Store) -> None:
    run = make_plan().runs[0]
    theirs = take(store.lock(run.key))
    assert theirs is not None
    assert perform(run, str(store.path)).status == "busy"
    assert held(store.lock(run.key))
    theirs.release()
    assert perform(run, str(store.path)).status == "done"


def test_an_error_is_recorded_with_its_place(make_plan: MakePlan, store: Store, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FAILING)
    run = make_plan(arms=[{"name": "a", **TINY, "steps": 5, "regularisers": ["mine.py:late@0.1"]}]).runs[0]
    outcome = perform(run, str(store.path))
    assert outcome.status == "failed"
    record = store.record(run.key)
    assert record is not None
    assert record["error"] == outcome.message
    assert "my prior gave up, in two lines" in outcome.message
    assert "mine.py" in record["traceback"]
    assert "metrics" not in record


def test_a_stopped_run_goes_on_to_the_same_floats(make_plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOOK", 0.0)
    run = make_plan(arms=[{"name": "a", **TINY, "steps": 20, "average": 0.9}]).runs[0]
    whole, parts = Store(tmp_path / "whole"), Store(tmp_path / "parts")
    perform(run, str(whole.path))
    runner = tmp_path / "runner"
    steps: list[int] = []
    fitting = work.restore

    def restore_for_three_steps(*given: Any, hooks: Any, **named: Any) -> Any:
        """The runner goes away while the third step from here is going on."""
        first = len(steps)

        def around(name: FitName) -> FitHooks:
            made: FitHooks = hooks(name)

            def count(step: Step) -> None:
                steps.append(step.index)
                if len(steps) == first + 3:
                    runner.unlink()

            return replace(made, observers=[*made.observers, count])

        return fitting(*given, hooks=around, **named)

    monkeypatch.setattr(work, "restore", restore_for_three_steps)
    outcomes = []
    while outcomes[-1:] != ["done"]:
        assert not parts.has(run.key)
        runner.touch()
        outcomes.append(perform(run, str(parts.path), str(runner), 0.0).status)
    assert outcomes == ["stopped"] * 6 + ["done"]
    assert steps == list(range(20)), "no step is taken twice"
    assert torch.equal(parts.output(run.key), whole.output(run.key))


def test_a_run_recomputes_where_memory_is_scarce(make_plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_plan(arms=[{"name": "a", "preset": "quick", "steps": 3}], crop=64).runs[0]
    task = run.subject().task
    kept, less = (memory_of_a_step(task, quick(task), recomputed=switch) for switch in (False, True))
    stores = {}
    for name, free in {"much": kept, "little": (kept + less) // 2, "none": less - 1}.items():
        monkeypatch.setattr(devices, "free_memory", lambda device, free=free: free)
        stores[name] = Store(tmp_path / name)
        perform(run, str(stores[name].path))
    for name, way in {"much": "float32", "little": "float32, recomputed"}.items():
        record = stores[name].record(run.key)
        assert record is not None
        assert record["hardware"]["execution"] == way
    assert torch.equal(stores["much"].output(run.key), stores["little"].output(run.key))
    failed = stores["none"].record(run.key)
    assert failed is not None
    assert "A step on 64x64 pixels needs about" in failed["error"]


def test_a_metric_that_fails_does_not_lose_the_fit(make_plan: MakePlan, store: Store, tmp_path: Path) -> None:
    source = "def mine(x, reference):\n    if {}:\n        raise ValueError('not like this')\n    return 7.0\n"
    (tmp_path / "score.py").write_text(source.format("False"))
    plan = make_plan(metrics=["psnr", "score.py:mine"])
    (tmp_path / "score.py").write_text(source.format("True"))
    assert perform(plan.runs[0], str(store.path)).status == "done"
    row = results.load(plan, store).iloc[0]
    assert "'mine' cannot be measured: ValueError: not like this" in row["error"]
    (tmp_path / "score.py").write_text(source.format("False"))
    row = results.load(plan, store).iloc[0]
    assert (row["mine"], row["error"]) == (7.0, ""), "once it works it is measured on what was saved"


def test_an_unreadable_state_is_as_good_as_none(make_plan: MakePlan, store: Store) -> None:
    run = make_plan().runs[0]
    store.work(run.key).mkdir(parents=True)
    (store.work(run.key) / "seed-0.pt").write_bytes(b"PK\x03\x04 half a file")
    assert perform(run, str(store.path)).status == "done"


def test_a_run_whose_runner_is_gone_does_not_begin(make_plan: MakePlan, store: Store, tmp_path: Path) -> None:
    assert perform(make_plan().runs[0], str(store.path), str(tmp_path / "nobody")).status == "stopped"
    assert not store.path.exists()


def test_an_unwritable_folder_is_no_failure_of_the_run(make_plan: MakePlan, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    outcome = perform(make_plan().runs[0], str(tmp_path / "file"))
    assert outcome.status == "unwritable"
    assert "what is finished is safe" in outcome.message


def test_threads_of_one_process_take_turns(make_plan: MakePlan, tmp_path: Path) -> None:
    """Torch's random state belongs to the process: two fits at once would draw from one stream."""
    plan = make_plan(seeds=[0, 1])
    alone, together = Store(tmp_path / "alone"), Store(tmp_path / "together")
    for run in plan.runs:
        perform(run, str(alone.path))
    threads = [threading.Thread(target=perform, args=(run, str(together.path))) for run in plan.runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for run in plan.runs:
        assert torch.equal(alone.output(run.key), together.output(run.key))


def test_several_runs_of_an_arm_are_averaged(make_plan: MakePlan, store: Store) -> None:
    arms = [{"name": "one", **TINY, "steps": 5}, {"name": "two", **TINY, "steps": 5, "runs": 2}]
    first, second, both = make_plan(arms=arms[:1], seeds=[0, 1]).runs + make_plan(arms=arms[1:]).runs
    for run in (first, second, both):
        perform(run, str(store.path))
    mean = (store.output(first.key) + store.output(second.key)) / 2
    assert torch.allclose(store.output(both.key), mean, atol=1e-6)
    record = store.record(both.key)
    assert record is not None
    assert record["steps"] == 10


def test_a_file_changed_since_the_plan_is_refused(make_plan: MakePlan, store: Store, tmp_path: Path) -> None:
    save_image(torch.rand(1, 3, 16, 16), tmp_path / "mine.png")
    (tmp_path / "mine.py").write_text("def flat(x):\n    return x.square().mean()\n")
    arms = [{"name": "a", **TINY, "steps": 5, "regularisers": ["mine.py:flat@0.1"]}]
    first, second = make_plan(images=["mine.png"], arms=arms, seeds=[0, 1]).runs
    save_image(torch.rand(1, 3, 16, 16), tmp_path / "mine.png")
    outcome = perform(first, str(store.path))
    assert outcome.status == "failed"
    assert "has changed since (image_sha256): run the study again" in outcome.message
    (tmp_path / "mine.py").write_text("def flat(x):\n    return x.abs().mean()\n")
    assert "(image_sha256, files_sha256)" in perform(second, str(store.path)).message


def test_the_fits_of_two_seeds_are_four_different_ones(make_plan: MakePlan, store: Store) -> None:
    plan = make_plan(seeds=[0, 1], arms=[{"name": "two", **TINY, "steps": 2, "runs": 2}])
    fitted = []
    for run in plan.runs:
        assert perform(run, str(store.path)).status == "done"
        with (store.run(run.key) / "history.csv").open() as handle:
            fitted.append({float(row["seed"]) for row in csv.DictReader(handle)})
    assert {0.0, 1.0} in fitted
    assert {2.0, 3.0} in fitted


STACK = [
    {"name": "dip", **TINY, "steps": 5},
    {"name": "stack", **TINY, "steps": 5, "fuse": "stack", "regularisers": ["tv@0.05"],
     "presets": ["one-shot:denoiser=median"]},
]  # fmt: skip


def test_an_arm_may_be_a_stack(make_plan: MakePlan, store: Store) -> None:
    run = make_plan(arms=STACK).runs[1]
    assert run.passes == 4, "two of the arms are fits, and each is judged in another one"
    assert perform(run, str(store.path)).status == "done"
    subject = run.preparation.build(run.source)
    arms = run.method.stack(subject.task)
    assert [arm.name for arm in arms] == ["dip", "dip+tv", "one-shot:denoiser=median"]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = stack(subject.task, arms, seed=0, device="cpu")
    torch.set_num_threads(threads)
    assert torch.equal(store.output(run.key), found.raw)
    record = store.record(run.key)
    assert record is not None
    assert record["weights"] == pytest.approx(found.weights)
    assert (record["steps"], record["reason"]) == (2 * (5 + 5 + 1), "stacked, judged by bootstrap")
    assert record["config"]["fuse"] == "stack"
    maps = store.weights(run.key)
    assert (maps is None) == (found.combination.maps is None)


def test_a_stopped_stack_goes_on_to_the_same_floats(
    make_plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_plan(arms=STACK).runs[1]
    whole, part = Store(tmp_path / "whole"), Store(tmp_path / "part")
    perform(run, str(whole.path))
    asked: list[int] = []

    def asked_to_stop(watch: progress.Watch) -> bool:
        asked.append(0)
        return len(asked) == 8  # in the second fit

    monkeypatch.setattr(progress.Watch, "__call__", asked_to_stop)
    assert perform(run, str(part.path), checkpoint_age=0.0).status == "stopped"
    assert not part.has(run.key)
    assert len(list(part.work(run.key).glob("*.pt"))) >= 1
    assert perform(run, str(part.path), checkpoint_age=0.0).status == "done"
    assert torch.equal(part.output(run.key), whole.output(run.key))


def test_an_estimated_noise_level_does_not_make_a_bootstrap(make_plan: MakePlan, tmp_path: Path) -> None:
    save_image(torch.rand(1, 3, 16, 16), tmp_path / "noisy.png")
    for options, expected in (({}, HeldOut), ({"sigma": 25}, Bootstrap)):
        task = {"kind": "denoise", "observed": True, "held_out": 0.1, **options}
        plan = make_plan(arms=STACK, images=["noisy.png"], metrics=["held_out"], tasks=[task])
        judges = plan.runs[1].selection(replace(plan.runs[1].subject().task, weight=None))
        assert isinstance(judges, expected)


@pytest.mark.parametrize(
    ("arm", "sentence"),
    [
        ({"presets": ["quick"]}, 'go with fuse = "stack"'),
        ({"fuse": "stack", "regularisers": ["tv@1"], "stop": "wmv"}, "'stop' does not go with 'fuse'"),
        ({"fuse": "stack", "presets": ["quik"]}, "did you mean 'quick'"),
        ({"fuse": "stak"}, "should be 'stack'"),
    ],
)
def test_what_is_wrong_with_a_stack_is_said_beforehand(make_plan: MakePlan, arm: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        make_plan(arms=[{"name": "a", **TINY, "steps": 5, **arm}])


def test_a_time_budget_is_for_each_fit_of_a_stack(make_plan: MakePlan, store: Store) -> None:
    plan = make_plan(arms=STACK, budget={"seconds_per_run": 1e-6})
    run = next(run for run in plan.runs if run.method.entry.fuse == "stack")
    perform(run, str(store.path))
    record = store.record(run.key)
    assert record is not None
    assert record["steps"] == run.passes + 2, "a step of each fit, and twice the denoiser's"


def test_maps_of_a_stack_are_kept_and_shown(make_plan: MakePlan, store: Store) -> None:
    plan = make_plan(arms=STACK)
    run = plan.runs[1]
    perform(run, str(store.path))
    maps = torch.rand(3, 16, 16).softmax(0)
    save_image(maps[None], store.run(run.key) / "weights.npy")
    found = store.weights(run.key)
    assert found is not None
    assert torch.equal(found, maps)
    (shown,) = gallery_of(plan, store, results.load(plan, store)).maps["denoise"]["astronaut"].values()
    assert list(shown) == ["dip", "dip+tv", "one-shot:denoiser=median"]
    report_study(plan, store)
    assert "stack: weight of dip+tv" in (store.path / "report.html").read_text()
    (store.run(run.key) / "weights.npy").write_bytes(b"")
    with pytest.raises(StorageError, match=r"weights\.npy is missing or damaged"):
        store.weights(run.key)

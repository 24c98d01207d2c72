"""What the study runner costs beside the fits, and how long a large study takes to load.

    python benchmarks/studies.py overhead    # a study against the same fits in a plain pool of processes; on a quiet machine
    python benchmarks/studies.py load        # 10,000 finished runs into results.csv and report.md
    python benchmarks/studies.py memory      # memory of a worker process without its fit

``overhead`` times both sides in turns, as a whole, with the start of their processes; the result is their ratio.
"""

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import psutil
import torch

import hybrid_dip as hd
from hybrid_dip.errors import one_sentence
from hybrid_dip.execution import devices
from hybrid_dip.study.describe.plan import Plan, Run, plan_study
from hybrid_dip.study.describe.settings import as_study
from hybrid_dip.study.reporting import results
from hybrid_dip.study.reporting.report import report_study
from hybrid_dip.study.running.executors import Workers
from hybrid_dip.study.running.machine import core_count
from hybrid_dip.study.running.run import run_study
from hybrid_dip.study.running.store import Store

WORKERS = core_count()


def study(**changed: Any) -> Plan:
    """A plan of quick fits."""
    content: dict[str, Any] = {
        "name": "benchmark",
        "images": ["skimage:astronaut"],
        "crop": 64,
        "tasks": [{"kind": "denoise", "sigma": 25}],
        "arms": [{"name": "quick", "preset": "quick", "steps": 300}],
    }
    return plan_study(as_study({**content, **changed}))


def plain(run: Run) -> float:
    """Make the fit of a run and nothing else; return its PSNR in dB."""
    torch.set_num_threads(run.threads)
    subject = run.preparation.build(run.source)
    recipe, terms, rule = run.method.build(subject.task)
    result = hd.restore(subject.task, preset=recipe, regularisers=terms, rule=rule, seed=run.seed, device="cpu", progress=False)
    assert subject.reference is not None
    return hd.metrics.psnr(result.image, subject.reference)


def overhead(repeats: int) -> dict[str, Any]:
    """Time a study and a plain pool that makes the same fits; the ratio is study over pool."""
    plan = study(seeds=list(range(4 * WORKERS)))
    seconds: dict[str, list[float]] = {"plain": [], "study": []}
    for _ in range(repeats):
        began = time.perf_counter()
        with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("spawn")) as pool:
            scores = list(pool.map(plain, plan.runs))
        seconds["plain"].append(time.perf_counter() - began)
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            with Workers(WORKERS) as workers:
                run_study(plan, Store(folder), workers, at_once=WORKERS)
            seconds["study"].append(time.perf_counter() - began)
            stored = [(Store(folder).record(run.key) or {})["metrics"]["psnr"] for run in plan.runs]
        assert stored == scores, "both sides do the same work"
        print({name: round(values[-1], 2) for name, values in seconds.items()}, flush=True)
    ratios = [ours / theirs for ours, theirs in zip(seconds["study"], seconds["plain"], strict=True)]
    return {"runs": len(plan.runs), "workers": WORKERS, **seconds, "ratio": statistics.median(ratios), "ratios": ratios}


def load(count: int) -> dict[str, Any]:
    """Time how long a study of this many finished runs takes to become a table and a report."""
    images = [{"path": "skimage:astronaut", "name": f"image-{i}", "crop": [i, i, 16, 16]} for i in range(count // 100)]
    arms = [{"name": f"arm-{i}", "preset": "quick", "steps": 5 + i} for i in range(10)]
    began = time.perf_counter()
    plan = study(images=images, crop=None, arms=arms, seeds=list(range(10)))
    seconds_to_plan = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        for number, run in enumerate(plan.runs):
            facts = {"seconds": 1.0, "steps": 5, "kept_at": 4, "reason": "max_steps"}
            metrics = {"psnr": 20 + number % 7, "ssim": 0.5}
            measured = {name: name for name in metrics}
            manifest = {"config": dict(run.config), "error": "", "metrics": metrics, "measured": measured, **facts}
            # As publish() writes it, but without waiting for the disk each time.
            store.run(run.key).mkdir(parents=True)
            (store.run(run.key) / "run.json").write_text(json.dumps(manifest, indent=2))
            (store.run(run.key) / "history.csv").write_text("seed,step,psnr,seconds\n0.0,0.0,10.0,0.1\n0.0,4.0,20.0,1.0\n")
            np.save(store.run(run.key) / "output.npy", np.zeros((16, 16, 3), np.float32))
        began = time.perf_counter()
        table = results.load(plan, store)
        seconds_to_load = time.perf_counter() - began
        began = time.perf_counter()
        report_study(plan, store)
        seconds_to_report = time.perf_counter() - began
    assert len(table) == len(plan.runs)
    return {
        "runs": len(plan.runs),
        "seconds_to_plan": seconds_to_plan,
        "seconds_to_load": seconds_to_load,
        "seconds_to_report": seconds_to_report,
    }


def memory() -> dict[str, Any]:
    """Measure the memory that a worker with everything loaded shares with no other process; library code is shared."""
    with Workers(1) as workers:
        own = workers.submit(_own_memory, study(crop=16).runs[0]).result()
    return {"own_mib": own / 2**20}


def _own_memory(run: Run) -> int:
    run.method.build(run.preparation.build(run.source).task)
    return int(psutil.Process().memory_full_info().uss)


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["overhead", "load", "memory"], help="what to measure")
    parser.add_argument("--repeats", type=int, default=3, help="pairs that overhead times")
    parser.add_argument("--runs", type=int, default=10_000, help="finished runs of load")
    arguments = parser.parse_args()
    if arguments.what == "overhead":
        measured = overhead(arguments.repeats)
    else:
        measured = load(arguments.runs) if arguments.what == "load" else memory()
    print(json.dumps({**measured, "machine": devices.describe(torch.device("cpu"))}, indent=2))


if __name__ == "__main__":
    with one_sentence("studies.py"):
        main()

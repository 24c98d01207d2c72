"""A fusion into a result folder: what ``hybrid-dip restore --fuse`` does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from hybrid_dip.cli.job import Job, JobHooks, run_and_tell
from hybrid_dip.cli.result_folder import ResultFolder
from hybrid_dip.errors import SettingsError, interruptible, nearest
from hybrid_dip.fusion.arms import arms_for
from hybrid_dip.fusion.consensus import ROUNDS, STEPS, agree
from hybrid_dip.fusion.stacking import Stacked, averages, default_selection, stack
from hybrid_dip.fusion.tuning import SHORT, most_fits, scale_weight, tune
from hybrid_dip.images import figures
from hybrid_dip.images.atomic import as_file_name
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.regularisers.terms import Terms
from hybrid_dip.restoring.estimate import Estimate, duration, estimate
from hybrid_dip.restoring.manifest import __version__
from hybrid_dip.restoring.writer import ResultWriter, check_reference, describe_stop, describe_time
from hybrid_dip.stopping.selection import Bootstrap, HeldOut, Selection, steps_of

MODES = ("stack", "held-out", "sure", "consensus")


@dataclass(frozen=True, eq=False)
class Fusing:
    """How the priors of a job are fused.

    Attributes:
        mode: One of :data:`MODES`.
        arms: SPECs of presets that take part in a stack beside the job's own arms.
        share: Share of the measurements that is held out.

    Raises:
        SettingsError: The mode is not known, or there are arms and it is not "stack".
    """

    mode: str
    arms: tuple[str, ...] = ()
    share: float = 0.1

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise SettingsError(f"Unknown --fuse '{self.mode}': {nearest(self.mode, list(MODES))}.")
        if self.arms and self.mode != "stack":
            raise SettingsError(f"--arm goes with --fuse stack, not with --fuse {self.mode}.")

    def selection(self, job: Job) -> Selection:
        """How the data that judge are held back."""
        if self.mode == "sure":
            return Bootstrap()
        held = HeldOut(share=self.share)
        if self.mode == "held-out":
            return held
        chosen = default_selection(job.task, estimated=bool(job.settings.get("noise_sigma_estimated")))
        return held if isinstance(chosen, HeldOut) else chosen


def fuse_and_tell(job: Job, fusing: Fusing, folder: ResultFolder, *, resume: bool, overwrite: bool) -> None:
    """Fuse into a folder and print how it went.

    Args:
        job: What to restore, with the priors to fuse as its terms.
        fusing: How they are fused.
        folder: The result folder.
        resume: Whether to go on where an earlier run of the same job stopped.
        overwrite: Whether to remove an earlier run.

    Raises:
        Interrupted: The user pressed Ctrl-C; what was done is saved.
        HybridDIPError: The job cannot be done.
    """
    check_reference(job.reference, job.task)
    if isinstance(job.rule, Selection) or job.rule != job.recipe.rule:
        raise SettingsError("--stop does not go with --fuse: each arm ends by its preset's own rule.")
    settings = {**job.settings, "fuse": fusing.mode, "arms": list(fusing.arms), "held_out": fusing.share}
    weighed = _earlier_weights(folder) if resume else {}
    folder.check({**settings, **weighed}, resume=resume, overwrite=overwrite)
    if resume and folder.finished:
        job.say(f"{folder.path} is finished already.")
        return
    job = replace(job, settings=settings)
    if fusing.mode in ("consensus", "stack"):  # otherwise the last fit says it
        job.say_what_is_filled_in()
    if fusing.mode == "consensus":
        _finish(job, folder, _agree(job, folder, overwrite))
    elif fusing.mode == "stack":
        _finish(job, folder, _stack(job, fusing, folder, overwrite))
    elif weighed:  # the search is over; only the fit with the weights that it chose goes on
        factors = {name: entry["factor"] for name, entry in weighed["found"].items()}
        terms = tuple(scale_weight(term, factors[term.name]) for term in job.terms if term.name in factors)
        run_and_tell(replace(job, terms=terms, settings={**settings, **weighed}), folder, resume=True, overwrite=False)
    else:
        run_and_tell(_tune(job, fusing.selection(job)), folder, resume=False, overwrite=overwrite)


def _earlier_weights(folder: ResultFolder) -> dict[str, Any]:
    """The weights that an earlier search chose, where the fit with them was stopped; else empty."""
    before = folder.settings()
    return {name: before[name] for name in ("found", "trials") if name in before}


def _cost(job: Job) -> Estimate:
    """What a fit costs; the time for each must be enough for one step."""
    cost = estimate(job.task, job.recipe, job.device, job.terms)
    if job.time_budget is not None and job.time_budget < cost.seconds_per_step:
        raise SettingsError(
            f"--time-budget is for each fit: {job.time_budget:g} s are too short for one step, which takes about "
            f"{cost.seconds_per_step:.2g} s; give more."
        )
    return cost


def _tune(job: Job, selection: Selection) -> Job:
    """Search for weights; the same job with those that were chosen."""
    terms = Terms(job.terms)
    selection.replicates(job.task)
    cost = _cost(job)
    fits, short = most_fits(terms, selection), round(SHORT * job.recipe.steps)
    seconds = (fits * short + job.recipe.runs * job.recipe.steps) * cost.seconds_per_step
    job.say(f"Up to {fits} fits of {short} steps, then one of all: {duration(seconds)} at most.")
    with interruptible() as interrupted:
        tuned = tune(
            job.task,
            job.recipe,
            terms,
            selection=selection,
            seed=job.seed,
            device=job.device,
            time_budget=job.time_budget,
            progress=not job.quiet,
            hooks=JobHooks(job, None, interrupted),
        )
    for name, factor in tuned.factors.items():
        job.say(f"{name}: {factor:.3g} times its weight" if factor else f"{name}: left out, it does not help")
    chosen = {term.name: {"weight": str(term.weight), "factor": tuned.factors[term.name]} for term in tuned.terms}
    trials = [{"factors": dict(trial.factors), "score": trial.score} for trial in tuned.trials]
    return replace(job, terms=tuned.terms, settings={**job.settings, "found": chosen, "trials": trials})


@dataclass(frozen=True, eq=False)
class _Fusion:
    """What a fusion came to.

    Attributes:
        image: Finished, (1, C, H, W).
        raw: Before finishing.
        arms: Name -> the arm's own image, finished.
        described: Name -> what the manifest says of the arm.
        fusion: What the manifest says of the fusion.
        rows: The history.
        stop: How it ended.
        seconds: Seconds of all fits.
        said: How it went, in a line.
    """

    image: Tensor
    raw: Tensor
    arms: dict[str, Tensor]
    described: dict[str, Any]
    fusion: dict[str, Any]
    rows: Sequence[Mapping[str, float]]
    stop: dict[str, Any]
    seconds: float
    said: str


def _finish(job: Job, folder: ResultFolder, fused: _Fusion) -> None:
    """Write everything, and say how it went."""
    with folder.writing():
        writer = _write(job, folder, fused)
    job.say(fused.said)
    if not job.quiet:
        pictures = [name for name in ("comparison.png", "weights.png") if (folder.path / name).exists()]
        print(writer.closing_words("", fused.image, fused.raw, pictures))


def _write(job: Job, folder: ResultFolder, fused: _Fusion) -> ResultWriter:
    writer = job.writer(folder)
    writer.save("restored", fused.image, job.picture)
    for name, image in fused.arms.items():
        writer.show(f"arm-{as_file_name(name)}.png", image)
    writer.compare({**fused.arms, "fused": fused.image})
    writer.write_history(fused.rows)
    writer.write_manifest(
        {
            "version": __version__,
            "settings": job.settings,
            **writer.measure(fused.image, fused.raw),
            "arms": fused.described,
            "fusion": fused.fusion,
            "stop": fused.stop,
            **describe_time(fused.seconds, fused.stop["steps"]),
            "hardware": {"device": str(job.device), "threads": torch.get_num_threads(), "torch": torch.__version__},
        }
    )
    return writer


def _stack(job: Job, fusing: Fusing, folder: ResultFolder, overwrite: bool) -> _Fusion:
    selection = fusing.selection(job)
    arms = arms_for(job.task, job.recipe, Terms(job.terms), fusing.arms)
    replicates = selection.replicates(job.task)
    cost = _cost(job)
    fits = sum(isinstance(arm.preset, Recipe) for arm in arms) * (len(replicates) + 1) * job.recipe.runs
    folder.open(job.settings, overwrite=overwrite)
    job.say(
        f"{len(arms)} arms ({', '.join(arm.name for arm in arms)}), judged by {selection.reason}: "
        f"{duration(fits * job.recipe.steps * cost.seconds_per_step)} for {fits} fits of {job.recipe.steps} steps."
    )
    with interruptible() as interrupted:
        stacked = stack(
            job.task,
            arms,
            selection=selection,
            seed=job.seed,
            device=job.device,
            time_budget=job.time_budget,
            progress=not job.quiet,
            hooks=JobHooks(job, folder, interrupted),
        )
    writer, combination = job.writer(folder), stacked.combination
    with folder.writing():
        _write_weights(writer, stacked)
    fusion = {"judged_by": selection.reason, "error": combination.error, **combination.settings}
    if averages(job.task):
        fusion["not_judged"] = "weighed evenly"
        job.say("The weights are of what the operator shows; what it averages away no data can judge, and is weighed evenly.")
    errors = dict(zip(stacked.arms, combination.errors, strict=True))
    return _Fusion(
        image=stacked.image,
        raw=stacked.raw,
        arms={name: result.image for name, result in stacked.arms.items()},
        described={
            name: {
                "weight": stacked.weights[name],
                "judged_error": errors[name],
                "stop": describe_stop(result.fits[0]),
                **writer.measure(result.image, result.raw),
            }
            for name, result in stacked.arms.items()
        },
        fusion=fusion,
        rows=[{"arm": number, **row} for number, result in enumerate(stacked.arms.values()) for row in result.fits[0].history],
        stop={"reason": f"stacked, judged by {selection.reason}", "kept_at": None, "steps": stacked.steps},
        seconds=stacked.seconds,
        said="; ".join(f"{name} {weight:.2f}" for name, weight in stacked.weights.items()),
    )


def _write_weights(writer: ResultWriter, stacked: Stacked) -> None:
    """Write each arm's weight as a map: as numbers, as a picture of all, and as a picture of each."""
    combination, size = stacked.combination, writer.task.shape[-2:]
    maps = combination.weights[:, None, None].expand(-1, *size) if combination.maps is None else combination.maps
    writer.save_array("weights.npy", maps[None].float())
    titles = [f"{name}: {weight:.2f}" for name, weight in stacked.weights.items()]
    figures.save_maps(writer.folder / "weights.png", dict(zip(titles, maps, strict=True)))
    for name, one in zip(stacked.arms, maps, strict=True):
        writer.show_map(f"weights-{as_file_name(name)}.png", one[None, None].float())


def _agree(job: Job, folder: ResultFolder, overwrite: bool) -> _Fusion:
    cost = _cost(job)
    folder.open(job.settings, overwrite=overwrite)
    job.say(
        f"A fit of {job.recipe.steps} steps, {duration(job.recipe.steps * cost.seconds_per_step)} at most, then up to {ROUNDS} "
        f"rounds with {STEPS} more of the network in each, {duration(ROUNDS * STEPS * cost.seconds_per_step)} at most."
    )
    with interruptible() as interrupted:
        agreed = agree(
            job.task,
            job.recipe,
            Terms(job.terms),
            seed=job.seed,
            device=job.device,
            time_budget=job.time_budget,
            progress=not job.quiet,
            hooks=JobHooks(job, folder, interrupted),
        )
    task, writer = job.task.to("cpu"), job.writer(folder)
    answers, apart = agreed.equilibrium.answers, agreed.equilibrium.disagreement
    images = {name: task.finish(answer[None].cpu()) for name, answer in zip(agreed.names, answers, strict=True)}
    rounds, first = len(apart), agreed.first.fits[0]
    return _Fusion(
        image=agreed.image,
        raw=agreed.raw,
        arms=images,
        described={name: {"weight": 1 / len(images), **writer.measure(image, image)} for name, image in images.items()},
        fusion={"disagreement": list(apart)},
        rows=first.history,
        stop={
            "reason": "agreed" if rounds < ROUNDS else "all rounds",
            "kept_at": None,
            "steps": steps_of(first) + rounds * STEPS,
        },
        seconds=agreed.seconds,
        said=f"{rounds} rounds; the agents' answers are {255 * apart[-1]:.2f} grey levels of 255 apart.",
    )

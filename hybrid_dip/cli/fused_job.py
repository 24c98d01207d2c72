"""A fused restoration into a result folder: what ``hybrid-dip restore --fuse`` does."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from hybrid_dip.cli.job import Job, JobHooks, check_reference, comparison, measure, run_and_tell
from hybrid_dip.cli.result_folder import ResultFolder
from hybrid_dip.errors import SettingsError, interruptible, nearest
from hybrid_dip.fusion.consensus import ROUNDS, STEPS, agree
from hybrid_dip.fusion.stacking import Arm, arms_of, averages, default_selection, stack
from hybrid_dip.fusion.tuning import SHORT, most_fits, scale_weight, tune
from hybrid_dip.images import figures
from hybrid_dip.images.atomic import as_file_name
from hybrid_dip.images.files import save_image
from hybrid_dip.regularisers.terms import Terms
from hybrid_dip.restoring.estimate import Estimate, duration, estimate
from hybrid_dip.restoring.manifest import __version__
from hybrid_dip.stopping.selection import Bootstrap, HeldOut, Selection, steps_of

MODES = ("stack", "held-out", "sure", "consensus")


@dataclass(frozen=True, eq=False)
class Fusing:
    """How the priors of a job are fused.

    Attributes:
        mode: One of :data:`MODES`.
        arms: SPECs of presets that take part in a stack beside the job's own arms.
        share: Of the measurements that is held out.

    Raises:
        SettingsError: An unknown mode, or arms for another one than "stack".
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
        """The data that judge."""
        if self.mode == "sure":
            return Bootstrap()
        held = HeldOut(share=self.share)
        if self.mode == "held-out":
            return held
        # A noise level that was estimated is not sure enough for the bootstrap, which adds noise of just that level.
        estimated = bool(job.settings.get("noise_sigma_estimated"))
        chosen = default_selection(job.task)
        return held if estimated or isinstance(chosen, HeldOut) else chosen


def fuse_and_tell(job: Job, fusing: Fusing, folder: ResultFolder, *, resume: bool, overwrite: bool) -> None:
    """Fuse into a folder and print how it went.

    Args:
        job: What to restore, with the priors to fuse as its terms.
        fusing: How.
        folder: Where.
        resume: Go on where an earlier run of the same job stopped.
        overwrite: Remove an earlier run.

    Raises:
        Interrupted: Somebody pressed Ctrl-C; what was done is saved.
        HybridDIPError: The job cannot be done.
    """
    say: Callable[[str], None] = (lambda text: None) if job.quiet else (lambda text: print(text, file=sys.stderr))
    check_reference(job)
    if isinstance(job.rule, Selection) or job.rule != job.recipe.rule:
        raise SettingsError("--stop does not go with --fuse: each arm ends by its preset's own rule.")
    settings = {**job.settings, "fuse": fusing.mode, "arms": list(fusing.arms), "held_out": fusing.share}
    found_before = _found_before(folder) if resume else {}
    folder.check({**settings, **found_before}, resume=resume, overwrite=overwrite)
    if resume and folder.finished:
        say(f"{folder.path} is finished already.")
        return
    selection = fusing.selection(job)
    terms = Terms(job.terms)
    if fusing.mode == "stack":
        _stack(job, fusing, selection, folder, settings, overwrite, say)
    elif fusing.mode == "consensus":
        _consensus(job, folder, settings, overwrite, say)
    elif found_before:
        # The search is over; only the fit with the weights found goes on.
        factors = {name: entry["factor"] for name, entry in found_before["found"].items()}
        weighted = tuple(scale_weight(term, factors[term.name]) for term in terms if term.name in factors)
        going_on = replace(job, terms=weighted, settings={**settings, **found_before})
        run_and_tell(going_on, folder, resume=True, overwrite=False)
    else:
        selection.replicates(job.task)
        cost = _cost(job)
        short = round(SHORT * job.recipe.steps)
        seconds = (most_fits(terms, selection) * short + job.recipe.runs * job.recipe.steps) * cost.seconds_per_step
        say(f"Up to {most_fits(terms, selection)} fits of {short} steps, then one of all: {duration(seconds)} at most.")
        with interruptible() as interrupted:
            tuned = tune(
                job.task,
                job.recipe,
                terms,
                selection=selection,
                seed=job.seed,
                device=job.device,
                time_budget=job.time_budget,
                hooks=JobHooks(job, None, interrupted),
            )
        for name, factor in tuned.factors.items():
            say(f"{name}: {factor:.3g} times its weight" if factor else f"{name}: left out, it does not help")
        found = {term.name: {"weight": str(term.weight), "factor": tuned.factors[term.name]} for term in tuned.terms}
        trials = [{"factors": dict(trial.factors), "score": trial.score} for trial in tuned.trials]
        chosen = replace(job, terms=tuned.terms, settings={**settings, "found": found, "trials": trials})
        run_and_tell(chosen, folder, resume=False, overwrite=overwrite)


def _found_before(folder: ResultFolder) -> dict[str, Any]:
    """The weights that an earlier search had found when the fit with them was stopped; empty where there are none."""
    before = folder.settings()
    return {name: before[name] for name in ("found", "trials") if name in before}


def _cost(job: Job) -> Estimate:
    """What a fit costs, where the time for each is enough for one step at least."""
    cost = estimate(job.task, job.recipe, job.device, job.terms)
    if job.time_budget is not None and job.time_budget < cost.seconds_per_step:
        raise SettingsError(
            f"--time-budget is for each fit: {job.time_budget:g} s are too short for one step, which takes about "
            f"{cost.seconds_per_step:.2g} s; give more."
        )
    return cost


def _stack(
    job: Job,
    fusing: Fusing,
    selection: Selection,
    folder: ResultFolder,
    settings: dict[str, Any],
    overwrite: bool,
    say: Callable[[str], None],
) -> None:
    arms = [*arms_of(job.recipe, Terms(job.terms)), *(Arm(text, text) for text in fusing.arms)]
    if len(arms) < 2:
        raise SettingsError("A stack needs at least two arms: add priors by -R, or presets by --arm.")
    replicates = selection.replicates(job.task)
    cost = _cost(job)
    fits = (len(arms) - len(fusing.arms)) * (len(replicates) + 1) * job.recipe.runs
    folder.open(settings, overwrite=overwrite)
    say(
        f"{len(arms)} arms ({', '.join(arm.name for arm in arms)}), judged by {selection.reason}: "
        f"{duration(fits * job.recipe.steps * cost.seconds_per_step)} for {fits} fits of {job.recipe.steps} steps."
    )
    with interruptible() as interrupted:
        found = stack(
            job.task,
            arms,
            selection=selection,
            seed=job.seed,
            device=job.device,
            time_budget=job.time_budget,
            hooks=JobHooks(job, folder, interrupted),
        )
    combination, place = found.combination, folder.path
    images = {name: result.image for name, result in found.arms.items()}
    _save(job, folder, found.image, images)
    titles = {name: f"{name}: {weight:.2f}" for name, weight in found.weights.items()}
    maps = combination.maps if combination.maps is not None else _flat(combination.weights, job)
    save_image(maps[None].float(), place / "weights.npy")
    figures.save_maps(place / "weights.png", dict(zip(titles.values(), maps, strict=True)))
    for name, one in zip(images, maps, strict=True):
        save_image(one[None, None].float(), place / f"weights-{as_file_name(name)}.png")
    rows = [{"arm": number, **row} for number, result in enumerate(found.arms.values()) for row in result.fits[0].history]
    folder.write_history(rows)
    errors = dict(zip(images, combination.errors, strict=True))
    described = {
        name: {
            "weight": found.weights[name],
            "judged_error": errors[name],
            "stop": _stop(result.fits[0].reason, result.fits[0].kept_at, result.fits[0].steps),
            **_metrics(job, result.image, result.raw),
        }
        for name, result in found.arms.items()
    }
    fusion = {"judged_by": selection.reason, "error": combination.error, **combination.settings}
    if averages(job.task):
        fusion["not_judged"] = "weighed evenly"
        say("The weights are of what the operator shows; what it averages away no data can judge, and is weighed evenly.")
    stop = _stop(f"stacked, judged by {selection.reason}", None, found.steps)
    _manifest(job, folder, settings, described, fusion, found.image, found.raw, stop, found.seconds)
    say("; ".join(f"{name} {weight:.2f}" for name, weight in found.weights.items()))
    _tell(job, found.image, found.raw, folder, say)


def _consensus(job: Job, folder: ResultFolder, settings: dict[str, Any], overwrite: bool, say: Callable[[str], None]) -> None:
    cost = _cost(job)
    folder.open(settings, overwrite=overwrite)
    say(
        f"A fit of {job.recipe.steps} steps, {duration(job.recipe.steps * cost.seconds_per_step)} at most, then up to {ROUNDS} "
        f"rounds with {STEPS} more of the network in each, {duration(ROUNDS * STEPS * cost.seconds_per_step)} at most."
    )
    with interruptible() as interrupted:
        found = agree(
            job.task,
            job.recipe,
            Terms(job.terms),
            seed=job.seed,
            device=job.device,
            time_budget=job.time_budget,
            hooks=JobHooks(job, folder, interrupted),
        )
    task = job.task.to("cpu")
    images = {name: task.finish(answer[None].cpu()) for name, answer in zip(found.names, found.found.answers, strict=True)}
    _save(job, folder, found.image, images)
    folder.write_history(found.first.fits[0].history)
    described = {name: {"weight": 1 / len(images), **_metrics(job, image, image)} for name, image in images.items()}
    fusion = {"disagreement": list(found.found.disagreement)}
    rounds = len(found.found.disagreement)
    stop = _stop("agreed" if rounds < ROUNDS else "all rounds", None, steps_of(found.first.fits[0]) + rounds * STEPS)
    _manifest(job, folder, settings, described, fusion, found.image, found.raw, stop, found.seconds)
    last = 255 * found.found.disagreement[-1]
    say(f"{len(found.found.disagreement)} rounds; the agents' answers are {last:.2f} grey levels of 255 apart.")
    _tell(job, found.image, found.raw, folder, say)


def _flat(weights: Tensor, job: Job) -> Tensor:
    return weights[:, None, None].expand(-1, *job.task.shape[-2:])


def _save(job: Job, folder: ResultFolder, image: Tensor, arms: dict[str, Tensor]) -> None:
    size = (job.task.shape[-2], job.task.shape[-1])
    shown = image if job.task.shape[1] in (1, 3) else figures.visible_channels(image)
    save_image(shown, folder.path / "restored.png", alpha=job.picture.alpha_at(size), bits=job.picture.bits)
    if job.picture.is_array or job.task.shape[1] not in (1, 3):
        save_image(image, folder.path / "restored.npy")
    for name, one in arms.items():
        save_image(figures.visible_channels(one), folder.path / f"arm-{as_file_name(name)}.png")
    figures.save_comparison(folder.path / "comparison.png", comparison(job, {**arms, "fused": image}))


def _metrics(job: Job, image: Tensor, raw: Tensor) -> dict[str, Any]:
    return {} if job.reference is None else {"metrics": measure(job.task, image, raw, job.reference)}


def _stop(reason: str, kept_at: int | None, steps: int) -> dict[str, Any]:
    return {"reason": reason, "kept_at": kept_at, "steps": steps}


def _manifest(
    job: Job,
    folder: ResultFolder,
    settings: dict[str, Any],
    arms: dict[str, Any],
    fusion: dict[str, Any],
    image: Tensor,
    raw: Tensor,
    stop: dict[str, Any],
    seconds: float,
) -> None:
    folder.write_manifest(
        {
            "version": __version__,
            "settings": settings,
            **_metrics(job, image, raw),
            "arms": arms,
            "fusion": fusion,
            "stop": stop,
            "seconds": seconds,
            "seconds_per_step": seconds / max(1, stop["steps"]),
            "hardware": {"device": str(job.device), "threads": torch.get_num_threads(), "torch": torch.__version__},
        }
    )


def _tell(job: Job, image: Tensor, raw: Tensor, folder: ResultFolder, say: Callable[[str], None]) -> None:
    if not job.quiet:
        if job.reference is not None:
            found = measure(job.task, image, raw, job.reference)
            print(", ".join(f"{name} {value:.2f}" + (" dB" if "psnr" in name else "") for name, value in found.items()))
        pictures = [name for name in ("comparison.png", "weights.png") if (folder.path / name).exists()]
        print(f"Look at {' and '.join(str(folder.path / name) for name in pictures)}.")

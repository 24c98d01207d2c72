"""`hybrid-dip pretrain-network`: theta_0 from many images, where fits begin instead of at random weights.

Reptile (Nichol, Achiam & Schulman 2018, "On first-order meta-learning algorithms") over Deep Image Prior fits, as MetaDIP
(Zhang et al. 2022) learns an initialisation:

    theta <- theta + epsilon (theta_k - theta),   theta_k: after k steps of a fit to one image that starts at theta

Each round takes another image, another part of it and another latent, so theta_0 belongs to no latent, unless the latent is
always the same, such as ``meshgrid``. Only then are steps saved (experiments/008_learned_start). epsilon falls linearly to 0.
The fit is to the clean image, or to the degraded one as in a restoration.

After each round every filter bank gets the norm back that it was drawn with. A layer with a normalisation after it does not
depend on that norm, but Adam's steps have one size. Left alone the norms grow, and fits that start there turn the filters more
slowly, which costs more steps than a learned start saves.
"""

import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from cyclopts import Parameter
from torch import Tensor, nn
from tqdm import tqdm

from hybrid_dip.cli.method import Setup
from hybrid_dip.cli.options import HOW, CleanImages, OutFile, Overwrite, Part, Quiet, check_new
from hybrid_dip.cli.wrong import Simulation
from hybrid_dip.contracts import Case, Task
from hybrid_dip.errors import Interrupted, SettingsError, interruptible
from hybrid_dip.execution import devices
from hybrid_dip.fitting.fit import fit
from hybrid_dip.fitting.random_state import Draws
from hybrid_dip.images.atomic import replacement
from hybrid_dip.images.files import fingerprint
from hybrid_dip.networks.start import write_start
from hybrid_dip.problem import operators, tasks
from hybrid_dip.recipes.catalogue import catalogue
from hybrid_dip.recipes.limits import check_at_least_one
from hybrid_dip.recipes.prepare import prepare
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.study.describe.sections import ImageEntry
from hybrid_dip.study.describe.sources import expand

SAVED_EVERY = 20
"""Rounds between two saved states."""


@Parameter(name="*")
@dataclass(frozen=True)
class Plan:
    """How theta_0 is learnt."""

    rounds: int = 300
    """Number of fits."""
    steps: int = 30
    """Steps of each fit."""
    epsilon: float = 0.5
    """How far theta goes along with the first fit; it falls to 0."""
    to: str = "clean"
    """What is fitted: clean, or observation as in a restoration."""
    side: int = 128
    """Side of the part of an image that a fit takes, in pixels."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        check_at_least_one(rounds=self.rounds, steps=self.steps, side=self.side)
        if self.to not in ("clean", "observation"):
            raise SettingsError(f"--to is clean or observation, got '{self.to}'.")
        if not 0 < self.epsilon <= 1:
            raise SettingsError(f"--epsilon is in (0, 1], got {self.epsilon}.")


def learn(
    images: Sequence[Tensor],
    degrade: Callable[[Tensor, int], Case],
    recipe: Callable[[Task], Recipe],
    plan: Plan,
    device: torch.device,
    *,
    state: Path | None = None,
    halt: Callable[[], bool] = lambda: False,
    quiet: bool = True,
) -> tuple[nn.Module, int]:
    """Learn theta_0.

    Args:
        images: Clean images, (1, C, H, W) each, in [0, 1].
        degrade: Image, seed -> case of the task; each round has a seed of its own.
        recipe: Task -> recipe of the fits.
        plan: How to learn.
        device: Device of the fits.
        state: File that the state is saved to now and then, and continued from.
        halt: Asked between two rounds whether to end.
        quiet: Show no progress bar.

    Returns:
        The network with theta_0, on the CPU, and the number of rounds done.
    """
    draw = torch.Generator().manual_seed(plan.seed)
    first = degrade(_part(images[0], plan.side, draw), plan.seed).task
    network = prepare(first, recipe(first), plan.seed)[0].to(device)
    drawn = [parameter.detach().norm() for parameter in network.parameters()]
    done = 0
    if state is not None and state.exists():
        saved = torch.load(state, weights_only=True)
        network.load_state_dict(saved["network"])
        done = saved["round"]
    with tqdm(total=plan.rounds, initial=done, unit="fit", disable=quiet) as bar:
        while done < plan.rounds and not halt():
            # A round depends on its number alone, so it does not matter where the training was stopped.
            draw.manual_seed(plan.seed + 1 + done)
            image = images[int(torch.randint(len(images), (), generator=draw))]
            case = degrade(_part(image, plan.side, draw), plan.seed + 1 + done)
            loss = _run_round(network, case, recipe(case.task), plan, done, device)
            _restore_norms(network, drawn)
            done += 1
            bar.set_postfix_str(f"loss {loss:.5f}")
            bar.update()
            if state is not None and (done % SAVED_EVERY == 0 or done == plan.rounds):
                _save(state, network, done)
    if state is not None:
        _save(state, network, done)
    return network.cpu(), done


def _run_round(network: nn.Module, case: Case, recipe: Recipe, plan: Plan, number: int, device: torch.device) -> float:
    """Fit once, move theta towards the result, and return the loss of the last step."""
    task = case.task if plan.to == "observation" else tasks.linear(case.reference, operators.Identity())
    before = [parameter.detach().clone() for parameter in network.parameters()]
    draws = Draws(plan.seed + 1 + number)
    latent = prepare(case.task, recipe, draws.seed, draws)[1]
    fitted = fit(
        network,
        latent.to(device),
        task.to(device),
        max_steps=plan.steps,
        optimizer=recipe.build_optimizer(),
        jitter=recipe.jitter,
        log_every=plan.steps,
        generator=draws.on(device),
    )
    epsilon = plan.epsilon * (1 - number / plan.rounds)
    with torch.no_grad():
        for parameter, old in zip(network.parameters(), before, strict=True):
            parameter.copy_(old.lerp(parameter, epsilon))
    return fitted.history[-1]["loss"]


def _restore_norms(network: nn.Module, drawn: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for parameter, norm in zip(network.parameters(), drawn, strict=True):
            if parameter.ndim > 1 and norm > 0:
                parameter.mul_(norm / parameter.norm())


def _part(image: Tensor, side: int, draw: torch.Generator) -> Tensor:
    height, width = (min(side, extent) for extent in image.shape[-2:])
    top = int(torch.randint(image.shape[-2] - height + 1, (), generator=draw))
    left = int(torch.randint(image.shape[-1] - width + 1, (), generator=draw))
    return image[..., top : top + height, left : left + width]


def _save(path: Path, network: nn.Module, done: int) -> None:
    with replacement(path) as temporary:
        torch.save({"network": network.state_dict(), "round": done}, temporary)


def _read(places: Sequence[str]) -> list[Tensor]:
    """All images at these places, which are files, folders or patterns."""
    sources = expand([ImageEntry(path=place) for place in places], Path(), None)
    images = [source.load() for source in sources]
    if len({image.shape[1] for image in images}) > 1:
        raise SettingsError("The images are partly grey and partly in colour; a network has one number of channels.")
    return images


@Parameter(name="*", group=HOW)
@dataclass(frozen=True, kw_only=True)
class RoundSetup(Setup):
    """What is fitted in each round."""

    preset: str = "quick"
    """Recipe; see `hybrid-dip list presets`."""


def pretrain_network(
    images: CleanImages,
    /,
    *,
    wrong: Simulation,
    out: Annotated[OutFile, Parameter(help="File to write, .safetensors.")],
    setup: RoundSetup = RoundSetup(),
    plan: Plan = Plan(),
    device: str = "auto",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Learn from IMAGES where fits of a task begin, for `hybrid-dip restore --start FILE`. Stop it, repeat it: it goes on.

    It pays for fits with the same fixed latent only: --latent meshgrid, here and there.
    """
    if out.suffix != ".safetensors":
        raise SettingsError(f"A start is a .safetensors file, got {out.name}.")
    check_new(out, overwrite=overwrite)
    random = "seed" in inspect.signature(catalogue().get("degradations", wrong.task)).parameters

    def degrade(image: Tensor, seed: int) -> Case:
        return wrong.make(image, Part(), seed if random else None)

    read = _read(images)
    case = degrade(_part(read[0], plan.side, torch.Generator().manual_seed(plan.seed)), plan.seed)
    about: dict[str, Any] = {
        "preset": setup.preset,
        "network": setup.network,
        "task": wrong.task,
        "task_options": {name: value for name, value in wrong.options.items() if value is not None},
        "recipe": setup.recipe(case.task).describe(),
        **vars(plan),
        "images": len(read),
    }
    made_of = [fingerprint(image) for image in read]
    key = fingerprint(torch.tensor(list(json.dumps([about, made_of], default=str).encode())))[:12]
    state = out.with_name(f".{out.stem}.{key}.state.pt")
    with interruptible() as pressed:
        learnt, done = learn(read, degrade, setup.recipe, plan, devices.pick(device), state=state, halt=pressed, quiet=quiet)
    if done < plan.rounds:
        raise Interrupted(f"Interrupted after {done} of {plan.rounds} fits; repeat the command to go on.")
    write_start(learnt, out, json.loads(json.dumps(about, default=str)))
    state.unlink(missing_ok=True)
    if not quiet:
        same = f" --latent {setup.latent}" if setup.latent else ""
        print(
            f"Wrote {out}: use it by hybrid-dip restore IMAGE --task {wrong.task} --preset {setup.preset}{same} --start {out}."
        )

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import hybrid_dip as hd
from hybrid_dip.contracts import Case, Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.images import metrics
from hybrid_dip.images.files import save_image
from hybrid_dip.networks.start import read_start, write_start
from hybrid_dip.problem import degradations
from hybrid_dip.recipes.prepare import prepare
from hybrid_dip.restoring.restore import restore
from pretrained.pretrain_network import Plan, learn

Command = Callable[..., tuple[int, str, str]]
CPU = torch.device("cpu")
PLAN = Plan(rounds=12, steps=15, epsilon=0.7, to="clean", side=32, seed=0)


def network(in_channels: int, out_channels: int) -> nn.Module:
    return hd.networks.skip(in_channels, out_channels, down=(8, 8), skip=(2, 2), upsample="bilinear")


def recipe(task: Task) -> hd.Recipe:
    return hd.Recipe(network, lambda size: hd.latents.uniform(8, size), steps=10, lr=0.01, jitter=0.01)


def degrade(image: Tensor, seed: int = 0) -> Case:
    return degradations.noisy(image, sigma=0.1, seed=seed)


def test_a_fit_of_another_image_begins_nearer(photograph: Tensor, tmp_path: Path) -> None:
    images = [photograph.flip(-1), photograph.flip(-2), photograph.flip(-1).flip(-2)]
    learnt, done = learn(images, degrade, recipe, PLAN, CPU)
    assert done == PLAN.rounds
    write_start(learnt, tmp_path / "theta.safetensors", {})
    case = degrade(photograph)
    begun = hd.Recipe(**{**vars(recipe(case.task)), "start": read_start(tmp_path / "theta.safetensors")})
    for seed in (5, 6):  # with latents that it has not seen
        random = restore(case.task, preset=recipe(case.task), seed=seed, device="cpu")
        learned = restore(case.task, preset=begun, seed=seed, device="cpu")
        assert metrics.psnr(learned.image, photograph) > metrics.psnr(random.image, photograph) + 1


def test_filters_keep_the_norms_that_they_were_drawn_with(photograph: Tensor) -> None:
    case = degrade(photograph)
    drawn, _ = prepare(case.task, recipe(case.task), PLAN.seed)
    learnt, _ = learn([photograph], degrade, recipe, PLAN, CPU)
    for (name, before), after in zip(drawn.named_parameters(), learnt.parameters(), strict=True):
        assert not torch.equal(before, after), name
        if before.ndim > 1:
            assert after.norm().item() == pytest.approx(before.norm().item(), rel=1e-5)


def test_a_stopped_training_goes_on_to_the_same_values(photograph: Tensor, tmp_path: Path) -> None:
    plan = Plan(rounds=4, steps=3, epsilon=0.7, to="observation", side=24, seed=1)
    whole, _ = learn([photograph], degrade, recipe, plan, CPU)
    asked: list[int] = []

    def halt() -> bool:
        asked.append(0)
        return len(asked) > 2

    state = tmp_path / "state.pt"
    _, done = learn([photograph], degrade, recipe, plan, CPU, state=state, halt=halt)
    assert done == 2
    torch.manual_seed(99)
    resumed, _ = learn([photograph], degrade, recipe, plan, CPU, state=state)
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())


def test_every_round_has_noise_of_its_own(photograph: Tensor) -> None:
    seen: list[Tensor] = []

    def watched(image: Tensor, seed: int) -> Case:
        case = degrade(image, seed)
        seen.append(case.task.observation - image)
        return case

    learn([photograph], watched, recipe, Plan(2, 1, 0.5, "observation", 32, 0), CPU)
    assert len(seen) == 3
    assert not any(torch.equal(a, b) for a, b in ((seen[0], seen[1]), (seen[1], seen[2]), (seen[0], seen[2])))


def test_the_random_state_of_the_caller_is_left_alone(photograph: Tensor) -> None:
    before = torch.get_rng_state()
    learn([photograph], degrade, recipe, Plan(1, 2, 0.5, "clean", 32, 0), CPU)
    assert torch.equal(torch.get_rng_state(), before)


def test_on_the_command_line(photograph: Tensor, tmp_path: Path, hybrid_dip_command: Command) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(2):
        save_image(photograph.roll(number, -1), tmp_path / "photos" / f"{number}.png")
    out = tmp_path / "theta.safetensors"
    options = ["--task", "denoise", "--sigma", 25, "--network", "skip:down=8,8,skip=2,2", "--rounds", 2, "--steps", 2]
    given = ["pretrain-network", tmp_path / "photos", *options, "--side", 32, "-o", out]
    code, said, _ = hybrid_dip_command(*given)
    assert code == 0
    assert "--start" in said
    about = read_start(out).about
    assert (about["preset"], about["rounds"], about["images"], about["task_options"]) == ("quick", 2, 2, {"sigma": 25.0})
    assert json.dumps(about)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "theta.safetensors"], "the state is gone"
    code, _, err = hybrid_dip_command(*given)
    assert code == 2
    assert "exists; add --overwrite" in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to", "noisy"], "--to is clean or observation"),
        (["--epsilon", 0], "--epsilon is in (0, 1]"),
        (["--rounds", 0], "--rounds must be"),
        (["--factor", 4], "--factor does not go with 'denoise'"),
        (["--network", "unte"], "did you mean 'unet'"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    options: list[str | int], words: str, photograph: Tensor, tmp_path: Path, hybrid_dip_command: Command
) -> None:
    save_image(photograph, tmp_path / "a.png")
    given = ["pretrain-network", tmp_path / "a.png", "--task", "denoise", "--quiet", "-o", tmp_path / "theta.safetensors"]
    code, _, err = hybrid_dip_command(*given, *options)
    assert code == 2
    assert words in err
    assert len(err.strip().splitlines()) == 1


def test_images_of_one_kind(photograph: Tensor, tmp_path: Path, hybrid_dip_command: Command) -> None:
    save_image(photograph, tmp_path / "a.png")
    save_image(photograph[:, :1], tmp_path / "b.png")
    code, _, err = hybrid_dip_command("pretrain-network", tmp_path, "--task", "denoise", "-o", tmp_path / "theta.safetensors")
    assert code == 2
    assert "partly grey" in err
    with pytest.raises(SettingsError):
        Plan(1, 1, 2.0, "clean", 32, 0)

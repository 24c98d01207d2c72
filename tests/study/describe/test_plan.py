import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hybrid_dip.errors import SettingsError
from hybrid_dip.images.files import save_image
from hybrid_dip.study.describe.plan import Plan, plan_study
from hybrid_dip.study.describe.settings import as_study
from hybrid_dip.study.reporting import results
from hybrid_dip.study.running.run import run_study
from hybrid_dip.study.running.store import Store
from tests.studies import TINY, Inline, MakePlan


def keys(plan: Plan) -> list[str]:
    return [run.key for run in plan.runs]


def test_every_arm_meets_every_image_task_and_seed_once(make_plan: MakePlan) -> None:
    plan = make_plan(
        images=["skimage:astronaut", "skimage:camera"], seeds=[0, 1], tasks=[{"kind": "denoise"}, {"kind": "jpeg"}]
    )
    labels = [(run.image, run.task, run.arm, run.seed) for run in plan.runs]
    assert len(labels) == len(set(labels)) == 2 * 2 * 2 * 2
    # all arms of an image are started next to each other, the second seed only after all of the first
    assert labels[:2] == [("astronaut", "denoise", "dip", 0), ("astronaut", "denoise", "dip+tv", 0)]
    assert [seed for *_, seed in labels] == [0] * 8 + [1] * 8


def test_each_difference_in_settings_gives_another_key(make_plan: MakePlan, tmp_path: Path) -> None:
    base = set(keys(make_plan()))
    assert base == set(keys(make_plan()))
    assert base == set(keys(make_plan(name="other", metrics=["psnr"]))), "what is measured afterwards changes no fit"
    arms = [{"name": "dip", **TINY, "steps": 5}]
    different: dict[str, dict[str, Any]] = {
        "image": {"images": ["skimage:coffee"]},
        "crop": {"crop": 17},
        "strength": {"tasks": [{"kind": "denoise", "sigma": 26}]},
        "protocol": {"tasks": [{"kind": "denoise", "sigma": 25, "clip": True}]},
        "seed": {"seeds": [1]},
        "threads": {"threads": 2},
        "time": {"budget": {"seconds_per_run": 3}},
        "steps": {"arms": [{**arms[0], "steps": 6}]},
        "network": {"arms": [{**arms[0], "network": "unet"}]},
        "rate": {"arms": [{**arms[0], "lr": 0.02}]},
        "average": {"arms": [{**arms[0], "average": 0.5}]},
        "weight": {"arms": [{**arms[0], "regularisers": ["tv@0.06"]}]},
        "rule": {"arms": [{**arms[0], "stop": "discrepancy"}]},
        "runs": {"arms": [{**arms[0], "runs": 2}]},
    }
    seen = set(base)
    for what, changed in different.items():
        found = set(keys(make_plan(**changed)))
        assert not found & seen, what
        seen |= found
    assert make_plan(arms=[{"name": "renamed", **TINY, "steps": 5}]).runs[0].key in base, "a name changes no fit"


def test_a_key_is_the_hash_of_a_json_configuration(make_plan: MakePlan) -> None:
    config = make_plan().runs[1].config
    assert json.loads(json.dumps(config, default=str)) == json.loads(json.dumps(config))
    assert config["recipe"]["steps"] == 5
    assert config["regularisers"] == ["tv@0.05"]
    assert {"version", "threads", "device", "image_sha256", "seed"} <= set(config)


def test_a_change_of_a_user_s_file_changes_the_key(make_plan: MakePlan, tmp_path: Path) -> None:
    arms = [{"name": "mine", **TINY, "steps": 5, "regularisers": ["mine.py:flat@0.1"]}]
    (tmp_path / "mine.py").write_text("def flat(x):\n    return x.square().mean()\n")
    before = make_plan(arms=arms).runs[0]
    (tmp_path / "mine.py").write_text("def flat(x):\n    return x.abs().mean()\n")
    after = make_plan(arms=arms).runs[0]
    assert before.key != after.key
    assert str(tmp_path) not in json.dumps(before.config), "another place gives the same key"
    mask = torch.ones(1, 1, 512, 512)
    masks = []
    for row in (250, 260):
        mask[..., row, :] = 0
        save_image(mask, tmp_path / "mask.png")
        masks.append(make_plan(tasks=[{"kind": "inpaint", "mask": "mask.png"}]).runs[0].key)
    assert masks[0] != masks[1]


def test_a_run_travels_to_another_process_and_is_made_there(make_plan: MakePlan) -> None:
    run = pickle.loads(pickle.dumps(make_plan(threads=2).runs[1]))
    task = run.preparation.build(run.source).task
    recipe, terms, _ = run.method.build(task)
    assert task.observation.shape == (1, 3, 16, 16)
    assert recipe.steps == run.steps == 5
    assert [term.name for term in terms] == ["tv"]


def test_a_task_may_have_steps_of_its_own(make_plan: MakePlan) -> None:
    plan = make_plan(tasks=[{"kind": "denoise"}, {"kind": "super-resolve", "factor": 2, "steps": 7}])
    assert {run.task: run.config["recipe"]["steps"] for run in plan.runs} == {"denoise": 5, "super-resolve": 7}
    assert {run.steps for run in plan.runs if run.task == "super-resolve"} == {7}


def test_a_network_s_modules_and_options_are_in_the_key(
    make_plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Classes of one name in two modules, with other options, or with other content, are other networks."""
    source = """
from torch import nn
class Net(nn.Module):
    def __init__(self, in_channels=32, out_channels=3, width={width}):
        super().__init__()
        self.layer = nn.Conv2d(32, 3, 1)
    def forward(self, z):
        return self.layer(z).sigmoid()
def net(in_channels, out_channels):
    return Net()
"""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("first_module", "second_module"):
        (tmp_path / f"{name}.py").write_text(source.format(width=8))
    arm = {"name": "a", **TINY, "steps": 5}
    texts = ["first_module:net", "second_module:net", "unet", "unet:feature_scale=8"]
    found = [make_plan(arms=[{**arm, "network": text}]).runs[0].key for text in texts]
    (tmp_path / "first_module.py").write_text(source.format(width=9))
    found.append(make_plan(arms=[{**arm, "network": texts[0]}]).runs[0].key)
    assert len(set(found)) == 5


def test_arms_that_are_one_on_one_task_share_its_run(make_plan: MakePlan, store: Store) -> None:
    """For JPEG the lean preset is the paper's recipe but for its number of steps."""
    arms = [{"name": name, "preset": name, "steps": 3} for name in ("original", "quick")]
    plan = make_plan(arms=arms, crop=32, tasks=[{"kind": "denoise"}, {"kind": "jpeg"}])
    assert (len(plan.runs), len(plan.unique)) == (4, 3)
    found = run_study(plan, store, Inline())
    assert (found.total, found.done, found.left) == (3, 3, 0)
    table = results.load(plan, store)
    assert table["arm"].tolist() == ["original", "quick"] * 2
    assert table["psnr"][2] == table["psnr"][3]


def test_results_of_an_earlier_version_can_be_named(content: dict[str, Any], tmp_path: Path) -> None:
    study = as_study(content, tmp_path / "study.toml")
    now, before = plan_study(study), plan_study(study, version="0.0.1")
    assert now.runs[0].key != before.runs[0].key
    with pytest.raises(SettingsError, match=r"has changed since \(version\): run the study again"):
        before.runs[0].subject()


def test_tasks_of_one_kind_are_told_apart_by_what_differs(make_plan: MakePlan) -> None:
    tasks = [{"kind": "denoise", "sigma": 15, "clip": True}, {"kind": "denoise", "sigma": 50, "clip": True}, {"kind": "jpeg"}]
    assert make_plan(tasks=tasks).tasks == ["denoise sigma=15", "denoise sigma=50", "jpeg"]
    assert make_plan(tasks=[{"kind": "denoise", "name": "noise"}]).tasks == ["noise"]
    with pytest.raises(SettingsError, match="2 tasks are called 'noise'"):
        make_plan(tasks=[{"kind": "denoise", "name": "noise"}, {"kind": "jpeg", "name": "noise"}])


def test_a_task_may_have_its_own_crop(make_plan: MakePlan) -> None:
    plan = make_plan(crop=32, tasks=[{"kind": "denoise"}, {"kind": "jpeg", "crop": 16}])
    sides = {run.task: run.preparation.build(run.source).task.shape[-1] for run in plan.runs}
    assert sides == {"denoise": 32, "jpeg": 16}


def test_a_mask_is_cut_with_its_image(make_plan: MakePlan, tmp_path: Path) -> None:
    mask = torch.ones(1, 1, 512, 512)
    mask[..., 250, 252] = 0
    save_image(mask, tmp_path / "mask.png")
    run = make_plan(tasks=[{"kind": "inpaint", "mask": "mask.png"}]).runs[0]
    weight = run.preparation.build(run.source).task.weight
    assert weight is not None
    assert weight.shape[-2:] == (16, 16)
    assert weight[0, 0].argmin() == (250 - 248) * 16 + (252 - 248)


def test_images_may_be_named_on_the_command_line(content: dict[str, Any], tmp_path: Path, photograph: torch.Tensor) -> None:
    save_image(photograph, tmp_path / "mine.png")
    plan = plan_study(as_study({**content, "images": ["gone/*.png"]}), images=str(tmp_path))
    assert plan.images == ["mine"]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a task's name": (
        {"tasks": [{"kind": "denoize"}]},
        "task 1 ('denoize'), astronaut: There is no 'denoize' among the degradations: did you mean 'denoise'",
    ),
    "a task's option": (
        {"tasks": [{"kind": "denoise", "sgima": 25}]},
        "task 1 ('denoise'), astronaut: 'denoise' has no option 'sgima': did you mean 'sigma'",
    ),
    "a task's value": (
        {"tasks": [{"kind": "denoise", "sigma": "25"}]},
        "task 1 ('denoise'), astronaut: sigma is in grey levels of 255, at least 0 and at most 2550, got '25'",
    ),
    "a value's type": (
        {"tasks": [{"kind": "jpeg", "quality": "low"}]},
        "task 1 ('jpeg'), astronaut: The option 'quality' of 'jpeg' must be of type int, got 'low'",
    ),
    "no mask": ({"tasks": [{"kind": "inpaint"}]}, "'inpaint' needs 'mask'"),
    "a mask that is not there": (
        {"tasks": [{"kind": "inpaint", "mask": "none.png"}]},
        "task 1 ('inpaint'), astronaut: There is no file",
    ),
    "a preset": (
        {"arms": [{"name": "a", "preset": "qick"}]},
        "arm 1 ('a'): There is no 'qick' among the presets: did you mean 'quick'",
    ),
    "a weight": (
        {"arms": [{"name": "a", "regularisers": ["tv@0.05", "tgv@-1"]}]},
        "arm 1 ('a'): 'tgv@-1': The weight of a term must be a finite number",
    ),
    "a regulariser": (
        {"arms": [{"name": "a", "regularisers": ["tw@1"]}]},
        "arm 1 ('a'): There is no 'tw' among the regularisers: did you mean 'tv'",
    ),
    "a rule": (
        {"arms": [{"name": "a", "stop": "wmw"}]},
        "arm 1 ('a'): There is no 'wmw' among the stopping: did you mean 'wmv'",
    ),
    "a rule that does not apply": (
        {"tasks": [{"kind": "jpeg"}], "arms": [{"name": "a", "stop": "discrepancy"}]},
        "arm 1 ('a'): The discrepancy rule needs",
    ),
    "a metric": ({"metrics": ["psnrr"]}, "metrics, astronaut: There is no 'psnrr' among the metrics: did you mean 'psnr'"),
    "a metric that does not apply": ({"metrics": ["ms_ssim"]}, "metrics, astronaut: MS-SSIM needs at least 176x176 pixels"),
    "arms of one kind": (
        {"arms": [{"name": "a"}, {"name": "b"}]},
        "the arms 'a' and 'b' are the same",
    ),
    "a number where yes or no is asked": (
        {"tasks": [{"kind": "denoise", "clip": "false"}]},
        "The option 'clip' of 'denoise' must be True or False, got 'false'",
    ),
    "a seed out of range": (
        {"tasks": [{"kind": "denoise", "seed": 2**70}]},
        "task 1 ('denoise'), astronaut: An option of 'denoise' has a value that cannot be used",
    ),
    "a network that cannot be made": (
        {"arms": [{"name": "a", "preset": "quick", "network": "skip:down=7"}]},
        "arm 1 ('a'): The network or the latent cannot be made",
    ),
    "an optimiser that cannot be made": ({"arms": [{"name": "a", "preset": "quick", "lr": 0.0}]}, "arm 1 ('a'): --lr must be"),
    "a metric that fails": (
        {"metrics": ["psnr:data_range=0"]},
        "metrics, astronaut: 'psnr:data_range=0' cannot be measured",
    ),
    "two metrics of one column": ({"metrics": ["psnr", "psnr:"]}, "Two metrics are called 'psnr'"),
    "a small crop": ({"crop": 8}, "at least 16x16 pixels are needed"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_before_anything_starts(make_plan: Callable[..., Plan], case: str) -> None:
    changed, sentence = WRONG[case]
    with pytest.raises((SettingsError, FileNotFoundError)) as error:
        make_plan(**changed)
    assert "study.toml" in str(error.value)
    assert sentence in str(error.value)

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import hybrid_dip as hd
from hybrid_dip.contracts import Task
from hybrid_dip.errors import SettingsError
from hybrid_dip.execution import PLAIN, Execution, Trial, candidates, fastest
from hybrid_dip.presets import fast, quick
from hybrid_dip.restore import prepare, restore
from tests.command import SMALL

Command = Callable[..., tuple[int, str, str]]
CPU = torch.device("cpu")
HALF = Execution("bfloat16")


def gradients(network: nn.Module, latent: Tensor, target: Tensor) -> Tensor:
    network.zero_grad()
    (network(latent) - target).square().mean().backward()
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


@pytest.mark.parametrize("preset", [fast, quick])
def test_half_precision_points_the_same_way_and_leaves_parameters_single(preset: Callable[..., hd.Recipe], noisy: Task) -> None:
    network, latent = prepare(noisy, preset(noisy), 0)
    other = HALF.applied(copy.deepcopy(network), CPU)
    single, half = (gradients(one, latent, noisy.observation) for one in (network, other))
    assert not torch.equal(single, half), "it is another way"
    # 0.89 and 0.93 on these 32x32 pixels: batch norm over the deepest maps, of 4 pixels, blows the roundings up.
    assert float(torch.cosine_similarity(single, half, dim=0)) > 0.85
    assert float(half.norm() / single.norm()) == pytest.approx(1, abs=0.25)
    assert other(latent).dtype == torch.float32
    assert {p.dtype for p in other.parameters()} == {torch.float32}
    assert list(other.state_dict()) == list(network.state_dict())


def test_a_fit_in_half_precision_is_another_one_that_says_so(noisy: Task) -> None:
    found = {way: restore(noisy, preset="fast", steps=15, runs=1, device="cpu", execution=way) for way in (PLAIN, HALF)}
    assert found[HALF].hardware["execution"] == "bfloat16"
    assert found[PLAIN].hardware["execution"] == "float32"
    assert not torch.equal(found[HALF].image, found[PLAIN].image)
    assert (found[HALF].image - found[PLAIN].image).square().mean().sqrt() < 0.1


def test_tf32_is_allowed_during_a_fit_and_not_after_it() -> None:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    for way, expected in ((PLAIN, False), (Execution("tf32"), True)):
        with way.around():
            assert torch.backends.cuda.matmul.allow_tf32 is torch.backends.cudnn.allow_tf32 is expected
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


def test_what_is_left_open_is_tried_the_plain_way_first() -> None:
    assert candidates("float32", "off", CPU) == [PLAIN]
    assert candidates("auto", "off", CPU) == [PLAIN, HALF]
    assert candidates("auto", "on", torch.device("cuda"))[1] == Execution("tf32", True)
    assert len(candidates("auto", "auto", torch.device("cuda"))) == 6
    with pytest.raises(SettingsError, match="on, off or auto, got 'yes'"):
        candidates("float32", "yes", CPU)
    with pytest.raises(SettingsError, match="did you mean 'bfloat16'"):
        candidates("bfloat", "off", CPU)


def test_the_fastest_is_that_of_the_whole_fit_and_has_to_beat_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("hybrid_dip.execution.time.perf_counter", lambda: now[0])

    def timed(paces: dict[Execution, tuple[float, float]]) -> Callable[[Execution, Callable[[], None]], None]:
        def run(way: Execution, done: Callable[[], None]) -> None:
            if way not in paces:
                raise RuntimeError("no compiler\nhere")
            for step in range(6):
                now[0] += paces[way][0 if step == 0 else 1]
                done()

        return run

    ways = [PLAIN, HALF, Execution(compiled=True)]
    compiled = {PLAIN: (1.0, 1.0), HALF: (1.0, 0.9), ways[2]: (50.0, 0.5)}
    assert fastest(ways, 20, timed(compiled))[0] == HALF
    assert fastest(ways, 1000, timed(compiled))[0] == ways[2], "compiling pays in a long fit"
    assert fastest(ways, 20, timed({**compiled, HALF: (1.0, 0.97)}))[0] == PLAIN, "too little for so short a trial"
    found, trials = fastest(ways, 1000, timed({PLAIN: (1.0, 1.0), HALF: (1.0, 2.0)}))
    assert found == PLAIN
    assert trials[2] == Trial(ways[2], 0.0, 0.0, "RuntimeError: no compiler")


def test_the_command_says_what_it_took_and_goes_on_with_it(files: Path, hybrid_dip_command: Command) -> None:
    command = ["restore", files / "noisy.png", "--task", "denoise", "--sigma", 25, *SMALL, "--steps", 6, "-o", files / "out"]
    status, _, err = hybrid_dip_command(*command, "--precision", "auto")
    assert status == 0, err
    assert err.count("<- taken") == 1
    assert "bfloat16: " in err
    settings = json.loads((files / "out" / "run.json").read_text())["settings"]
    taken = Execution(**settings["execution"])
    assert f"{taken}: " in next(line for line in err.splitlines() if "<- taken" in line)
    status, _, err = hybrid_dip_command(*command, "--precision", "auto", "--resume")
    assert status == 0
    assert "finished already" in err
    other = "float32" if taken.precision == "bfloat16" else "bfloat16"
    status, _, err = hybrid_dip_command(*command, "--precision", other, "--resume")
    assert (status, "execution" in err) == (2, True), "what is asked for is not passed over"
    for options in (["--precision", "half"], ["--compile", "maybe"], ["--precision", "auto", "--fuse", "stack", "-R", "tv@1"]):
        status, _, err = hybrid_dip_command(*command[:-1], files / "bad", *options)
        assert status == 2
        assert "Traceback" not in err


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_image(noisy: Task) -> None:
    if shutil.which("g++") is None and shutil.which("c++") is None:
        pytest.skip("torch.compile needs a C++ compiler, and there is none here")
    plain, compiled = (
        restore(noisy, preset="quick", steps=3, device="cpu", execution=way) for way in (PLAIN, Execution(compiled=True))
    )
    assert (plain.image - compiled.image).abs().max() < 0.02
    assert list(compiled.fits[0].state["network"]) == list(plain.fits[0].state["network"])

"""A fit that goes on from a saved state."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import hybrid_dip as hd
from hybrid_dip import networks
from hybrid_dip.contracts import Fit, Step, Task
from hybrid_dip.errors import FitError
from hybrid_dip.fitting import optimizers
from hybrid_dip.fitting.checkpoint import Checkpoint
from hybrid_dip.regularisers.terms import Term
from hybrid_dip.stopping import WindowedVariance
from tests.fits import Poisoned, halt_after, run


class Memory:
    """A prior with a state: the mean of all images that it has seen."""

    def __init__(self) -> None:
        self.mean: Tensor | None = None
        self.count = 0

    def refresh(self, step: int, x: Tensor) -> None:
        self.count += 1
        self.mean = x if self.mean is None else self.mean + (x - self.mean) / self.count

    def __call__(self, x: Tensor) -> Tensor:
        assert self.mean is not None
        return (x - self.mean).square().mean()

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self.mean, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.mean, self.count = state["mean"], state["count"]


@pytest.mark.parametrize("optimizer", [optimizers.adam(0.01), optimizers.muon(0.01), optimizers.lbfgs(inner_steps=2)])
@pytest.mark.parametrize("stop_at", [7, 20])
def test_a_resumed_fit_goes_on_to_the_same_floats(noisy: Task, tmp_path: Path, optimizer: Any, stop_at: int) -> None:
    def once(**options: Any) -> Fit:
        terms = Term(Memory(), 0.1) + 0.01 * hd.TV()
        rule = WindowedVariance(window=4, patience=30)
        return run(
            noisy, terms, max_steps=30, jitter=0.05, average=0.9, rule=rule, optimise="both", optimizer=optimizer, **options
        )

    whole = once()
    checkpoint = Checkpoint(tmp_path / "state.pt", every=10)
    seen = []

    def halt() -> bool:
        seen.append(0)
        return len(seen) == stop_at

    part = once(checkpoint=checkpoint, halt=halt)
    assert part.reason == "interrupted"
    assert part.steps == stop_at
    resumed = once(checkpoint=checkpoint)
    assert resumed.steps == whole.steps
    assert resumed.kept_at == whole.kept_at
    assert torch.equal(resumed.image, whole.image)
    assert torch.equal(resumed.last, whole.last)
    strip = [{k: v for k, v in row.items() if k != "seconds"} for row in whole.history]
    assert [{k: v for k, v in row.items() if k != "seconds"} for row in resumed.history] == strip
    # a finished fit is not run again
    calls: list[Step] = []
    done = once(checkpoint=checkpoint, observers=[calls.append])
    assert torch.equal(done.image, whole.image)
    assert calls == []


def test_a_resumed_fit_remembers_its_fallbacks(noisy: Task, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "state.pt", every=5)
    first = run(noisy, Term(Poisoned(7, 2), 0.01), max_steps=20, checkpoint=checkpoint, halt=halt_after(14))
    assert len(first.notes) == 1
    second = run(noisy, Term(lambda x: x.square().mean(), 0.01, "poisoned"), max_steps=20, checkpoint=checkpoint)
    assert second.notes == first.notes
    assert second.history[-1]["learning_rate"] == pytest.approx(0.005)


def test_a_damaged_checkpoint_is_named(noisy: Task, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    path.write_bytes(b"nonsense")
    with pytest.raises(FitError, match=r"state\.pt cannot be read"):
        run(noisy, checkpoint=Checkpoint(path))


def test_a_checkpoint_of_another_network_is_named(noisy: Task, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "state.pt")
    run(noisy, max_steps=3, checkpoint=checkpoint)
    with pytest.raises(FitError, match="of another fit"):
        run(noisy, max_steps=3, checkpoint=checkpoint, network=networks.skip(8, 3, down=(8,), skip=(0,)))


def test_a_checkpoint_never_executes_code(noisy: Task, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"guard": Attack()}, tmp_path / "state.pt")
    with pytest.raises(FitError, match="cannot be read"):
        run(noisy, checkpoint=Checkpoint(tmp_path / "state.pt"))
    assert not (tmp_path / "executed").exists()

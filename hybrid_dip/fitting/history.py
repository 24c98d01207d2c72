"""The log of a fit: one row of numbers for each logged step."""

import math
from collections.abc import Mapping
from typing import Any

from hybrid_dip.contracts import Step


class History:
    """Rows of step, loss, and for the fidelity and each term its value, gradient norm and weight."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def add(self, step: Step, seconds: float) -> None:
        """Append a row. One with NaN is left out, since the loop is about to go back behind it. Waits for the device."""
        row: dict[str, float] = {"step": step.index, "loss": float(step.losses["total"])}
        for name, norm in step.gradient_norms.items():
            row[name] = float(step.losses[name])
            row[f"gradient_{name}"] = float(norm)
            if name in step.weights:
                row[f"weight_{name}"] = float(step.weights[name])
        if all(math.isfinite(value) for value in row.values()):
            self.rows.append({**row, "learning_rate": step.learning_rate, "seconds": seconds})

    def state_dict(self) -> dict[str, Any]:
        """The rows, for a checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.rows = list(state["rows"])

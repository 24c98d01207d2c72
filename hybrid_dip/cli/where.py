"""The options that say where fits run, how long, and how the network is evaluated."""

from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from hybrid_dip.cli.options import WHERE
from hybrid_dip.restoring.side import parse_side

TILE = (
    "Fit overlapping tiles of at most this many pixels a side; auto: where the preset is for smaller images, or the whole does "
    "not fit into memory; off."
)


@Parameter(name="*", group=WHERE)
@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where fits run."""

    workers: int | None = None
    """Processes at a time; by default all cores, or one for each GPU (restore FOLDER: fewer where memory is scarce)."""
    threads: int | None = None
    """CPU threads of each process, part of what a result depends on; by default 1, or all where one image is restored."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""


@Parameter(name="*", group=WHERE)
@dataclass(frozen=True, kw_only=True)
class Evaluation(Machine):
    """Where fits run, how long, and how the network is evaluated."""

    time_budget: float | None = None
    """Seconds after which each fit ends; its tiles share them."""
    precision: str = "float32"
    """Precision of the network: float32, bfloat16, tf32 (CUDA); auto: a timed trial."""
    compile: str = "off"
    """torch.compile the network: on, off; auto: a timed trial."""
    graph: str = "off"
    """Replay the network as a CUDA graph (CUDA): on, off; auto: a timed trial."""
    tile: Annotated[str, Parameter(help=TILE)] = "auto"
    checkpoint_every: int = 200
    """Steps between two saved states."""

    @property
    def ways(self) -> tuple[str, str, str]:
        """How the network is evaluated."""
        return self.precision, self.compile, self.graph

    def entry(self) -> dict[str, Any]:
        """What a study's arm says of it."""
        plain = {"precision": "float32", "compile": "off", "graph": "off"}
        asked = {name: value for name, value in vars(self).items() if name in plain and value != plain[name]}
        return asked if self.tile == "auto" else {**asked, "tile": parse_side(self.tile)}

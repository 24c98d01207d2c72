"""Ways to step: each function returns a factory, parameters -> ``torch.optim.Optimizer``."""

from collections.abc import Callable

from hybrid_dip.fitting.optimizers.descent import adam, lbfgs, radam
from hybrid_dip.fitting.optimizers.factory import OptimizerFactory, draw_from
from hybrid_dip.fitting.optimizers.filters import FILTERS_MOVED, muon, orthogonal
from hybrid_dip.fitting.optimizers.noise import langevin, sgld

BY_NAME: dict[str, Callable[[float], OptimizerFactory]] = {"adam": adam, "radam": radam, "muon": muon, "lbfgs": lbfgs}
"""What the command line and study files offer."""

__all__ = [
    "BY_NAME",
    "FILTERS_MOVED",
    "OptimizerFactory",
    "adam",
    "draw_from",
    "langevin",
    "lbfgs",
    "muon",
    "orthogonal",
    "radam",
    "sgld",
]

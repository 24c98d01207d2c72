"""hybrid_dip: restore one degraded image with an untrained network, and with any prior you add.

x* = f_theta*(z),   theta* = argmin_theta  E(A f_theta(z); y) + sum_k lambda_k R_k(f_theta(z))

>>> import hybrid_dip as hd
>>> noisy = hd.load_image("photo.png")
>>> result = hd.restore(hd.tasks.denoise(noisy, sigma=25 / 255), regularisers=0.05 * hd.TV())
>>> hd.save_image(result.image, "restored.png")
"""

from hybrid_dip import (
    consensus,
    contracts,
    degradations,
    errors,
    fidelity,
    fusion,
    latents,
    metrics,
    networks,
    operators,
    optimizers,
    presets,
    regularisers,
    schedules,
    selection,
    solvers,
    stopping,
    tasks,
    terms,
    tuning,
)
from hybrid_dip.checkpoint import Checkpoint
from hybrid_dip.contracts import Case, Fit, Step, Task
from hybrid_dip.fit import fit
from hybrid_dip.images import load_image, load_mask, save_image
from hybrid_dip.recipe import Recipe
from hybrid_dip.regularisers import TV
from hybrid_dip.restore import Result, restore
from hybrid_dip.terms import Term, Terms
from hybrid_dip.version import __version__

__all__ = [
    "TV",
    "Case",
    "Checkpoint",
    "Fit",
    "Recipe",
    "Result",
    "Step",
    "Task",
    "Term",
    "Terms",
    "__version__",
    "consensus",
    "contracts",
    "degradations",
    "errors",
    "fidelity",
    "fit",
    "fusion",
    "latents",
    "load_image",
    "load_mask",
    "metrics",
    "networks",
    "operators",
    "optimizers",
    "presets",
    "regularisers",
    "restore",
    "save_image",
    "schedules",
    "selection",
    "solvers",
    "stopping",
    "tasks",
    "terms",
    "tuning",
]

"""hybrid_dip: restore one degraded image with an untrained network, and with any prior you add.

x* = f_theta*(z),   theta* = argmin_theta  E(A f_theta(z); y) + sum_k lambda_k R_k(f_theta(z))

>>> import hybrid_dip as hd
>>> noisy = hd.load_image("photo.png")
>>> result = hd.restore(hd.tasks.denoise(noisy, sigma=25 / 255), regularisers=0.05 * hd.TV())
>>> hd.save_image(result.image, "restored.png")
"""

from importlib import import_module
from typing import Any

from hybrid_dip import contracts, errors, fusion, networks, regularisers, stopping
from hybrid_dip.contracts import Case, Fit, Step, Task
from hybrid_dip.fitting import loggers, observers, optimizers, solvers
from hybrid_dip.fitting.checkpoint import Checkpoint
from hybrid_dip.fitting.fit import fit
from hybrid_dip.fusion import consensus, tuning
from hybrid_dip.images import metrics
from hybrid_dip.images.files import load_image, save_image
from hybrid_dip.images.masks import load_mask
from hybrid_dip.networks import latents
from hybrid_dip.problem import degradations, fidelity, noise, operators, tasks
from hybrid_dip.recipes import presets
from hybrid_dip.recipes.recipe import Recipe
from hybrid_dip.regularisers import TV, schedules, terms
from hybrid_dip.regularisers.terms import Term, Terms
from hybrid_dip.restoring.hooks import FitHooks, FitName
from hybrid_dip.restoring.manifest import __version__
from hybrid_dip.restoring.one_call import deblur, denoise, inpaint, super_resolve
from hybrid_dip.restoring.restore import restore
from hybrid_dip.restoring.result import Result
from hybrid_dip.stopping import selection

__all__ = [
    "TV",
    "Case",
    "Checkpoint",
    "Fit",
    "FitHooks",
    "FitName",
    "Recipe",
    "Result",
    "Step",
    "Task",
    "Term",
    "Terms",
    "__version__",
    "consensus",
    "contracts",
    "deblur",
    "degradations",
    "denoise",
    "errors",
    "fidelity",
    "fit",
    "fusion",
    "inpaint",
    "latents",
    "load_image",
    "load_mask",
    "loggers",
    "metrics",
    "networks",
    "noise",
    "observers",
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
    "super_resolve",
    "tasks",
    "terms",
    "tuning",
]


def __getattr__(name: str) -> Any:
    """``hd.deepinv`` needs an extra, so it is imported when it is asked for."""
    if name == "deepinv":
        return import_module("hybrid_dip.restoring.deepinv")
    raise AttributeError(f"module 'hybrid_dip' has no attribute '{name}'")

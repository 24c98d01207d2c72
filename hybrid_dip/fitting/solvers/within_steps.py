"""Fits of what a JPEG file says, and no more: inside the box of its steps of quantisation there is nothing left to fit."""

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from hybrid_dip.contracts import Fit, Task
from hybrid_dip.fitting.fit import fit
from hybrid_dip.problem.quantisation import box_of
from hybrid_dip.regularisers.terms import SomeTerms


@dataclass(frozen=True)
class WithinSteps:
    """Fits with the squared distance to the box (:mod:`hybrid_dip.problem.quantisation`) as E.

    The decoded image, with its blocks, is one of many in the box. A fit ends where it enters, at an image that the network
    prefers. Where nothing is known of the steps, or pixels are held out, E stays the task's own.
    """

    def run(self, network: nn.Module, latent: Tensor, task: Task, terms: SomeTerms = (), **options: Any) -> Fit:
        """Fit, as :func:`hybrid_dip.fitting.fit.fit`, whose arguments these are."""
        box = box_of(task)
        if box is not None:
            task = replace(task, fidelity=lambda prediction, observation, weight: box.distance(prediction))
        return fit(network, latent, task, terms, **options)

"""Other ways to the same minimum, or to its posterior: a recipe takes one in place of the plain loop.

A solver is its configuration; ``run`` takes the arguments of :func:`hybrid_dip.fitting.fit.fit` and returns a Fit. None of
them has a loop of its own: splitting is a term that remembers, Langevin an optimiser and an observer, self-guidance a network
with a term.
"""

from hybrid_dip.fitting.solvers.deepred import DeepRED
from hybrid_dip.fitting.solvers.langevin import Averaging, Langevin
from hybrid_dip.fitting.solvers.self_guidance import SelfFed, SelfGuided
from hybrid_dip.fitting.solvers.splitting import ADMM, HQS
from hybrid_dip.fitting.solvers.stein import ExtendedSURE

__all__ = ["ADMM", "HQS", "Averaging", "DeepRED", "ExtendedSURE", "Langevin", "SelfFed", "SelfGuided"]

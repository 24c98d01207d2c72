"""Selection: how many steps are best, judged by data that the fit does not see.

A :class:`Selection` turns a task into replicates of it: a task to fit, and a score of an image by data that are independent of
that task. The number of steps with the smallest score, on average over the replicates, is then taken for the task itself (the
refit). No score ever sees the ground truth.
"""

from hybrid_dip.stopping.selection.bootstrap import Bootstrap
from hybrid_dip.stopping.selection.held_out import HeldOut
from hybrid_dip.stopping.selection.refit import OTHER_STEPS, select, steps_of
from hybrid_dip.stopping.selection.replicates import Replicate, Score, Selection, check, fits_of
from hybrid_dip.stopping.selection.scores import BestScore, Scores

__all__ = [
    "OTHER_STEPS",
    "BestScore",
    "Bootstrap",
    "HeldOut",
    "Replicate",
    "Score",
    "Scores",
    "Selection",
    "check",
    "fits_of",
    "select",
    "steps_of",
]

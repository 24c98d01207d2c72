"""When to stop, and which iterate to keep: rules that look at one step after another. None of them sees the ground truth.

A rule is its configuration; what it remembers from step to step is a dictionary of tensors on the device, so nothing waits for
the device and a resumed fit goes on where it was. The loop reads ``Verdict.stop`` at logged steps only. A rule whose condition
was met keeps nothing after that, so the image does not depend on how often the loop looks. Rules that need data of their own,
held out or disturbed, are in :mod:`hybrid_dip.stopping.selection`.
"""

from hybrid_dip.stopping.discrepancy import Discrepancy
from hybrid_dip.stopping.following import Following
from hybrid_dip.stopping.steps import MaxSteps
from hybrid_dip.stopping.variance import MovingVariance, WindowedVariance
from hybrid_dip.stopping.whiteness import Whiteness
from hybrid_dip.stopping.zero_crossing import ZeroCrossing

__all__ = ["Discrepancy", "Following", "MaxSteps", "MovingVariance", "Whiteness", "WindowedVariance", "ZeroCrossing"]

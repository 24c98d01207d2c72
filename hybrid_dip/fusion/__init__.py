"""Several priors together: images stacked, weights of terms tuned, agents that agree. None of it sees a ground truth."""

from hybrid_dip.fusion.arms import Arm, arms_of, default_arms
from hybrid_dip.fusion.stacking import combine_arms, contributions, default_selection, stack

__all__ = ["Arm", "arms_of", "combine_arms", "contributions", "default_arms", "default_selection", "stack"]

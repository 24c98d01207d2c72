"""Several priors together: images stacked by weights, weights of terms tuned, agents in consensus. None sees a ground truth."""

from hybrid_dip.fusion.stacking import Arm, arms_of, combine_arms, contributions, default_selection, stack

__all__ = ["Arm", "arms_of", "combine_arms", "contributions", "default_selection", "stack"]

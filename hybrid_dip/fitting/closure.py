"""What an optimiser calls to learn the objective and its gradient."""

from torch import Tensor, optim

from hybrid_dip.errors import FitError, blame_errors_on
from hybrid_dip.fitting.objective import Evaluation, Objective
from hybrid_dip.fitting.parts import Occasion
from hybrid_dip.fitting.unknowns import Unknowns


class Closure:
    """The objective of one step as an optimiser calls it: once, or in a line search several times.

    Args:
        objective: E + sum_k lambda_k R_k.
        unknowns: The network, the latent, and what is optimised.
        optimizer: The optimiser, whose gradients are cleared first.
        noise: This step's jitter, of the latent's shape, or None.
        step: Index of the step.
    """

    def __init__(
        self, objective: Objective, unknowns: Unknowns, optimizer: optim.Optimizer, noise: Tensor | None, step: int
    ) -> None:
        self.objective, self.unknowns, self.optimizer = objective, unknowns, optimizer
        self.noise, self.step = noise, step
        self._first: Evaluation | None = None

    def __call__(self) -> Tensor:
        """Set the gradients and return the loss."""
        self.optimizer.zero_grad()
        occasion = Occasion(self.step, again=self._first is not None)
        z = self.unknowns.latent if self.noise is None else self.unknowns.latent + self.noise
        with blame_errors_on("The network", str(occasion)):
            image = self.unknowns.network(z)
        evaluation = self.objective.backward(self.unknowns, z, image, occasion)
        self._first = self._first or evaluation
        return evaluation.total

    @property
    def first(self) -> Evaluation:
        """The first evaluation, which is where the step began.

        Raises:
            FitError: The optimiser has taken its step without any.
        """
        if self._first is None:
            raise FitError(f"The optimiser did not evaluate the objective at step {self.step}: its step must call the closure.")
        return self._first

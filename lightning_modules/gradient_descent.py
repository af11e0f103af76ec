"""The deck's algorithm box "Gradient Descent": stop at a tolerance or after so many iterations.

    for i = 0; i < max_iterations; i++:
        cost = Cost(Y, X, theta)
        if cost < tolerance: break
        theta <- theta - lr Gradient(Y, X, theta)

Lightning's loop is this one with plain `SGD`; `max_iterations` is `trainer.max_steps`, and the
batch says which of the slide's three it is: all examples (the box itself), one image, or a
mini-batch. What the loop lacks is the break, which stands here.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import pytorch_lightning as pl
from torch import Tensor
from torch.optim import Optimizer

from .blocks.checks import require


class StopBelowTolerance(pl.Callback):
    """Ends training before the first step whose cost is below a tolerance; that step is not taken.

    The cost is the training objective, the mean over all processes, as the box has it: before the
    step. Of small batches one alone may be easy, so the cost is the mean over as many batches as an
    epoch has, the latest ones; of full batches that is one. Lightning counts the step that is left
    out among its own. Each cost is read at once, for which a GPU has to be waited for.

    Args:
        tolerance: In units of the training objective, greater than 0.

    Raises:
        ValueError: If the tolerance is not a positive number, the trainer scales its losses
            (`accumulate_grad_batches` above 1, or `precision: 16-mixed`) or epochs have no end.
    """

    def __init__(self, tolerance: float):
        require(0 < tolerance < float("inf"), "tolerance", "a positive number", tolerance)
        self.tolerance = tolerance
        self._costs: deque[float] = deque()

    @property
    def cost(self) -> float:
        """The current cost; infinite until an epoch's batches have been seen."""
        whole = 0 < len(self._costs) == self._costs.maxlen
        return sum(self._costs) / len(self._costs) if whole else float("inf")

    def on_train_start(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        """Learn how many batches an epoch has, and refuse what makes the loss another number."""
        batches = trainer.accumulate_grad_batches
        require(batches == 1, "accumulate_grad_batches", "1 with a tolerance", batches)
        scales = getattr(trainer.precision_plugin, "scaler", None) is not None
        rule = "without a scaled loss, as 32 or bf16-mixed are, with a tolerance"
        require(not scales, "precision", rule, trainer.precision)
        batches = trainer.num_training_batches
        ends = batches != float("inf")
        require(ends, "limit_train_batches", "a number where the data has no end", batches)
        self._costs = deque(self._costs, maxlen=batches)

    def on_before_backward(self, trainer: Any, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Look at the current cost."""
        self._costs.append(float(trainer.strategy.reduce(loss.detach(), reduce_op="mean")))

    def on_before_optimizer_step(
        self, trainer: Any, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Break: without gradients the optimizer leaves every parameter where it is."""
        if self.cost < self.tolerance:
            optimizer.zero_grad(set_to_none=True)
            trainer.should_stop = True

    def state_dict(self) -> dict[str, list[float]]:
        """The latest costs, for a resumed run to stop where the uninterrupted one would."""
        return {"costs": list(self._costs)}

    def load_state_dict(self, state_dict: dict[str, list[float]]) -> None:
        """Go on from the costs of a checkpoint."""
        self._costs = deque(state_dict["costs"])

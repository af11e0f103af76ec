"""Several optimizers in one step, each over a part of the network, and one count of steps.

Lightning counts every `step()` of every optimizer of a module that optimizes by hand, so that a
game of two players would run twice as fast as its record, its schedules and `trainer.max_steps`
say. Here one update a batch is counted, and the others go past the counter: `trainer.global_step`
is the number of batches, which is what Lightning's own metrics, the length of a schedule and
checkpoints count in too.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

if TYPE_CHECKING:
    from pytorch_lightning import LightningModule as Beside  # what the mixin finds beside itself
else:
    Beside = object


class SeparateOptimizers(Beside):
    """Mixin for a `LightningModule`; write it before that class among the bases.

    The module says in `parameter_groups` what belongs together. The platform makes an optimizer of
    the config's class, and a schedule, for each group, in the order of the groups.
    """

    gradient_clip_val: float | None = None  # largest norm of the gradient of a group

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Name of each group -> its parameters: together all that train, none of them twice."""
        raise NotImplementedError(f"{type(self).__name__} must define parameter_groups().")

    def minimise(self, loss: Tensor, group: str, *, is_step: bool) -> None:
        """Update one group of parameters; nothing is computed for the gradients of the others.

        Args:
            loss: A scalar; on each rank the mean over its own examples.
            group: Name of the group.
            is_step: Whether it is the one update of this batch that is counted.
        """
        groups = self.parameter_groups()
        every: Any = self.optimizers()
        optimizer, parameters = every[list(groups).index(group)], groups[group]
        optimizer.zero_grad()
        # Lightning's reducer waits for every parameter at each backward pass; here some are idle.
        with self._own_reduction():
            self.manual_backward(loss, inputs=parameters)
        self._average([p.grad for p in parameters if p.grad is not None])
        if is_step:
            optimizer.step()
        else:
            self.trainer.strategy.optimizer_step(optimizer.optimizer, _nothing)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the gradient of the optimizer's group, after any unscaling."""
        if self.gradient_clip_val is not None:
            parameters = [p for part in optimizer.param_groups for p in part["params"]]
            clip_grad_norm_(parameters, self.gradient_clip_val)

    def step_schedules(self, batch_idx: int) -> None:
        """Move the schedules that count batches, and after an epoch's last batch the others."""
        trainer: Any = self.trainer
        is_last = trainer.is_last_batch or batch_idx + 1 == trainer.num_training_batches
        for config in trainer.lr_scheduler_configs:
            if config.interval == "step" or is_last:
                config.scheduler.step()

    def average_buffers(self) -> None:
        """Give all ranks the mean of their batch norms' statistics."""
        with torch.no_grad():
            self._average([buffer for buffer in self.buffers() if buffer.is_floating_point()])

    def _own_reduction(self) -> Any:
        blocked = getattr(self.trainer.strategy, "block_backward_sync", contextlib.nullcontext)
        return blocked()

    def _average(self, tensors: list[Tensor]) -> None:
        """Replace tensors by their mean over the ranks, in one message."""
        if self.trainer.world_size == 1 or not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        mean: Any = self.trainer.strategy.reduce(flat, reduce_op="mean")
        for tensor, part in zip(tensors, mean.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))


def _nothing() -> None:
    """An optimizer's closure; the gradients are there already."""

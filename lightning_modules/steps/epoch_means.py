"""Means of losses over the examples of an epoch, without a look at any batch's numbers.

`EpochMeans` sums; `KeepsEpochMeans` is what training rules that count with it have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from pytorch_lightning import LightningModule as Beside  # what the mixin finds beside itself
else:
    Beside = object


class EpochMeans:
    """Sums of named losses. They stay on the device: reading one would stall it at every batch.

    Args:
        names: What is summed.
    """

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)
        self._sums = torch.zeros(len(self.names))
        self._count = 0

    def __len__(self) -> int:
        """How many examples were counted."""
        return self._count

    def add(self, size: int, *losses: Tensor) -> None:
        """Count the mean losses of `size` examples, each a scalar, in the order of the names."""
        # Stacking costs as much as all the rest; most rules have one loss.
        row = losses[0].reshape(1) if len(losses) == 1 else torch.stack(losses)
        row = row.detach().float()  # (names,)
        self._sums = self._sums.to(row.device).add(row, alpha=size)
        self._count += size

    def means(self, sum_over_ranks: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """Name -> mean over the examples of all ranks, whose shares may differ; none of none.

        Args:
            sum_over_ranks: Adds up a tensor over the processes; called once.
        """
        count = self._sums.new_tensor([float(self._count)])
        total = sum_over_ranks(torch.cat((self._sums, count)))
        if total[-1] == 0:
            return {}
        return dict(zip(self.names, total[:-1] / total[-1], strict=True))

    def sum(self, name: str) -> Tensor:
        """The sum of a loss over the examples of this process, a scalar."""
        return self._sums[self.names.index(name)]

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint in the middle of an epoch must keep."""
        return {"sums": self._sums, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting where the checkpoint was written."""
        self._sums, self._count = state["sums"], state["count"]


class KeepsEpochMeans(Beside):
    """Mixin for a `LightningModule`; write it before `ExactResume` and that class among the bases.

    The module makes `_training` in its constructor and adds each batch to it. The sums of a
    checkpoint in the middle of an epoch go on, so that the epoch's means are those of all of it.
    """

    _training: EpochMeans

    def on_train_epoch_start(self) -> None:
        """Start counting; not called where a run goes on in the middle of an epoch."""
        self._training = EpochMeans(self._training.names)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the epoch's sums."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["epoch_means"] = self._training.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the sums."""
        super().on_load_checkpoint(checkpoint)
        if "epoch_means" in checkpoint:
            self._training.load_state_dict(checkpoint["epoch_means"])

    def _log_means(self, stage: str, sums: EpochMeans) -> None:
        for name, mean in sums.means(self._sum_over_ranks).items():
            self.log(f"{stage}/{name}", mean, sync_dist=True)

    def _sum_over_ranks(self, values: Tensor) -> Tensor:
        return self.trainer.strategy.reduce(values, reduce_op="sum")  # pyright: ignore[reportReturnType] (a tensor for a tensor)

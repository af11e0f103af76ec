"""How good clusters are: their inertia, and what the labels of the points say of them.

`JudgesClusters` is the part of `KMeans` that validates and tests.
B batch, D features, K centres, M classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..blocks import clustering
from ..steps.batches import parts
from .centre_steps import EpochSums

if TYPE_CHECKING:
    from pytorch_lightning import LightningModule as Beside  # what the mixin finds beside itself
else:
    Beside = object

NUM_EXAMPLES = 2000  # of the latest evaluation, for pictures


class JudgesClusters(Beside):
    """Mixin for a `LightningModule` that has centres; write it before that class among the bases.

    The module calls `_start_evaluation` at the end of its constructor. Logs `val/inertia` and
    `test/inertia`, with labels also purity and normalised mutual information.
    """

    centres: nn.Parameter  # (K, D)
    num_clusters: int
    num_classes: int  # 0: labels are not looked at
    _examples: Tensor | None  # of the latest evaluation's first batch

    def _start_evaluation(self) -> None:
        self._evaluation, self._examples = EpochSums(self.centres), None
        self._table = torch.zeros(self.num_clusters, self.num_classes, device=self.device)

    def _evaluate(self, batch: Any) -> None:
        points, labels = points_and_labels(batch)
        owner, distances = clustering.nearest_centre(points, self.centres)
        self._evaluation.add_distances(distances)
        if labels is not None and self.num_classes:
            cells = torch.bincount(owner * self.num_classes + labels, minlength=self._table.numel())
            self._table += cells.view_as(self._table)  # (K, M)
        if self._examples is None:
            self._examples = points[:NUM_EXAMPLES]

    def _finish_evaluation(self, stage: str) -> None:
        self.log(f"{stage}/inertia", self._evaluation.inertia(self._sum_over_ranks), sync_dist=True)
        table = self._sum_over_ranks(self._table)
        if table.any():
            shared = clustering.normalized_mutual_information(table).float()
            self.log(f"{stage}/purity", clustering.purity(table), sync_dist=True)
            self.log(f"{stage}/mutual_information", shared, sync_dist=True)

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self._start_evaluation()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Count one batch."""
        self._evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        """Log `val/inertia` and what the labels say."""
        self._finish_evaluation("val")

    def on_test_epoch_start(self) -> None:
        """Start counting."""
        self._start_evaluation()

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Count one batch."""
        self._evaluate(batch)

    def on_test_epoch_end(self) -> None:
        """Log `test/inertia` and what the labels say."""
        self._finish_evaluation("test")

    def _sum_over_ranks(self, values: Tensor) -> Tensor:
        return self.trainer.strategy.reduce(values, reduce_op="sum")  # pyright: ignore[reportReturnType] (a tensor for a tensor)


def points_and_labels(batch: Any) -> tuple[Tensor, Tensor | None]:
    """Points (B, D), and labels if the batch has any."""
    x, labels = parts(batch)
    return x.flatten(1), labels

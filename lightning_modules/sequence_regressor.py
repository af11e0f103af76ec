"""The training rule of networks that say one number about a sequence, with the squared error.

Made for the tasks on which recurrent networks are compared (deck, slide "Long-Term Dependencies
Problem"): what is asked for at the end was shown long before. Network: `RecurrentNetwork`.
B batch, T time, D features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from .blocks.initializers import WeightInit
from .blocks.recurrent import Cell
from .rnn import RecurrentNetwork, Summary
from .shapes import resolve_input
from .steps.epoch_means import EpochMeans, KeepsEpochMeans
from .steps.exact_resume import ExactResume
from .steps.lean_step import LeanStep

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Batch = tuple[Tensor, Tensor]


class SequenceRegressor(LeanStep, KeepsEpochMeans, ExactResume, pl.LightningModule):
    """Learns to say a number about a sequence.

    Batches are (x, target): x float (B, *in_shape), target float (B,).
    Logs `train/loss`, `val/loss` and `test/loss`, the mean squared error over the examples, and
    `lr`.

    Args:
        in_shape: Shape of one example, (T, D); default: that of the data.
        hidden_size: Units of each layer's state in one direction.
        cell: `rnn`, `gru` or `lstm`.
        num_layers: Layers above each other.
        bidirectional: Whether each layer also reads from the end to the beginning.
        summary: What stands for the sequence: the `last` state or the `mean` output.
        dropout: Share of outputs silenced between layers and before the number, in [0, 1).
        weight_init: How weights start; `orthogonal` suits states that live long.
        weight_init_std: Standard deviation of `normal`.
        forget_bias: Where the LSTM's forget gates start.
        fused: Whether the cells run in `torch.nn`'s kernels, or as written out.

    Raises:
        ValueError: If an argument is outside its range, or set where it has no effect.
    """

    # What this family cannot fulfil of the tests that all families share: test -> reason.
    conformance_exceptions: dict[str, str] = {}  # noqa: RUF012 (data of the class, never changed)

    def __init__(
        self,
        in_shape: list[int] | None = None,
        hidden_size: int = 64,
        cell: Cell = "lstm",
        num_layers: int = 1,
        bidirectional: bool = False,
        summary: Summary = "last",
        dropout: float = 0.0,
        weight_init: WeightInit = "orthogonal",
        weight_init_std: float = 0.01,
        forget_bias: float = 1.0,
        fused: bool = True,
    ):
        super().__init__()
        _, shape = resolve_input(None, in_shape)
        self.network = RecurrentNetwork(
            shape,
            1,
            hidden_size,
            cell,
            num_layers,
            bidirectional,
            summary,
            dropout,
            1,
            weight_init,
            weight_init_std,
            forget_bias,
            fused,
        )
        self.save_hyperparameters()
        self.example_input_array = torch.zeros(2, *shape)
        self._training = EpochMeans(("loss",))
        self._evaluation = EpochMeans(("loss",))

    def forward(self, x: Tensor) -> Tensor:
        """What is said about sequences (B, *in_shape), (B,)."""
        return self.network(x).squeeze(1)  # (B,)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The mean squared error on one batch."""
        x, target = batch
        loss = F.mse_loss(self(x), target)
        self._training.add(len(target), loss)
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean squared error and the learning rate."""
        self._log_means("train", self._training)
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"], sync_dist=True)

    def _evaluate(self, batch: Batch) -> None:
        x, target = batch
        self._evaluation.add(len(target), F.mse_loss(self(x), target))

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self._evaluation = EpochMeans(("loss",))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count one batch."""
        self._evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        """Log `val/loss`."""
        self._log_means("val", self._evaluation)

    def on_test_epoch_start(self) -> None:
        """Start counting."""
        self._evaluation = EpochMeans(("loss",))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Count one batch."""
        self._evaluate(batch)

    def on_test_epoch_end(self) -> None:
        """Log `test/loss`."""
        self._log_means("test", self._evaluation)

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        """What is said about a batch, with or without its targets: `value` (B,)."""
        x = batch[0] if isinstance(batch, (tuple, list)) else batch
        return {"value": self(x)}

    def figures(self) -> dict[str, Figure]:
        """`unrolled`: the computational graph along time."""
        from .pictures.unrolled import unrolled_graph  # matplotlib takes a while to import

        net = self.network
        return {"unrolled": unrolled_graph(net.recurrent, net.num_steps, net.summary)}

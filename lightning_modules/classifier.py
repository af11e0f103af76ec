"""The training rule that all classifiers share: objective, metrics and pictures.

A family gives it a network that maps inputs to class scores. The rule minimises the deck's training
objective (slides "Loss Function", "Regularization"),
L(W) = 1/N sum_i L_i(f(x_i, W), y_i) + lambda R(W), and counts what it got right.
B batch, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from .blocks import losses
from .blocks.checks import require, require_one_of
from .blocks.regularizers import REGULARIZERS, elastic_net, l1, l2, regularized_weights
from .pictures.first_convolution import feature_maps, first_convolution
from .pictures.wrongest import Wrongest
from .steps.epoch_means import EpochMeans, KeepsEpochMeans
from .steps.exact_resume import ExactResume
from .steps.lean_step import LeanStep, channels_last
from .steps.tally import Tally

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

Loss = Literal["softmax", "svm", "squared", "absolute"]
Regularizer = Literal["none", "l1", "l2", "elastic_net"]
Batch = tuple[Tensor, Tensor]


class Classifier(LeanStep, KeepsEpochMeans, ExactResume, pl.LightningModule):
    """Learns to give the correct class the highest score.

    Batches are (x, labels): x float, shaped as the network takes it, labels int64 (B,), or class
    probabilities (B, K) in training.
    Logs `train/loss` (the objective, mean over the epoch), `train/loss_step` (of one batch),
    `val/loss` and `test/loss` (without smoothing and penalty), `val/accuracy` and `test/accuracy`
    (the share of examples whose class is right) and `lr`.

    Args:
        network: Maps x to scores (B, K).
        num_classes: K, at least 2.
        example_input: A batch of two, for the signature and the summary.
        loss: `softmax` (cross entropy), `svm` (hinge), `squared` or `absolute` (the distance to
            one-hot).
        margin: By how much the correct score must win under `svm`; the deck's is 1.
        label_smoothing: Share of the target spread over all classes, in [0, 1); `softmax` only.
        regularizer: R(W): `l1`, `l2`, `elastic_net` or `none`.
        regularizer_weight: The deck's lambda, >= 0.
        l2_share: The deck's beta in the elastic net, >= 0.
        class_names: K names for the pictures; default: their numbers.

    Raises:
        ValueError: If an argument is outside its range, or set where it has no effect.
    """

    # What this family cannot fulfil of the tests that all families share: test -> reason.
    conformance_exceptions: dict[str, str] = {}  # noqa: RUF012 (data of the class, never changed)

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        example_input: Tensor,
        *,
        loss: Loss = "softmax",
        margin: float = 1.0,
        label_smoothing: float = 0.0,
        regularizer: Regularizer = "none",
        regularizer_weight: float = 0.0,
        l2_share: float = 1.0,
        class_names: Sequence[str] | None = None,
    ):
        super().__init__()
        check_objective(loss, margin, label_smoothing)
        check_penalty(regularizer, regularizer_weight, l2_share)
        names = list(class_names or map(str, range(num_classes)))
        require(len(names) == num_classes, "class_names", f"{num_classes} names", names)
        self.network = channels_last(network)
        self.num_classes, self.class_names = num_classes, names
        self.example_input_array = example_input
        self.loss, self.margin, self.label_smoothing = loss, margin, label_smoothing
        self.regularizer, self.regularizer_weight = regularizer, regularizer_weight
        self.l2_share = l2_share
        self._training = EpochMeans(["loss"])
        self._evaluation = Tally(num_classes, torch.device("cpu"))
        self._examples: Batch | None = None  # the first batch of the latest evaluation
        self._wrongest = Wrongest()

    def forward(self, x: Tensor) -> Tensor:
        """Scores of a batch, (B, K)."""
        return self.network(x)

    def data_loss(self, scores: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """The deck's 1/N sum_i L_i under the chosen loss, a scalar."""
        match self.loss:
            case "svm":
                return losses.multiclass_hinge_loss(scores, labels, self.margin)
            case "squared":
                return losses.squared_error(scores, labels)
            case "absolute":
                return losses.absolute_error(scores, labels)
            case _:
                return losses.cross_entropy(scores, labels, label_smoothing)

    @property
    def likelihood(self) -> str | None:
        """The distribution whose negative log the loss is, if any; K-FAC draws labels from it."""
        return {"softmax": "categorical", "squared": "gaussian"}.get(self.loss)

    def penalty(self) -> Tensor:
        """The deck's R(W) over the network's weights, a scalar."""
        weights = regularized_weights(self.network)
        match self.regularizer:
            case "l1":
                return l1(weights)
            case "l2":
                return l2(weights)
            case _:
                return elastic_net(weights, self.l2_share)

    def training_loss(self, x: Tensor, labels: Tensor) -> Tensor:
        """The loss of one batch in training, without the penalty, a scalar."""
        return self.data_loss(self.network(x), labels, self.label_smoothing)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The objective on one batch."""
        x, labels = batch
        loss = self.training_loss(x, labels)
        if self.regularizer_weight:
            loss = loss + self.regularizer_weight * self.penalty()
        self._training.add(len(labels), loss)
        self.log_step({"train/loss_step": loss})
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean objective and the learning rate."""
        self._log_means("train", self._training)
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"], sync_dist=True)

    def _start_evaluation(self) -> None:
        self._evaluation, self._examples = Tally(self.num_classes, self.device), None
        self._wrongest = Wrongest()

    def _evaluate(self, batch: Batch) -> None:
        x, labels = batch
        scores = self.network(x)
        self._evaluation.add_loss(self.data_loss(scores, labels), len(labels))
        self._evaluation.add_predictions(labels, scores.argmax(1))
        self._wrongest.add(x, labels, scores)
        self._examples = self._examples or batch

    def _finish_evaluation(self, stage: str) -> None:
        tally = self._evaluation
        count = torch.tensor(float(tally.count), device=tally.loss.device)
        # Over the examples of all ranks, whose shares may differ by one.
        total = self._sum_over_ranks(torch.stack((tally.loss, count)))
        tally.confusion = self._sum_over_ranks(tally.confusion)
        counts = tally.confusion.view(tally.shape)
        self.log(f"{stage}/loss", total[0] / total[1], sync_dist=True)
        self.log(f"{stage}/accuracy", counts.trace() / counts.sum(), sync_dist=True)

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self._start_evaluation()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count one batch."""
        self._evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        """Log `val/loss` and `val/accuracy`."""
        self._finish_evaluation("val")

    def on_test_epoch_start(self) -> None:
        """Start counting."""
        self._start_evaluation()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Count one batch."""
        self._evaluate(batch)

    def on_test_epoch_end(self) -> None:
        """Log `test/loss` and `test/accuracy`."""
        self._finish_evaluation("test")

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        """Classes int64 (B,) and scores (B, K) of a batch, with or without its labels."""
        x = batch[0] if isinstance(batch, (tuple, list)) else batch
        scores = self.network(x)
        return {"class": scores.argmax(1), "scores": scores}

    @property
    def examples(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Inputs and labels of the first batch of the latest evaluation, for pictures."""
        if self._examples is None:
            return None
        x, labels = self._examples
        return x.cpu().numpy(), labels.cpu().numpy()

    def figures(self) -> dict[str, Figure]:
        """Pictures of what was learned, and of the latest evaluation.

        `confusion_matrix`; `wrongest`: the examples with the highest loss; `first_layer` and
        `feature_maps`: the first convolution's filters, and what they find in one example.
        """
        from .pictures import outcomes as draw  # matplotlib takes a while to import
        from .pictures.weights import filters

        figures: dict[str, Figure] = {}
        counts = self._evaluation.confusion.view(self._evaluation.shape).cpu()
        if counts.any():
            figures["confusion_matrix"] = draw.confusion_matrix(counts.numpy(), self.class_names)
        if (wrong := self._wrongest.mistakes()) is not None:
            x, loss, labels, predicted = (part.numpy() for part in wrong)
            figures["wrongest"] = draw.wrongest(x, loss, labels, predicted, self.class_names)
        if (layer := first_convolution(self.network)) is not None:
            weight = layer.weight.detach().cpu()[:64].contiguous().numpy()
            figures["first_layer"] = filters(weight)
        return figures | self._feature_maps()

    def _feature_maps(self) -> dict[str, Figure]:
        from .pictures import outcomes as draw

        if self._examples is None:
            return {}
        x, labels = (part[:1].to(self.device) for part in self._examples)
        maps = feature_maps(self.network, x)
        if maps is None:
            return {}
        name = self.class_names[int(labels[0])]
        example, channels = x[0].cpu().numpy(), maps[:63].float().cpu().numpy()
        return {"feature_maps": draw.feature_maps(example, channels, name)}


def check_objective(loss: str, margin: float, label_smoothing: float) -> None:
    """Raise ValueError unless loss, margin and smoothing are in range and go together."""
    require_one_of("loss", loss, losses.LOSSES)
    require(0 < margin < float("inf"), "margin", "a positive number", margin)
    require(margin == 1 or loss == "svm", "margin", f"left at 1 with loss {loss!r}", margin)
    require(0 <= label_smoothing < 1, "label_smoothing", "in [0, 1)", label_smoothing)
    no_effect = f"0 with loss {loss!r}"
    require(loss == "softmax" or not label_smoothing, "label_smoothing", no_effect, label_smoothing)


def check_penalty(regularizer: str, weight: float, l2_share: float) -> None:
    """Raise ValueError unless lambda, beta and the regularizer are in range and go together."""
    require_one_of("regularizer", regularizer, REGULARIZERS)
    require(0 <= weight < float("inf"), "regularizer_weight", "0 or above", weight)
    remedy = "set `regularizer` to l1, l2 or elastic_net"
    idle = regularizer == "none" and weight > 0
    require(not idle, "regularizer_weight", "0 without a regularizer", weight, remedy)
    require(0 <= l2_share < float("inf"), "l2_share", "0 or above", l2_share)
    idle = regularizer != "elastic_net" and l2_share != 1
    require(not idle, "l2_share", "left at 1 unless `regularizer` is elastic_net", l2_share)

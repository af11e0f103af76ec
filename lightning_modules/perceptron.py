"""The perceptron: one unit with a hard threshold, and a learning rule of its own.

Rosenblatt 1958, "The Perceptron: A Probabilistic Model for Information Storage and Organization in
the Brain". Deck, slides "Neural Network": output 0 if w.x + b <= 0, else 1; on the same slide
sign(Wx + b), which is -1 or 1; and XOR, which no line separates.

The rule takes one example at a time: w <- w + lr (y - o) x and b <- b + lr (y - o), so only
mistakes teach. A threshold has a derivative of 0 wherever it has one. Take it as 1 instead
(Widrow and Hoff 1960 leave the threshold out altogether), and the rule is gradient descent on
(y - o)^2 / 2: any optimizer of the catalog can run it. SGD with `batch_size: 1` is Rosenblatt's
rule, larger batches make the mean of its steps.

If a line separates the points, the number of mistakes is bounded whatever the order (Novikoff
1962); if none does, the weights never come to rest. From weights of zero the learning rate scales
w and b and changes no output. B batch, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd import Function

from .blocks.checks import require, require_one_of
from .blocks.initializers import WeightInit, init_weights
from .classifier import Classifier
from .shapes import require_num_classes, resolve_input

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Output = Literal["step", "sign"]
LOW = {"step": 0.0, "sign": -1.0}  # what a unit says that does not fire; 1 if it does


class HardThreshold(Function):
    """1 where s > 0 and `low` elsewhere, with a derivative that is taken as 1."""

    @staticmethod
    def forward(ctx: Any, s: Tensor, low: float) -> Tensor:
        """Map weighted sums s of any shape to outputs of the same shape."""
        return torch.where(s > 0, 1.0, low).to(s.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None]:
        """Pass the gradient of the output on to s as it is."""
        return grads[0], None


class PerceptronNetwork(nn.Module):
    """A weighted sum and a hard threshold.

    Args:
        in_features: D.
        output: `step` for 0 or 1, `sign` for -1 or 1; the low one where w.x + b is 0.
        weight_init: How w starts; b starts at zero.
        weight_init_std: Standard deviation of `normal`.
    """

    def __init__(
        self,
        in_features: int,
        output: Output = "step",
        weight_init: WeightInit = "zeros",
        weight_init_std: float = 0.01,
    ):
        super().__init__()
        require_one_of("output", output, LOW)
        self.low = LOW[output]
        self.linear = nn.Linear(in_features, 1)
        init_weights(self.linear, weight_init, std=weight_init_std)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, ...) to the outputs for "class 0" and "class 1", (B, 2): one is 1."""
        fires: Tensor = HardThreshold.apply(self.linear(x.flatten(1)), self.low)  # pyright: ignore[reportAssignmentType] (B, 1)
        return torch.cat((1 + self.low - fires, fires), 1)  # (B, 2)


class Perceptron(Classifier):
    """Learns two classes by Rosenblatt's rule.

    `train/loss`, `val/loss` and `test/loss` are the mean of (y - o)^2 / 2: half the share of
    mistakes with `step`, twice it with `sign`. Also logs `train/mistakes`, how many examples of the
    epoch were wrong when it was their turn; an epoch of 0 has converged.

    Args:
        in_features: D; default: that of the data.
        num_classes: 2; default: that of the data.
        in_shape: Shape of one example; default: that of the data.
        output: `step` for 0 or 1, `sign` for -1 or 1. A step of the rule is twice as long with
            `sign`, since y - o is then -2, 0 or 2.
        weight_init: How w starts.
        weight_init_std: Standard deviation of `normal`.
        class_names: Two names for the pictures; default: their numbers.

    Raises:
        ValueError: If an argument is outside its range, or the data has more classes.
    """

    conformance_exceptions = {  # noqa: RUF012 (data of the class, never changed)
        "every_parameter_gets_a_gradient": "an example that is right teaches nothing",
        "one_batch_can_be_learned_by_heart": "its one example may be right from the start",
    }

    def __init__(
        self,
        in_features: int | None = None,
        num_classes: int | None = None,
        in_shape: list[int] | None = None,
        output: Output = "step",
        weight_init: WeightInit = "zeros",
        weight_init_std: float = 0.01,
        class_names: Sequence[str] | None = None,
    ):
        features, shape = resolve_input(in_features, in_shape)
        classes = require_num_classes(num_classes)
        require(classes == 2, "num_classes", "2: one line has two sides", classes)
        network = PerceptronNetwork(features, output, weight_init, weight_init_std)
        super().__init__(network, 2, torch.zeros(2, *shape), class_names=class_names)
        self.save_hyperparameters()
        self.low = network.low

    def data_loss(self, scores: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """The mean of (y - o)^2 / 2, whose gradient makes Rosenblatt's rule, a scalar."""
        target = torch.where(labels > 0, 1.0, self.low).to(scores.dtype)  # (B,)
        return (target - scores[:, 1]).square().mean() / 2

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean objective, its mistakes and the learning rate."""
        super().on_train_epoch_end()
        one_mistake = (1 - self.low) ** 2 / 2
        mistakes = self._sum_over_ranks(self._training.sum("loss")) / one_mistake
        self.log("train/mistakes", mistakes.round(), sync_dist=True)

    def figures(self) -> dict[str, Figure]:
        """The confusion matrix, and where the line runs through the plane."""
        from .pictures.boundary import boundary_pictures

        return super().figures() | boundary_pictures(self)

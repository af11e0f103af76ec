"""The linear classifier, f(x, W) = Wx + b.

Deck, slides "Linear Classification" and "Linear Classification Recall". Each row of W is a
template: its score is how well the input matches it, and once learned it can be drawn as a picture.
Two classes need one hyperplane only, the perceptron of the slide "Neural Network": class 1 where
w.x + b > 0. B batch, D features, K classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .blocks.initializers import WeightInit, init_weights
from .classifier import Classifier
from .shapes import require_num_classes, resolve_input

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class LinearNetwork(nn.Module):
    """Scores of K classes from K templates, or of two classes from one hyperplane.

    Args:
        in_features: D.
        num_classes: K, at least 2.
        weight_init: How W starts.
        weight_init_std: Standard deviation of `normal`.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        weight_init: WeightInit = "xavier",
        weight_init_std: float = 0.01,
    ):
        super().__init__()
        self.binary = num_classes == 2
        self.linear = nn.Linear(in_features, 1 if self.binary else num_classes)
        init_weights(self.linear, weight_init, std=weight_init_std)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, ...) to scores (B, K)."""
        scores = self.linear(x.flatten(1))  # (B, 1) or (B, K)
        if self.binary:
            # Their difference is w.x + b, so every loss of `losses` becomes its binary form.
            scores = torch.cat((-scores / 2, scores / 2), 1)  # (B, 2)
        return scores


class LinearClassifier(Classifier):
    """Softmax, multiclass SVM or least squares on a linear map of the input.

    Args:
        in_features: D; default: that of the data.
        num_classes: K; default: that of the data.
        in_shape: Shape of one example, for the pictures; default: that of the data.
        weight_init: How W starts; `zeros` is as good as any for a convex loss.
        weight_init_std: Standard deviation of `normal`.
        **objective: See `Classifier`.

    Raises:
        ValueError: If an argument is outside its range, or set where it has no effect.
    """

    def __init__(
        self,
        in_features: int | None = None,
        num_classes: int | None = None,
        in_shape: list[int] | None = None,
        weight_init: WeightInit = "xavier",
        weight_init_std: float = 0.01,
        **objective: Any,
    ):
        features, shape = resolve_input(in_features, in_shape)
        classes = require_num_classes(num_classes)
        network = LinearNetwork(features, classes, weight_init, weight_init_std)
        super().__init__(network, classes, torch.zeros(2, *shape), **objective)
        self.save_hyperparameters()
        self.example_shape = shape

    def figures(self) -> dict[str, Figure]:
        """The confusion matrix, and the hyperplane (two features, two classes) or the templates."""
        from .pictures import weights

        linear: nn.Linear = self.network.linear  # pyright: ignore[reportAssignmentType]
        weight, bias = linear.weight.detach().cpu().numpy(), linear.bias.detach().cpu().numpy()
        if weight.shape == (1, 2):
            figure = weights.hyperplane(weight[0], float(bias[0]), self.examples)
            return super().figures() | {"hyperplane": figure}
        names = self.class_names if len(weight) > 1 else [self.class_names[1]]
        figure = weights.templates(weight.reshape(-1, *self.example_shape), names)
        return super().figures() | {"templates": figure}

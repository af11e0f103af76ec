"""The multilayer perceptron: linear maps with a non-linearity between them.

Deck, slides "Multi-perceptron", "Activate functions" and "Build a Neural Network":
f = W2 max(0, W1 x), and so on. We count hidden layers as the formulas have them (the deck's
captions are one ahead): `hidden_sizes=[]` is the linear classifier, one hidden layer can separate
XOR. B batch, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from .blocks.activations import activation as build_activation
from .blocks.activations import width_factor
from .blocks.checks import require
from .blocks.initializers import WeightInit, init_weights
from .classifier import Classifier, Loss, Regularizer
from .shapes import require_num_classes, resolve_input

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Activation = Literal["sigmoid", "tanh", "relu", "leaky_relu", "elu", "maxout", "linear"]


class MLPNetwork(nn.Sequential):
    """Flattens its input, then repeats linear, (batch norm), activation, (dropout); ends linear.

    Args:
        in_features: D.
        num_classes: K.
        hidden_sizes: Units of each hidden layer, each at least 1.
        activation: Name of the non-linearity.
        maxout_pieces: Affine maps per maxout unit, at least 2.
        dropout: Share of hidden units silenced while training, in [0, 1).
        batch_norm: Normalise before each activation (Ioffe and Szegedy 2015, section 3.2).
        weight_init: How weights start; biases start at zero.
        weight_init_std: Standard deviation of `normal`.

    Raises:
        ValueError: If an argument is outside its range.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        hidden_sizes: Sequence[int] = (128,),
        activation: Activation = "relu",
        maxout_pieces: int = 2,
        dropout: float = 0.0,
        batch_norm: bool = False,
        weight_init: WeightInit = "kaiming",
        weight_init_std: float = 0.01,
    ):
        check_architecture(hidden_sizes, dropout)
        layers: list[nn.Module] = [nn.Flatten()]
        width = in_features
        for size in hidden_sizes:
            nonlinearity = build_activation(activation, maxout_pieces=maxout_pieces)
            inner = size * width_factor(activation, maxout_pieces=maxout_pieces)
            # Batch norm subtracts the mean, and with it any bias.
            linear = nn.Linear(width, inner, bias=not batch_norm)
            init_weights(linear, weight_init, std=weight_init_std, activation=activation)
            layers.append(linear)
            if batch_norm:
                layers.append(nn.BatchNorm1d(inner))
            layers.append(nonlinearity)
            if dropout:
                layers.append(nn.Dropout(dropout))
            width = size
        scores = nn.Linear(width, num_classes)
        init_weights(scores, weight_init, std=weight_init_std)
        super().__init__(*layers, scores)


def check_architecture(hidden_sizes: Sequence[int], dropout: float) -> None:
    """Raise ValueError unless every layer has a unit and dropout is in range and has a layer."""
    sizes = list(hidden_sizes)
    require(all(size >= 1 for size in sizes), "hidden_sizes", "whole numbers of at least 1", sizes)
    require(0 <= dropout < 1, "dropout", "in [0, 1)", dropout)
    require(bool(sizes) or not dropout, "dropout", "0 without hidden layers", dropout)


class MLP(Classifier):
    """A multilayer perceptron under the rule of `Classifier`.

    Args:
        in_features: D; default: that of the data.
        num_classes: K; default: that of the data.
        in_shape: Shape of one example, for the pictures; default: that of the data.
        hidden_sizes: Units of each hidden layer; default: one of 128.
        activation: Name of the non-linearity between layers.
        maxout_pieces: Affine maps per maxout unit.
        dropout: Share of hidden units silenced while training, in [0, 1).
        batch_norm: Normalise before each activation.
        weight_init: How weights start; `kaiming` suits the rectifiers.
        weight_init_std: Standard deviation of `normal`.
        loss: See `Classifier`, as all that follow.
        margin: By how much the correct score must win under `svm`.
        label_smoothing: Share of the target spread over all classes; `softmax` only.
        regularizer: R(W).
        regularizer_weight: The deck's lambda.
        l2_share: The deck's beta in the elastic net.
        class_names: Names for the pictures; default: those of the data.

    Raises:
        ValueError: If an argument is outside its range, or set where it has no effect.
    """

    def __init__(
        self,
        in_features: int | None = None,
        num_classes: int | None = None,
        in_shape: list[int] | None = None,
        hidden_sizes: list[int] | None = None,
        activation: Activation = "relu",
        maxout_pieces: int = 2,
        dropout: float = 0.0,
        batch_norm: bool = False,
        weight_init: WeightInit = "kaiming",
        weight_init_std: float = 0.01,
        loss: Loss = "softmax",
        margin: float = 1.0,
        label_smoothing: float = 0.0,
        regularizer: Regularizer = "none",
        regularizer_weight: float = 0.0,
        l2_share: float = 1.0,
        class_names: list[str] | None = None,
    ):
        features, shape = resolve_input(in_features, in_shape)
        classes = require_num_classes(num_classes)
        network = MLPNetwork(
            features,
            classes,
            [128] if hidden_sizes is None else hidden_sizes,
            activation,
            maxout_pieces,
            dropout,
            batch_norm,
            weight_init,
            weight_init_std,
        )
        super().__init__(
            network,
            classes,
            torch.zeros(2, *shape),
            loss=loss,
            margin=margin,
            label_smoothing=label_smoothing,
            regularizer=regularizer,
            regularizer_weight=regularizer_weight,
            l2_share=l2_share,
            class_names=class_names,
        )
        self.save_hyperparameters()
        self.example_shape = shape

    def figures(self) -> dict[str, Figure]:
        """The confusion matrix, and what the units of the first layer look for."""
        from . import pictures

        first = next(m for m in self.network if isinstance(m, nn.Linear))  # pyright: ignore[reportGeneralTypeIssues]
        weight = first.weight.detach().cpu()[:64].numpy()
        figure = pictures.filters(weight.reshape(-1, *self.example_shape))
        return super().figures() | {"first_layer": figure}

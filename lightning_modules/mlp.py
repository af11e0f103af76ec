"""The multilayer perceptron: linear maps with a non-linearity between them.

Deck, slides "Multi-perceptron", "Activate functions" and "Build a Neural Network":
f = W2 max(0, W1 x), and so on. We count hidden layers as the formulas have them (the deck's
captions are one ahead): `hidden_sizes=[]` is the linear classifier, one hidden layer can separate
XOR. B batch, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .blocks.activations import Activation
from .blocks.checks import require
from .blocks.initializers import WeightInit
from .blocks.layers import LayerStyle
from .classifier import Classifier
from .shapes import require_num_classes, resolve_input

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        style = LayerStyle(activation, maxout_pieces, batch_norm, weight_init, weight_init_std)
        layers: list[nn.Module] = [nn.Flatten()]
        width = in_features
        for size in hidden_sizes:
            layers += style.linear(width, size)
            if dropout:
                layers.append(nn.Dropout(dropout))
            width = size
        super().__init__(*layers, style.scores(width, num_classes))


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
        **objective: See `Classifier`.

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
        **objective: Any,
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
        super().__init__(network, classes, torch.zeros(2, *shape), **objective)
        self.save_hyperparameters()
        self.example_shape = shape

    def figures(self) -> dict[str, Figure]:
        """The confusion matrix, what the first layer looks for, and the boundary in a plane."""
        from . import pictures
        from .boundary_picture import boundary_pictures

        first = next(m for m in self.network if isinstance(m, nn.Linear))  # pyright: ignore[reportGeneralTypeIssues]
        weight = first.weight.detach().cpu()[:64].numpy()
        figure = pictures.filters(weight.reshape(-1, *self.example_shape))
        return super().figures() | {"first_layer": figure} | boundary_pictures(self)

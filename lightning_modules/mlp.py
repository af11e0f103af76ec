"""The multilayer perceptron: linear maps with a non-linearity between them.

Deck, slides "Multi-perceptron", "Activate functions" and "Build a Neural Network":
f = W2 max(0, W1 x), and so on. We count hidden layers as the formulas have them (the deck's
captions are one ahead): `hidden_sizes=[]` is the linear classifier, one hidden layer can separate
XOR. B batch, D features, K classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .blocks.activations import Activation
from .blocks.checks import require, require_one_of
from .blocks.connectivity import CONNECTIVITIES, Connectivity, RandomSparseLinear, Residual
from .blocks.initializers import WeightInit
from .blocks.layers import LayerStyle
from .classifier import Classifier
from .shapes import require_num_classes, resolve_input

if TYPE_CHECKING:
    from matplotlib.figure import Figure


DENSITY = 0.1  # of a random sparse layer, unless told otherwise


class MLPNetwork(nn.Sequential):
    """Flattens its input, then repeats linear, (batch norm), activation, (dropout); ends linear.

    The last layer is always full.

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
        connectivity: `full`; `random_sparse`: only some pairs of units are wired, by chance;
            `residual`: what a hidden layer makes is added to its input, where both are as wide.
        density: Share of the pairs that `random_sparse` wires, in (0, 1].

    Raises:
        ValueError: If an argument is outside its range, or set where it has no effect.
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
        connectivity: Connectivity = "full",
        density: float = DENSITY,
    ):
        check_architecture(hidden_sizes, dropout)
        check_connectivity(connectivity, density, hidden_sizes)
        style = LayerStyle(activation, maxout_pieces, batch_norm, weight_init, weight_init_std)
        layers: list[nn.Module] = [nn.Flatten()]
        width = in_features
        for number, size in enumerate(hidden_sizes):
            block = style.linear(width, size)
            if connectivity == "random_sparse":
                block[0] = _sparse(block[0], density, seed=number)
            if dropout:
                block.append(nn.Dropout(dropout))
            skips = connectivity == "residual" and number > 0 and width == size
            layers += [Residual(nn.Sequential(*block))] if skips else block
            width = size
        super().__init__(*layers, style.scores(width, num_classes))


def _sparse(layer: nn.Module, density: float, seed: int) -> RandomSparseLinear:
    """A layer with some of a full one's weights."""
    assert isinstance(layer, nn.Linear)
    bias = layer.bias is not None
    sparse = RandomSparseLinear(layer.in_features, layer.out_features, density, seed, bias)
    sparse.fill(layer.weight.detach())
    if bias:
        nn.init.zeros_(sparse.bias)
    return sparse


def check_connectivity(connectivity: str, density: float, hidden_sizes: Sequence[int]) -> None:
    """Raise ValueError unless the wiring is known, in range and has a layer to act on."""
    require_one_of("connectivity", connectivity, CONNECTIVITIES)
    require(0 < density <= 1, "density", "in (0, 1]", density)
    idle = connectivity != "random_sparse" and density != DENSITY
    require(
        not idle, "density", f"left at {DENSITY} unless `connectivity` is random_sparse", density
    )
    sizes = list(hidden_sizes)
    rule = "full without hidden layers"
    require(connectivity == "full" or bool(sizes), "connectivity", rule, connectivity)
    equal = any(a == b for a, b in itertools.pairwise(sizes))
    rule = "two equal numbers side by side where `connectivity` is residual"
    require(connectivity != "residual" or equal, "hidden_sizes", rule, sizes)


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
        connectivity: `full`, `random_sparse` or `residual` (between hidden layers of equal width).
        density: Share of the pairs of units that `random_sparse` wires, in (0, 1].
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
        connectivity: Connectivity = "full",
        density: float = DENSITY,
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
            connectivity,
            density,
        )
        super().__init__(network, classes, torch.zeros(2, *shape), **objective)
        self.save_hyperparameters()
        self.example_shape = shape

    def figures(self) -> dict[str, Figure]:
        """The confusion matrix, what the first layer looks for, and the boundary in a plane."""
        from .pictures import weights
        from .pictures.boundary import boundary_pictures

        first = next(m for m in self.network if isinstance(m, nn.Linear))  # pyright: ignore[reportGeneralTypeIssues]
        weight = first.weight.detach().cpu()[:64].numpy()
        figure = weights.filters(weight.reshape(-1, *self.example_shape))
        return super().figures() | {"first_layer": figure} | boundary_pictures(self)

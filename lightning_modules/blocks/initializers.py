"""How weights start: the deck's hyperparameter "weight init".

| name | weights | source |
|---|---|---|
| `zeros` | 0: fine for a linear model (its loss is convex), a standstill for a deeper one | |
| `normal` | N(0, `std`) | |
| `xavier` | N(0, 2 / (fan_in + fan_out)) | Glorot and Bengio 2010, section 4.2 |
| `kaiming` | N(0, gain^2 / fan_in), the default | He et al. 2015, section 2.2 |
| `orthogonal` | gain * a matrix with orthonormal rows or columns | Saxe et al. 2014 |
| `sparse` | N(0, 1) for 15 inputs of each unit, 0 for the others | Martens 2010, section 5 |

`gain` keeps the mean square of the signal at 1 through layer and activation f: 1 / sqrt(E[f(z)^2])
for z ~ N(0, 1). For the rectifiers that is He's factor; sigmoid, tanh and linear take 1, as they do
nearly keep small signals; so does maxout with two pieces, exactly. Biases start at zero.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from .activations import LEAKY_SLOPE
from .checks import require, require_one_of

WeightInit = Literal["zeros", "normal", "xavier", "kaiming", "orthogonal", "sparse"]
INITIALIZERS = ("zeros", "normal", "xavier", "kaiming", "orthogonal", "sparse")

NUM_SPARSE = 15  # inputs that a unit starts with

# 1 / sqrt(E[f(z)^2]), z ~ N(0, 1); what is not named has gain 1.
GAINS = {
    "relu": 2**0.5,
    "leaky_relu": (2 / (1 + LEAKY_SLOPE**2)) ** 0.5,
    "elu": 1.2452,
}


def check_weight_init(name: str, std: float) -> None:
    """Raise ValueError unless `name` is known and `std` is a positive number."""
    require_one_of("weight_init", name, INITIALIZERS)
    require(0 < std < float("inf"), "weight_init_std", "a positive number", std)


def init_weights(layer: nn.Module, name: str, *, std: float = 0.01, activation: str = "") -> None:
    """Fill the weight of one linear or convolutional layer in place, and its bias with zeros.

    Args:
        layer: A module with a `weight` of two dimensions or more, and perhaps a `bias`.
        name: One of `INITIALIZERS`.
        std: Standard deviation of `normal`.
        activation: The activation that follows, for the gain of `kaiming` and `orthogonal`.

    Raises:
        ValueError: If the name is unknown or `std` is not positive.
    """
    check_weight_init(name, std)
    weight, gain = layer.get_parameter("weight"), GAINS.get(activation, 1.0)
    match name:
        case "zeros":
            nn.init.zeros_(weight)
        case "normal":
            nn.init.normal_(weight, std=std)
        case "xavier":
            nn.init.xavier_normal_(weight)
        case "kaiming":
            fan_in = weight[0].numel()
            nn.init.normal_(weight, std=gain / fan_in**0.5)
        case "orthogonal":
            nn.init.orthogonal_(weight, gain)
        case "sparse":
            _sparse_(weight)
    if getattr(layer, "bias", None) is not None:
        nn.init.zeros_(layer.get_parameter("bias"))


@torch.no_grad()
def _sparse_(weight: Tensor) -> None:
    """Units whose few large weights keep them apart, but not saturated, however wide a layer is."""
    rows = weight.new_zeros(weight.flatten(1).shape)  # (units, fan_in)
    chosen = torch.rand_like(rows).argsort(1)[:, :NUM_SPARSE]
    rows.scatter_(1, chosen, torch.randn_like(rows))
    weight.copy_(rows.view_as(weight))

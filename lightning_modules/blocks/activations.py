"""The activations of the deck, by name.

Deck, slide "Activate functions": sigmoid, tanh, ReLU, leaky ReLU (slope 0.1), maxout and ELU;
`linear` is the identity: with it a deep network is a linear one, which shows what the others do.

Maxout (Goodfellow et al. 2013, "Maxout Networks", section 2) is no function of one number: a unit
is the largest of `pieces` affine maps, so the layer below it must be `pieces` times as wide.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn

from .checks import require, require_one_of

Activation = Literal["sigmoid", "tanh", "relu", "leaky_relu", "elu", "maxout", "linear"]
ACTIVATIONS = get_args(Activation)

LEAKY_SLOPE = 0.1  # as the deck draws it; torch's own default is 0.01


class Maxout(nn.Module):
    """The largest of each group of `pieces` neighbouring features, or channels of a feature map.

    Args:
        pieces: Affine maps per unit, at least 2 (one would be linear).

    Raises:
        ValueError: If `pieces` is below 2.
    """

    def __init__(self, pieces: int = 2):
        super().__init__()
        require(pieces >= 2, "maxout_pieces", "a whole number of at least 2", pieces)
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width * pieces, ...) to (B, width, ...)."""
        return x.unflatten(1, (-1, self.pieces)).amax(2)

    def extra_repr(self) -> str:
        """Show the pieces in the model's summary."""
        return f"pieces={self.pieces}"


def activation(name: str, *, maxout_pieces: int = 2) -> nn.Module:
    """Build an activation.

    Args:
        name: One of `ACTIVATIONS`.
        maxout_pieces: Affine maps per maxout unit; the others do not use it.

    Raises:
        ValueError: If the name is unknown or `maxout_pieces` is below 2.
    """
    require_one_of("activation", name, ACTIVATIONS)
    match name:
        case "sigmoid":
            return nn.Sigmoid()
        case "tanh":
            return nn.Tanh()
        case "relu":
            return nn.ReLU()
        case "leaky_relu":
            return nn.LeakyReLU(LEAKY_SLOPE)
        case "elu":
            return nn.ELU()
        case "maxout":
            return Maxout(maxout_pieces)
        case _:
            return nn.Identity()


def width_factor(name: str, *, maxout_pieces: int = 2) -> int:
    """How many times wider the layer below an activation is than its output (1 but for maxout)."""
    return maxout_pieces if name == "maxout" else 1

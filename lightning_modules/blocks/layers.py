"""Layers with all that belongs to them: the affine map, its start, batch norm, the non-linearity.

Deck, recap "Zooming In": fully connected and convolutional layers, dilated ones too. A network
says once in which style its layers are made, and then only their sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from .activations import Activation, activation, width_factor
from .checks import require
from .initializers import WeightInit, check_weight_init, init_weights

CONVOLUTION = {1: nn.Conv1d, 2: nn.Conv2d}
BATCH_NORM = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d}
MAX_POOLING = {1: nn.MaxPool1d, 2: nn.MaxPool2d}
AVERAGE_POOLING = {1: nn.AvgPool1d, 2: nn.AvgPool2d}
GLOBAL_AVERAGE = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d}


@dataclass(frozen=True)
class LayerStyle:
    """What all layers of a network have in common.

    Args:
        activation: Name of the non-linearity.
        maxout_pieces: Affine maps per maxout unit, at least 2.
        batch_norm: Normalise before each activation (Ioffe and Szegedy 2015, section 3.2).
        weight_init: How weights start; biases start at zero.
        weight_init_std: Standard deviation of `normal`.

    Raises:
        ValueError: If an argument is outside its range.
    """

    activation: Activation = "relu"
    maxout_pieces: int = 2
    batch_norm: bool = False
    weight_init: WeightInit = "kaiming"
    weight_init_std: float = 0.01

    def __post_init__(self):
        check_weight_init(self.weight_init, self.weight_init_std)
        self.nonlinearity()

    @property
    def pieces(self) -> int:
        """How many times wider an affine map is than the activations it leads to."""
        return width_factor(self.activation, maxout_pieces=self.maxout_pieces)

    def nonlinearity(self) -> nn.Module:
        """A new activation."""
        return activation(self.activation, maxout_pieces=self.maxout_pieces)

    def linear(self, in_features: int, out_features: int) -> list[nn.Module]:
        """A fully connected layer, (B, in_features) to (B, out_features)."""
        # Batch norm subtracts the mean, and with it any bias.
        layer = nn.Linear(in_features, out_features * self.pieces, bias=not self.batch_norm)
        return self._finish(layer, out_features, dims=0)

    def convolution(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        dims: int = 2,
        stride: int = 1,
        padding: int | None = None,
        dilation: int = 1,
        groups: int = 1,
    ) -> list[nn.Module]:
        """A convolutional layer, (B, in_channels, ...) to (B, out_channels, ...).

        Args:
            in_channels: Channels of the input.
            out_channels: Channels of the output.
            kernel_size: Side of each kernel.
            dims: 2 for pictures, 1 for signals.
            stride: Steps between two places that the kernel is applied to.
            padding: Zeros at each edge; default: so many that stride 1 keeps the size.
            dilation: Steps between two points that the kernel looks at (Yu and Koltun 2016).
            groups: Groups of channels that do not see each other.

        Raises:
            ValueError: If the size would change because `kernel_size` is even.
        """
        if padding is None:
            require(kernel_size % 2 == 1, "kernel_size", "odd", kernel_size)
            padding = dilation * (kernel_size // 2)
        layer = CONVOLUTION[dims](
            in_channels,
            out_channels * self.pieces,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias=not self.batch_norm,
        )
        return self._finish(layer, out_channels, dims)

    def scores(self, in_features: int, num_classes: int) -> nn.Linear:
        """The last layer: scores without a non-linearity."""
        layer = nn.Linear(in_features, num_classes)
        init_weights(layer, self.weight_init, std=self.weight_init_std)
        return layer

    def _finish(self, layer: nn.Module, width: int, dims: int) -> list[nn.Module]:
        activation = self.activation
        init_weights(layer, self.weight_init, std=self.weight_init_std, activation=activation)
        norm = [BATCH_NORM[dims](width * self.pieces)] if self.batch_norm else []
        return [layer, *norm, self.nonlinearity()]

"""LeNet-5 as it was printed in 1998, by the names of its figure 2: C1, S2, C3, S4, C5, F6, output.

LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document recognition",
section II.B, table I and appendix A: subsampling with a coefficient and a bias to learn, a table of
which maps are connected, a scaled tanh after every layer, and an output that measures distances.
The paper trains by a stochastic diagonal Levenberg-Marquardt method; our optimizers do instead.
B batch, C channels, H x W picture, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .shapes import feature_shape

Output = Literal["rbf", "linear"]

# Table I: the maps of S2 (0 to 5) that each of the 16 maps of C3 sees. "Breaking of symmetry":
# maps that see different inputs are driven to look for different things.
C3_INPUTS = (
    (0, 1, 2),
    (1, 2, 3),
    (2, 3, 4),
    (3, 4, 5),
    (0, 4, 5),
    (0, 1, 5),
    (0, 1, 2, 3),
    (1, 2, 3, 4),
    (2, 3, 4, 5),
    (0, 3, 4, 5),
    (0, 1, 4, 5),
    (0, 1, 2, 5),
    (0, 1, 3, 4),
    (1, 2, 4, 5),
    (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)
INIT_RANGE = 2.4  # appendix A: weights of a unit with F inputs start between -2.4/F and 2.4/F


class ScaledTanh(nn.Module):
    """1.7159 tanh(2 a / 3): it maps 1 to 1 and -1 to -1 (section II.B, appendix A)."""

    def forward(self, a: Tensor) -> Tensor:
        """Map any shape to the same shape."""
        return 1.7159 * torch.tanh(2 / 3 * a)


class Subsampling(nn.Module):
    """Sums each 2x2 square of a map, times the map's coefficient, plus its bias.

    Args:
        channels: C.
    """

    def __init__(self, channels: int):
        super().__init__()
        limit = INIT_RANGE / 4
        self.coefficient = nn.Parameter(torch.empty(channels).uniform_(-limit, limit))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H // 2, W // 2)."""
        total = F.avg_pool2d(x, 2, divisor_override=1)
        return total * self.coefficient[:, None, None] + self.bias[:, None, None]


class TableConvolution(nn.Module):
    """A convolution whose output maps see the input maps that a table names.

    Args:
        inputs: For each output map the numbers of its input maps.
        in_channels: C, how many input maps there are.
        kernel_size: Side of each kernel.
    """

    def __init__(self, inputs: Sequence[Sequence[int]], in_channels: int, kernel_size: int):
        super().__init__()
        self.shape = (len(inputs), in_channels, kernel_size, kernel_size)
        place = [o * in_channels + i for o, row in enumerate(inputs) for i in row]
        self.register_buffer("place", torch.tensor(place), persistent=False)
        kernels = [self._start(len(row), kernel_size) for row in inputs]
        self.weight = nn.Parameter(torch.cat(kernels))  # one kernel for each cross in the table
        self.bias = nn.Parameter(torch.zeros(len(inputs)))

    @staticmethod
    def _start(num_inputs: int, kernel_size: int) -> Tensor:
        limit = INIT_RANGE / (num_inputs * kernel_size**2)
        return torch.empty(num_inputs, kernel_size, kernel_size).uniform_(-limit, limit)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, len(inputs), H - kernel_size + 1, W - kernel_size + 1)."""
        outputs, inputs, *kernel = self.shape
        dense = self.weight.new_zeros(outputs * inputs, *kernel)
        dense = dense.index_copy(0, self.get_buffer("place"), self.weight).view(self.shape)
        return F.conv2d(x, dense, self.bias)


class RBFOutput(nn.Module):
    """Minus the squared distance of F6 to a fixed code of -1 and 1 for each class (equation 7).

    The paper draws the codes as pictures of the characters, of 7 x 12 pixels, and names codes by
    chance as the other choice. We take that one: the pictures are printed, not tabulated, and it
    holds for any number of classes. Under cross entropy such scores are the paper's second
    criterion (equation 9) without its class for rubbish.

    Args:
        in_features: D.
        num_classes: K.
    """

    def __init__(self, in_features: int, num_classes: int):
        super().__init__()
        self.register_buffer("codes", torch.randint(2, (num_classes, in_features)) * 2.0 - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, D) to (B, K)."""
        codes = self.get_buffer("codes")
        squares = x.square().sum(1, keepdim=True) - 2 * x @ codes.T  # (B, K)
        return -(squares + codes.shape[1])  # the codes' own squares are ones


class LeNet1998Network(nn.Module):
    """The layers of figure 2, by their names: C1, S2, C3, S4, C5, F6 and the output.

    Args:
        in_shape: (C, H, W); the paper's is (1, 32, 32).
        num_classes: K.
        padding: Pixels added at each edge, equal to the edge.
        output: `rbf`, or `linear` for plain scores.

    Raises:
        ValueError: If the pictures are too small.
    """

    def __init__(
        self, in_shape: Sequence[int], num_classes: int, padding: int = 0, output: Output = "rbf"
    ):
        super().__init__()
        c1 = _start(nn.Conv2d(in_shape[0], 6, 5))
        c3 = TableConvolution(C3_INPUTS, 6, 5)
        c5 = _start(nn.Conv2d(16, 120, 5))
        layers = {"C1": c1, "S2": Subsampling(6), "C3": c3, "S4": Subsampling(16), "C5": c5}
        self.features = nn.Sequential()
        self.features.add_module("padding", nn.ReplicationPad2d(padding))
        for name, layer in layers.items():
            self.features.add_module(name, layer)
            self.features.add_module(f"{name}_tanh", ScaledTanh())
        channels, height, width = feature_shape(self.features, in_shape)
        f6 = _start(nn.Linear(channels * height * width, 84))
        end = RBFOutput(84, num_classes) if output == "rbf" else _start(nn.Linear(84, num_classes))
        self.classifier = nn.Sequential()
        for name, layer in {"F6": f6, "F6_tanh": ScaledTanh(), "output": end}.items():
            self.classifier.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures (B, C, H, W) to scores (B, K)."""
        return self.classifier(self.features(x).flatten(1))


def _start(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    limit = INIT_RANGE / layer.weight[0].numel()
    nn.init.uniform_(layer.weight, -limit, limit)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer

"""Squeeze-and-excitation: a block looks at whole pictures to decide which channels matter.

Deck, slide "Why Deep Learning" (2017) and the list of winners. Hu, Shen and Sun (2018),
"Squeeze-and-Excitation Networks", section 3: squeeze, the mean of each channel; excitation, two
fully connected layers with a bottleneck of C / r and a sigmoid; scale. In a residual network the
branch is scaled before the sum (figure 3); the rest of the network is that of resnet.py.
B batch, C channels, H x W picture.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks.checks import require
from .blocks.initializers import init_weights
from .blocks.residual import ResidualBlock
from .pretrained import load_pretrained
from .resnet import ResNet


class SqueezeExcitation(nn.Module):
    """Multiplies each channel by a number in (0, 1) that all channels' means decide.

    Args:
        channels: C.
        reduction: r, how many times narrower the bottleneck is, from 1 to C.

    Raises:
        ValueError: If `reduction` is outside its range.
    """

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        rule = f"a whole number from 1 to the {channels} channels of a block"
        require(1 <= reduction <= channels, "reduction", rule, reduction)
        self.fc1 = nn.Linear(channels, channels // reduction)
        self.fc2 = nn.Linear(channels // reduction, channels)
        init_weights(self.fc1, "kaiming", activation="relu")
        init_weights(self.fc2, "kaiming")

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        means = x.mean((2, 3))  # (B, C)
        scale = torch.sigmoid(self.fc2(F.relu(self.fc1(means), inplace=True)))  # (B, C)
        return x * scale[:, :, None, None]


def add_squeeze_excitation(network: nn.Module, reduction: int) -> None:
    """Let every residual branch of a network be scaled before its sum."""
    for block in network.modules():
        if isinstance(block, ResidualBlock):
            block.gate = SqueezeExcitation(block.out_channels, reduction)


class SEResNet(ResNet):
    """A residual network whose branches are recalibrated channel by channel.

    Args:
        in_shape: (C, H, W) of the pictures; default: that of the data.
        num_classes: K; default: that of the data.
        reduction: r; the paper's is 16 (section 6.1).
        pretrained: File of weights of such a network to start from, see `pretrained.py`.
        pretrained_head: Whether the last layer is taken from it too.
        **resnet: See `ResNet`.

    Raises:
        ValueError: If an argument is outside its range, or `pretrained` is of another network.
    """

    def __init__(
        self,
        in_shape: list[int] | None = None,
        num_classes: int | None = None,
        reduction: int = 16,
        pretrained: str | None = None,
        pretrained_head: bool = True,
        **resnet: Any,
    ):
        super().__init__(in_shape, num_classes, **resnet)
        add_squeeze_excitation(self.network, reduction)
        load_pretrained(self.network, pretrained, pretrained_head)
        self.brings_weights = pretrained is not None and pretrained_head

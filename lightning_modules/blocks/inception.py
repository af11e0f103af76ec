"""The Inception module: convolutions of several sizes and a pooling in parallel.

Deck, slide "Inception Module: Network in Network". Szegedy et al. (2015), "Going Deeper with
Convolutions", section 4 and figure 2(b): 1x1 convolutions make the input of the large ones thin.
B batch, C channels, H x W picture.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import LayerStyle


class Widths(NamedTuple):
    """Channels inside an Inception module, as table 1 heads its columns."""

    conv1: int
    reduce3: int
    conv3: int
    reduce5: int
    conv5: int
    pool: int


class Convolution(nn.Module):
    """A convolution that keeps the size at stride 1, batch norm if the style has it, ReLU."""

    def __init__(
        self, style: LayerStyle, in_channels: int, out_channels: int, kernel_size: int, stride: int
    ):
        super().__init__()
        layers = style.convolution(in_channels, out_channels, kernel_size, stride=stride)
        self.conv, *norm, _ = layers
        self.bn = norm[0] if norm else None
        if isinstance(self.bn, nn.BatchNorm2d):
            self.bn.eps = 1e-3  # as in torchvision

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        x = self.conv(x)
        return F.relu(x if self.bn is None else self.bn(x), inplace=True)


class Inception(nn.Module):
    """1x1, 3x3 and 5x5 convolutions and a pooling of one input, side by side (figure 2(b)).

    Args:
        in_channels: C.
        widths: Channels of the parts.
        large_kernel: What stands in the place of 5x5.
        style: What all layers have in common.
    """

    def __init__(self, in_channels: int, widths: Widths, large_kernel: int, style: LayerStyle):
        super().__init__()
        layer = partial(Convolution, style, stride=1)
        self.branch1 = layer(in_channels, widths.conv1, 1)
        self.branch2 = nn.Sequential(
            layer(in_channels, widths.reduce3, 1), layer(widths.reduce3, widths.conv3, 3)
        )
        self.branch3 = nn.Sequential(
            layer(in_channels, widths.reduce5, 1), layer(widths.reduce5, widths.conv5, large_kernel)
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, 1, padding=1), layer(in_channels, widths.pool, 1)
        )
        self.out_channels = widths.conv1 + widths.conv3 + widths.conv5 + widths.pool

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, out_channels, H, W)."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)

"""Residual blocks: what a block learns is added to its input.

Deck, slide "Case Study: ResNet" and recap "Zooming In" (skip / residual connections). He, Zhang,
Ren and Sun (2016), "Deep Residual Learning for Image Recognition", section 3 and figure 5.
B batch, C channels, H x W picture.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from .layers import LayerStyle

Shortcut = Literal["projection", "zero_padding", "none"]
StridePlace = Literal["first", "middle"]


class ResidualBlock(nn.Module):
    """relu(branch(x) + shortcut(x)), (B, C, H, W) to (B, out_channels, H / stride, W / stride).

    Args:
        in_channels: C.
        out_channels: Channels of the result.
        stride: Steps between two places that the block looks at.
        shortcut: How x reaches the sum where its shape differs from the branch's: a 1x1
            convolution (option B of section 3.3) or zeros for the new channels (option A); `none`:
            there is no sum.
        style: What all layers have in common.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        shortcut: Shortcut,
        style: LayerStyle,
    ):
        super().__init__()
        self.out_channels = out_channels
        self.is_residual = shortcut != "none"
        self.downsample: nn.Module | None = None
        self.gate: nn.Module | None = None  # recalibrates the branch, see `SqueezeExcitation`
        if self.is_residual and (stride, in_channels) != (1, out_channels):
            if shortcut == "zero_padding":
                self.downsample = ZeroPadding(out_channels - in_channels, stride)
            else:
                layers = convolution(style, in_channels, out_channels, 1, stride)
                self.downsample = nn.Sequential(*layers)

    def branch(self, x: Tensor) -> Tensor:
        """F(x), the residual."""
        raise NotImplementedError(f"{type(self).__name__} must define branch().")

    def forward(self, x: Tensor) -> Tensor:
        """Add the residual to the input."""
        y = self.branch(x)
        if self.gate is not None:
            y = self.gate(y)
        if self.is_residual:
            y += x if self.downsample is None else self.downsample(x)
        return F.relu(y, inplace=True)


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions (figure 5, left)."""

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        stride_place: StridePlace,
        shortcut: Shortcut,
        style: LayerStyle,
    ):
        super().__init__(in_channels, channels, stride, shortcut, style)
        self.conv1, self.bn1 = convolution(style, in_channels, channels, 3, stride)
        self.conv2, self.bn2 = convolution(style, channels, channels, 3)

    def branch(self, x: Tensor) -> Tensor:
        """F(x)."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return self.bn2(self.conv2(x))


class Bottleneck(ResidualBlock):
    """1x1, 3x3 and 1x1 convolutions; the middle one works on a quarter of the channels (right)."""

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        stride_place: StridePlace,
        shortcut: Shortcut,
        style: LayerStyle,
    ):
        super().__init__(in_channels, 4 * channels, stride, shortcut, style)
        first, second = (stride, 1) if stride_place == "first" else (1, stride)
        self.conv1, self.bn1 = convolution(style, in_channels, channels, 1, first)
        self.conv2, self.bn2 = convolution(style, channels, channels, 3, second)
        self.conv3, self.bn3 = convolution(style, channels, 4 * channels, 1)

    def branch(self, x: Tensor) -> Tensor:
        """F(x)."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        return self.bn3(self.conv3(x))


class ZeroPadding(nn.Module):
    """The shortcut without parameters: every `stride`-th pixel, zeros for the new channels."""

    def __init__(self, num_new: int, stride: int):
        super().__init__()
        self.num_new, self.stride = num_new, stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C + num_new, H / stride, W / stride)."""
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, 0, self.num_new))


def convolution(
    style: LayerStyle, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1
) -> tuple[nn.Module, nn.Module]:
    """A convolution and its batch norm; the ReLU is applied in place where it is due."""
    layer, norm, _ = style.convolution(in_channels, out_channels, kernel_size, stride=stride)
    return layer, norm

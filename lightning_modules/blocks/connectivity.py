"""Who is wired to whom: layers between fully connected and convolutional.

Deck, slide "Convolutional Layer" (a locally connected layer is a convolution without weight
sharing) and recap "Zooming In", "Connectivity Pattern": skip / residual, random. Dilated
convolutions are in `layers.py`, the residual blocks of convolutional networks in `residual.py`.
B batch, D and K features, C channels, H x W picture, h x w output.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .checks import require

Connectivity = Literal["full", "random_sparse", "residual"]
CONNECTIVITIES = ("full", "random_sparse", "residual")


class LocallyConnected2d(nn.Module):
    """A convolution whose kernel is another one at each place of the output.

    Without shared weights a layer can look for other things at the top than at the bottom, but it
    has h w times as many weights, and nothing learned at one place helps at another.

    Args:
        in_shape: (C, H, W).
        out_channels: K.
        kernel_size: Side of the kernels, at least 1.
        stride: Steps between two places.
        padding: Zeros at each edge.
        bias: Whether each output has a bias of its own.

    Raises:
        ValueError: If a number is below its bound, or the picture is smaller than the kernel.
    """

    def __init__(
        self,
        in_shape: tuple[int, int, int],
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ):
        super().__init__()
        channels, height, width = in_shape
        require(out_channels >= 1, "out_channels", "at least 1", out_channels)
        require(kernel_size >= 1, "kernel_size", "at least 1", kernel_size)
        require(stride >= 1, "stride", "at least 1", stride)
        require(padding >= 0, "padding", "0 or above", padding)
        fits = min(height, width) + 2 * padding >= kernel_size
        require(
            fits, "in_shape", f"at least {kernel_size} wide and high with its padding", in_shape
        )
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.out_size = tuple(
            (n + 2 * padding - kernel_size) // stride + 1 for n in (height, width)
        )
        places, fan_in = math.prod(self.out_size), channels * kernel_size**2
        self.weight = nn.Parameter(torch.empty(places, out_channels, fan_in))  # (h w, K, fan_in)
        self.bias = nn.Parameter(torch.zeros(out_channels, *self.out_size)) if bias else None
        nn.init.normal_(self.weight, std=(2 / fan_in) ** 0.5)  # He et al. 2015, section 2.2

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures (B, C, H, W) to (B, K, h, w)."""
        patches = F.unfold(x, self.kernel_size, padding=self.padding, stride=self.stride)
        patches = patches.permute(2, 0, 1)  # (h w, B, fan_in)
        y = patches @ self.weight.transpose(1, 2)  # (h w, B, K)
        y = y.permute(1, 2, 0).unflatten(2, self.out_size)  # (B, K, h, w)
        return y if self.bias is None else y + self.bias

    @torch.no_grad()
    def tie(self, convolution: nn.Conv2d) -> None:
        """Give every place the kernel and the biases of one convolution, whose equal this is then.

        Args:
            convolution: With the same channels, kernel, stride and padding.

        Raises:
            ValueError: If it has others.
        """
        _, out_channels, fan_in = self.weight.shape
        found = _geometry(convolution)
        channels = fan_in // self.kernel_size**2
        own = (channels, out_channels, self.kernel_size, self.stride, self.padding, 1, 1)
        rule = f"one of channels, kernel, stride, padding, dilation and groups {own}"
        require(found == own, "convolution", rule, found)
        self.weight.copy_(convolution.weight.flatten(1).expand_as(self.weight))
        if self.bias is not None:
            bias = convolution.bias
            self.bias.copy_(torch.zeros(()) if bias is None else bias[:, None, None])

    @classmethod
    def from_convolution(
        cls, convolution: nn.Conv2d, in_shape: tuple[int, int, int]
    ) -> LocallyConnected2d:
        """The layer that starts as a convolution and may part from it place by place.

        Args:
            convolution: With a square kernel, no dilation and no groups.
            in_shape: (C, H, W).

        Raises:
            ValueError: If the convolution has another geometry.
        """
        _, out_channels, kernel_size, stride, padding, *_ = _geometry(convolution)
        rule = "one with the same numbers for height and width"
        square = all(isinstance(number, int) for number in (kernel_size, stride, padding))
        require(square, "convolution", rule, convolution)
        bias = convolution.bias is not None
        layer = cls(in_shape, out_channels, kernel_size, stride, padding, bias)  # pyright: ignore[reportArgumentType]
        layer.to(convolution.weight)
        layer.tie(convolution)
        return layer


def _geometry(convolution: nn.Conv2d) -> tuple[int | object, ...]:
    """Channels in and out, kernel, stride, padding, dilation (a number where both are equal)."""
    pairs = [getattr(convolution, n) for n in ("kernel_size", "stride", "padding", "dilation")]
    numbers = [pair[0] if pair[0] == pair[1] else pair for pair in pairs]
    return (convolution.in_channels, convolution.out_channels, *numbers, convolution.groups)


class RandomSparseLinear(nn.Linear):
    """A linear layer in which each pair of units is wired with a given probability, once for all.

    The wiring is a function of the seed, so it is the same in every process; it is kept in
    checkpoints. Weights that are not wired are 0, get no gradient and stay 0. It saves no time:
    the matrix is whole, with zeros in it.

    Args:
        in_features: D.
        out_features: K.
        density: Share of the pairs that are wired, in (0, 1]; each output has at least one.
        seed: Of the wiring.
        bias: Whether there is a bias.

    Raises:
        ValueError: If the density is outside its range.
    """

    mask: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        density: float = 0.1,
        seed: int = 0,
        bias: bool = True,
    ):
        require(0 < density <= 1, "density", "in (0, 1]", density)
        super().__init__(in_features, out_features, bias)
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.rand(out_features, in_features, generator=generator)  # (K, D)
        mask = drawn < density
        mask.scatter_(1, drawn.argmin(1, keepdim=True), True)
        self.register_buffer("mask", mask)
        self.fill(self.weight.detach())

    @torch.no_grad()
    def fill(self, weight: Tensor) -> None:
        """Take the wired entries of a weight (K, D); the others are 0.

        Each is scaled by the root of the unit's share of wired inputs, so that a sum of fewer is
        as large as that of all.
        """
        share = self.mask.sum(1, keepdim=True) / self.mask.shape[1]  # (K, 1)
        self.weight.copy_(torch.where(self.mask, weight / share.sqrt(), 0.0))

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, ..., D) to (B, ..., K)."""
        return F.linear(input, torch.where(self.mask, self.weight, 0.0), self.bias)

    def extra_repr(self) -> str:
        """Show the wiring in the model's summary."""
        return f"{super().extra_repr()}, density={self.mask.float().mean().item():.3g}"


class Residual(nn.Module):
    """y = x + f(x): what a block learns is added to its input (He et al. 2016, section 3.2).

    Args:
        branch: f.
        shortcut: How x reaches the sum, where its shape differs from that of f(x).
    """

    def __init__(self, branch: nn.Module, shortcut: nn.Module | None = None):
        super().__init__()
        self.branch = branch
        self.shortcut = nn.Identity() if shortcut is None else shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map x to a sum that has the shape of f(x)."""
        return self.shortcut(x) + self.branch(x)

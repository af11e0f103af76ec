"""Residual networks: each block learns what to add to its input, so that depth does no harm.

Deck, slide "Case Study: ResNet": a deeper model should do at least as well as a shallower one, as
its further layers could be identities; plain nets fail to find that, and y = F(x) + x makes it the
easy answer. He, Zhang, Ren and Sun (2016), "Deep Residual Learning for Image Recognition": table 1
(ImageNet), section 4.2 (CIFAR-10). `shortcut: none` leaves the plain nets that degrade.

`variant: torchvision` has that package's parameter names and its stride in the 3x3 convolution of
a bottleneck; `paper` has it in the first 1x1. Where blocks have no 1x1 the two are one network.
B batch, C channels, H x W picture, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks.checks import require, require_one_of
from .blocks.initializers import WeightInit
from .blocks.layers import LayerStyle
from .blocks.residual import BasicBlock, Bottleneck, Shortcut, convolution
from .classifier import Classifier
from .pretrained import load_pretrained
from .shapes import require_num_classes, resolve_picture

Variant = Literal["paper", "torchvision"]
DesignName = Literal["imagenet", "small", "cifar"]


@dataclass(frozen=True)
class Design:
    """What the networks of one data set have in common; `pools` ends the stem with a max pooling.

    Each stage after the first halves the picture and doubles the channels.
    """

    stem_kernel: int
    stem_stride: int
    pools: bool
    width: int
    shortcut: Shortcut


DESIGNS = {
    "imagenet": Design(7, 2, True, 64, "projection"),
    "small": Design(3, 1, False, 64, "projection"),  # ours: the same stages for pictures of 32 x 32
    "cifar": Design(3, 1, False, 16, "zero_padding"),
}
# Table 1: the blocks of the four stages by the number of weight layers.
STAGES: dict[int, tuple[type[BasicBlock | Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


def stages_of(
    design: DesignName, depth: int
) -> tuple[type[BasicBlock | Bottleneck], tuple[int, ...]]:
    """The kind of block and how many of them each stage has.

    Raises:
        ValueError: If there is no such design or it has no network of this depth.
    """
    require_one_of("design", design, DESIGNS)
    if design == "cifar":  # section 4.2: three stages of n blocks of two layers, and two layers
        rule = "6n + 2 (20, 32, 44, 56, 110, ...) with design 'cifar'"
        remedy = "18, 34, 50, 101 and 152 are depths of the designs 'imagenet' and 'small'"
        require(depth >= 8 and depth % 6 == 2, "depth", rule, depth, remedy)
        return BasicBlock, (depth // 6,) * 3
    rule = f"one of {', '.join(map(str, STAGES))} with design {design!r}"
    require(depth in STAGES, "depth", rule, depth, "design 'cifar' has the depths 6n + 2")
    return STAGES[depth]


class ResidualNetwork(nn.Module):
    """A convolution, stages of residual blocks, the mean of each channel, scores.

    Args:
        in_channels: C.
        num_classes: K.
        depth: Layers with weights along the longest path.
        design: `imagenet`, `small` or `cifar`.
        variant: Where a bottleneck has its stride.
        width: Channels of the first stage; default: the design's.
        shortcut: How a block's input reaches its sum; default: the design's.
        dropout: Share of the channel means silenced while training, in [0, 1).
        style: What all layers have in common; it must normalise.

    Raises:
        ValueError: If an argument is outside its range.
    """

    heads = ("fc",)  # what depends on the number of classes

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        depth: int = 18,
        design: DesignName = "imagenet",
        variant: Variant = "torchvision",
        width: int | None = None,
        shortcut: Shortcut | None = None,
        dropout: float = 0.0,
        style: LayerStyle | None = None,
    ):
        super().__init__()
        block, units = stages_of(design, depth)
        plan = DESIGNS[design]
        width = plan.width if width is None else width
        shortcut = plan.shortcut if shortcut is None else shortcut
        require_one_of("variant", variant, ("paper", "torchvision"))
        require_one_of("shortcut", shortcut, ("projection", "zero_padding", "none"))
        place = "first" if variant == "paper" else "middle"
        require(width >= 1, "width", "at least 1", width)
        require(0 <= dropout < 1, "dropout", "in [0, 1)", dropout)
        style = style or LayerStyle(batch_norm=True)
        assert style.batch_norm
        kernel, stride = plan.stem_kernel, plan.stem_stride
        self.conv1, self.bn1 = convolution(style, in_channels, width, kernel, stride)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if plan.pools else None
        self.stages = [f"layer{number}" for number in range(1, len(units) + 1)]
        channels = width
        for number, (name, num_blocks) in enumerate(zip(self.stages, units, strict=True)):
            blocks = nn.Sequential()
            for index in range(num_blocks):
                stride = 2 if number and not index else 1
                inner = width * 2**number
                blocks.append(block(channels, inner, stride, place, shortcut, style))
                channels = inner * block.expansion
            self.add_module(name, blocks)
        self.dropout = nn.Dropout(dropout) if dropout else None
        self.fc = style.scores(channels, num_classes)
        # Faster where the channels of a pixel lie side by side; activations follow the weights.
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures (B, C, H, W) to scores (B, K)."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        if self.maxpool is not None:
            x = self.maxpool(x)
        for name in self.stages:
            x = getattr(self, name)(x)
        x = x.mean((2, 3))  # (B, channels)
        if self.dropout is not None:
            x = self.dropout(x)
        return self.fc(x)


class ResNet(Classifier):
    """A residual network under the rule of `Classifier`.

    Args:
        in_shape: (C, H, W) of the pictures; default: that of the data.
        num_classes: K; default: that of the data.
        depth: 18, 34, 50, 101 or 152; with design `cifar` any 6n + 2.
        design: `imagenet` (table 1), `small` (the same stages, but a stem that keeps pictures of
            28 x 28 or 32 x 32 as they are) or `cifar` (section 4.2).
        variant: `torchvision` or `paper`, see the module.
        width: Channels of the first stage; default: 64, with `cifar` 16.
        shortcut: `projection`, `zero_padding` or `none`; default: projection, with `cifar` zeros.
        dropout: Share of the channel means silenced before the scores, in [0, 1); the paper's is 0.
        weight_init: How weights start; the paper's is `kaiming`.
        weight_init_std: Standard deviation of `normal`.
        pretrained: File of weights to start from, see `pretrained.py`.
        pretrained_head: Whether the last layer is taken from it too.
        **objective: See `Classifier`.

    Raises:
        ValueError: If an argument is outside its range, or `pretrained` is of another network.
    """

    brings_weights = False  # whether it may be measured without a checkpoint of its own

    def __init__(
        self,
        in_shape: list[int] | None = None,
        num_classes: int | None = None,
        depth: int = 18,
        design: DesignName = "imagenet",
        variant: Variant = "torchvision",
        width: int | None = None,
        shortcut: Shortcut | None = None,
        dropout: float = 0.0,
        weight_init: WeightInit = "kaiming",
        weight_init_std: float = 0.01,
        pretrained: str | None = None,
        pretrained_head: bool = True,
        **objective: Any,
    ):
        shape: Sequence[int] = resolve_picture(in_shape)
        classes = require_num_classes(num_classes)
        style = LayerStyle(
            batch_norm=True, weight_init=weight_init, weight_init_std=weight_init_std
        )
        network = ResidualNetwork(
            shape[0], classes, depth, design, variant, width, shortcut, dropout, style
        )
        load_pretrained(network, pretrained, pretrained_head)
        super().__init__(network, classes, torch.zeros(2, *shape), **objective)
        self.save_hyperparameters(ignore=["pretrained", "pretrained_head"])
        self.brings_weights = pretrained is not None and pretrained_head

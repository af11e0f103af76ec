"""GoogLeNet: parallel convolutions of several sizes, joined along the depth, 22 layers deep.

Deck, slides "Case Study: GoogleNet" and "Inception Module: Network in Network". Szegedy et al.
(2015), "Going Deeper with Convolutions", section 5, figure 2(b) and table 1. Two auxiliary
classifiers at inner layers inject gradient while training.

`paper` has biases and response normalisation, 5x5 kernels and no batch norm. `torchvision` has that
package's parameter names, batch norm, and 3x3 kernels where table 1 says 5x5; its published
weights want pictures scaled as (x - 0.5) / 0.5.
B batch, C channels, H x W picture, K classes.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks.checks import require, require_one_of
from .blocks.inception import Convolution, Inception, Widths
from .blocks.initializers import WeightInit
from .blocks.layers import LayerStyle
from .classifier import Classifier
from .pretrained import load_pretrained
from .shapes import feature_shape, require_num_classes, resolve_picture

Variant = Literal["paper", "torchvision"]
Stem = Literal["imagenet", "small"]


# Table 1.
INCEPTION = {
    "3a": Widths(64, 96, 128, 16, 32, 32),
    "3b": Widths(128, 128, 192, 32, 96, 64),
    "4a": Widths(192, 96, 208, 16, 48, 64),
    "4b": Widths(160, 112, 224, 24, 64, 64),
    "4c": Widths(128, 128, 256, 24, 64, 64),
    "4d": Widths(112, 144, 288, 32, 64, 64),
    "4e": Widths(256, 160, 320, 32, 128, 128),
    "5a": Widths(256, 160, 320, 32, 128, 128),
    "5b": Widths(384, 192, 384, 48, 128, 128),
}
# The layers in order, cut where an auxiliary classifier looks.
EARLY = ("conv1", "maxpool1", "norm1", "conv2", "conv3", "norm2", "maxpool2")
EARLY += ("inception3a", "inception3b", "maxpool3", "inception4a")
MIDDLE = ("inception4b", "inception4c", "inception4d")
LATE = ("inception4e", "maxpool4", "inception5a", "inception5b")


class AuxiliaryClassifier(nn.Module):
    """Scores from an inner layer: pooling, 1x1 convolution, two fully connected layers.

    Args:
        in_shape: (C, H, W) of that layer once it is pooled.
        num_classes: K.
        pool: The pooling, to 4 x 4 where the pictures are 224 x 224.
        widths: Channels of the convolution (the paper's are 128) and units of the first fully
            connected layer (1024).
        style: What all layers have in common.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_classes: int,
        pool: nn.Module,
        widths: tuple[int, int],
        style: LayerStyle,
    ):
        super().__init__()
        self.pool = pool
        self.conv = Convolution(style, in_shape[0], widths[0], 1, 1)
        features = widths[0] * math.prod(in_shape[1:])
        affine = LayerStyle(weight_init=style.weight_init, weight_init_std=style.weight_init_std)
        self.fc1, _ = affine.linear(features, widths[1])
        self.dropout = nn.Dropout(0.7)
        self.fc2 = affine.scores(widths[1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to scores (B, K)."""
        x = self.conv(self.pool(x)).flatten(1)  # (B, features)
        return self.fc2(self.dropout(F.relu(self.fc1(x), inplace=True)))


class GoogLeNetNetwork(nn.Module):
    """The stem, nine Inception modules, the mean of each channel, scores.

    Args:
        in_shape: (C, H, W).
        num_classes: K.
        variant: `paper` or `torchvision`.
        stem: `imagenet`, or `small`, whose first convolution is 3x3 with stride 1.
        width: All channels of table 1 times this, > 0.
        has_auxiliaries: Whether there are auxiliary classifiers.
        dropout: Share of the channel means silenced while training, in [0, 1).
        weight_init: How weights start.
        weight_init_std: Standard deviation of `normal`.

    Raises:
        ValueError: If an argument is outside its range or the pictures are too small.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        num_classes: int,
        variant: Variant = "torchvision",
        stem: Stem = "imagenet",
        width: float = 1.0,
        has_auxiliaries: bool = True,
        dropout: float = 0.4,
        weight_init: WeightInit = "kaiming",
        weight_init_std: float = 0.01,
    ):
        super().__init__()
        require_one_of("variant", variant, ("paper", "torchvision"))
        require_one_of("stem", stem, ("imagenet", "small"))
        require(0 < width < float("inf"), "width", "a positive number", width)
        require(0 <= dropout < 1, "dropout", "in [0, 1)", dropout)
        is_paper = variant == "paper"
        style = LayerStyle(
            batch_norm=not is_paper, weight_init=weight_init, weight_init_std=weight_init_std
        )
        self._scale = width
        self._add_stem(in_shape[0], is_paper, stem, style)
        channels = self._scaled(192)
        for name, widths in INCEPTION.items():
            widths = Widths(*map(self._scaled, widths))
            module = Inception(channels, widths, 5 if is_paper else 3, style)
            self.add_module(f"inception{name}", module)
            channels = module.out_channels
        self.maxpool3 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.maxpool4 = nn.MaxPool2d(3 if is_paper else 2, 2, ceil_mode=True)
        feature_shape(self._layers((*EARLY, *MIDDLE, *LATE)), in_shape)  # raises where too small
        self.has_auxiliaries = has_auxiliaries
        if has_auxiliaries:
            exact = is_paper and stem == "imagenet"
            self._add_auxiliaries(in_shape, num_classes, exact, style)
        self.heads = ("fc", "aux1.fc2", "aux2.fc2") if has_auxiliaries else ("fc",)
        self.unused = () if has_auxiliaries else ("aux1", "aux2")  # published files have them
        self.dropout = nn.Dropout(dropout)
        self.fc = style.scores(channels, num_classes)
        # Faster where the channels of a pixel lie side by side; activations follow the weights.
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def _scaled(self, channels: int) -> int:
        return max(1, round(channels * self._scale))

    def _add_stem(self, in_channels: int, is_paper: bool, stem: Stem, style: LayerStyle) -> None:
        """224 x 224 to 28 x 28, or with the small stem 28 x 28 to 7 x 7."""
        narrow, wide = self._scaled(64), self._scaled(192)
        kernel, stride = (7, 2) if stem == "imagenet" else (3, 1)
        self.conv1 = Convolution(style, in_channels, narrow, kernel, stride)
        self.maxpool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = Convolution(style, narrow, narrow, 1, 1)
        self.conv3 = Convolution(style, narrow, wide, 3, 1)
        self.maxpool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        if is_paper:  # figure 3; the numbers are AlexNet's
            self.norm1, self.norm2 = (nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0) for _ in range(2))

    def _add_auxiliaries(
        self, in_shape: Sequence[int], num_classes: int, exact: bool, style: LayerStyle
    ) -> None:
        """Behind 4a and 4d; `exact` is the paper's pooling, 14 x 14 to 4 x 4 and nothing else."""
        widths = (self._scaled(128), self._scaled(1024))
        for name, layers in (("aux1", EARLY), ("aux2", (*EARLY, *MIDDLE))):
            pool = nn.AvgPool2d(5, 3) if exact else nn.AdaptiveAvgPool2d(4)
            shape = feature_shape(nn.Sequential(self._layers(layers), pool), in_shape)
            head = AuxiliaryClassifier(shape, num_classes, pool, widths, style)
            self.add_module(name, head)

    def _layers(self, names: Iterable[str]) -> nn.Sequential:
        """The named layers that this variant has, in order."""
        return nn.Sequential(OrderedDict((n, getattr(self, n)) for n in names if hasattr(self, n)))

    def _through(self, x: Tensor, names: tuple[str, ...]) -> Tensor:
        for name in names:
            layer = self._modules.get(name)
            x = x if layer is None else layer(x)
        return x

    def _classify(self, x: Tensor) -> Tensor:
        return self.fc(self.dropout(x.mean((2, 3))))

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures (B, C, H, W) to scores (B, K)."""
        return self._classify(self._through(x, (*EARLY, *MIDDLE, *LATE)))

    def all_scores(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores (B, K) of the classifier and of both auxiliaries."""
        early = self._through(x, EARLY)
        middle = self._through(early, MIDDLE)
        first, second = self.get_submodule("aux1"), self.get_submodule("aux2")
        return self._classify(self._through(middle, LATE)), first(early), second(middle)


class GoogLeNet(Classifier):
    """GoogLeNet under the rule of `Classifier`; the objective adds the auxiliaries' losses.

    Args:
        in_shape: (C, H, W) of the pictures; default: that of the data.
        num_classes: K; default: that of the data.
        variant: `torchvision` or `paper`, see the module.
        stem: `imagenet`, for 224 x 224, or `small`, for 28 x 28 and 32 x 32.
        width: All channels of table 1 times this, > 0.
        auxiliary_weight: Weight of each auxiliary's loss in training, >= 0; 0 leaves them out. The
            paper's and the deck's is 0.3.
        dropout: Share of the channel means silenced before the scores, in [0, 1); the paper's is
            0.4, torchvision's 0.2.
        weight_init: How weights start.
        weight_init_std: Standard deviation of `normal`.
        pretrained: File of weights to start from, see `pretrained.py`.
        pretrained_head: Whether the last layers are taken from it too.
        **objective: See `Classifier`.

    Raises:
        ValueError: If an argument is outside its range, the pictures are too small, or
            `pretrained` is of another network.
    """

    network: GoogLeNetNetwork
    brings_weights = False  # whether it may be measured without a checkpoint of its own

    def __init__(
        self,
        in_shape: list[int] | None = None,
        num_classes: int | None = None,
        variant: Variant = "torchvision",
        stem: Stem = "imagenet",
        width: float = 1.0,
        auxiliary_weight: float = 0.3,
        dropout: float = 0.4,
        weight_init: WeightInit = "kaiming",
        weight_init_std: float = 0.01,
        pretrained: str | None = None,
        pretrained_head: bool = True,
        **objective: Any,
    ):
        shape = resolve_picture(in_shape)
        classes = require_num_classes(num_classes)
        known = 0 <= auxiliary_weight < float("inf")
        require(known, "auxiliary_weight", "0 or above", auxiliary_weight)
        network = GoogLeNetNetwork(
            shape,
            classes,
            variant,
            stem,
            width,
            auxiliary_weight > 0,
            dropout,
            weight_init,
            weight_init_std,
        )
        load_pretrained(network, pretrained, pretrained_head)
        super().__init__(network, classes, torch.zeros(2, *shape), **objective)
        self.save_hyperparameters(ignore=["pretrained", "pretrained_head"])
        self.brings_weights = pretrained is not None and pretrained_head
        self.auxiliary_weight = auxiliary_weight

    def training_loss(self, x: Tensor, labels: Tensor) -> Tensor:
        """The loss of the scores plus the weighted losses of the auxiliaries' (section 5)."""
        if not self.auxiliary_weight:
            return super().training_loss(x, labels)
        main, *auxiliary = (
            self.data_loss(scores, labels, self.label_smoothing)
            for scores in self.network.all_scores(x)
        )
        return main + self.auxiliary_weight * torch.stack(auxiliary).sum()

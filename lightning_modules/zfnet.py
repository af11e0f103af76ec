"""ZFNet: AlexNet with a finer first look at the picture.

Zeiler and Fergus 2013, "Visualizing and understanding convolutional networks", figure 3; deck,
slide "Why Deep Learning" ("2013: ZFNet: improvements over AlexNet"). Pictures of AlexNet's filters
showed that an 11x11 kernel at stride 4 misses the middle frequencies and aliases (section 4.1), so
the first layer has 7x7 kernels at stride 2 and the second takes over a stride of 2. Left out: that
filters are shrunk to a root mean square of 0.1 whenever they exceed it (section 3).
B batch, C channels, H x W picture, K classes.
"""

from __future__ import annotations

from typing import Any, Literal

import torch

from .alexnet import Design, EightLayerNetwork, Layer
from .blocks.activations import Activation
from .blocks.checks import require_one_of
from .blocks.initializers import WeightInit
from .blocks.layers import LayerStyle
from .classifier import Classifier
from .shapes import require_num_classes, resolve_picture

Variant = Literal["paper", "small"]

DESIGNS = {
    # Figure 3: 224 -> 110 -> 55 -> 26 -> 13 -> 6. The figure names no padding; its sizes follow
    # from one pixel at the first layer and from pooling windows that reach over the edge.
    "paper": Design(
        (
            Layer(96, 7, 2, 1, False, ("pool", "norm")),
            Layer(256, 5, 2, 0, False, ("pool", "norm")),
            Layer(384, 3, 1, 1, False),
            Layer(384, 3, 1, 1, False),
            Layer(256, 3, 1, 1, False, ("pool",)),
        ),
        (4096, 4096),
        ceil_mode=True,
    ),
    # Ours, for pictures of 28 or 32 pixels: half the channels, and a first layer that keeps the
    # size: 28 -> 28 -> 14 -> 6 -> 3 -> 1.
    "small": Design(
        (
            Layer(48, 3, 1, 1, False, ("pool", "norm")),
            Layer(128, 5, 2, 1, False, ("pool", "norm")),
            Layer(192, 3, 1, 1, False),
            Layer(192, 3, 1, 1, False),
            Layer(128, 3, 1, 1, False, ("pool",)),
        ),
        (512, 512),
        ceil_mode=True,
    ),
}


class ZFNet(Classifier):
    """ZFNet under the rule of `Classifier`.

    Args:
        in_shape: (C, H, W); default: that of the data. The paper's is [3, 224, 224].
        num_classes: K; default: that of the data.
        variant: `paper`, or `small` for pictures of 28 or 32 pixels.
        channels: Channels of the five convolutional layers; default: the variant's.
        hidden_sizes: Units of the fully connected layers; default: the variant's.
        dropout: Share of units silenced after each hidden fully connected layer, in [0, 1).
        activation: Name of the non-linearity.
        maxout_pieces: Affine maps per maxout unit.
        weight_init: How weights start; the paper names a scale of 0.01 (`normal`).
        weight_init_std: Standard deviation of `normal`.
        **objective: See `Classifier`.

    Raises:
        ValueError: If an argument is outside its range, or the pictures are too small.
    """

    def __init__(
        self,
        in_shape: list[int] | None = None,
        num_classes: int | None = None,
        variant: Variant = "paper",
        channels: list[int] | None = None,
        hidden_sizes: list[int] | None = None,
        dropout: float = 0.5,
        activation: Activation = "relu",
        maxout_pieces: int = 2,
        weight_init: WeightInit = "kaiming",
        weight_init_std: float = 0.01,
        **objective: Any,
    ):
        require_one_of("variant", variant, DESIGNS)
        shape, classes = resolve_picture(in_shape), require_num_classes(num_classes)
        network = EightLayerNetwork(
            shape,
            classes,
            DESIGNS[variant],
            channels,
            hidden_sizes,
            dropout=dropout,
            style=LayerStyle(activation, maxout_pieces, False, weight_init, weight_init_std),
        )
        super().__init__(network, classes, torch.zeros(2, *shape), **objective)
        self.save_hyperparameters()

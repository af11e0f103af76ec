"""Sizes of inputs and outputs: given, or taken from the data module by the platform."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .blocks.checks import require


def resolve_input(in_features: int | None, in_shape: Sequence[int] | None) -> tuple[int, list[int]]:
    """Work out the features D and the shape of one example from whichever of them is given.

    Args:
        in_features: D, at least 1; default: the product of `in_shape`.
        in_shape: (C, H, W) or (D,); default: (D,).

    Returns:
        D and the shape.

    Raises:
        ValueError: If both are missing, one is not positive or they contradict each other.
    """
    remedy = "give it, or run the model with a data module that knows its shape"
    if in_shape is None:
        known = in_features is not None and in_features >= 1
        require(known, "in_features", "a whole number of at least 1", in_features, remedy)
        return in_features or 0, [in_features or 0]
    shape = list(in_shape)
    require(len(shape) >= 1 and min(shape) >= 1, "in_shape", "sizes of at least 1", shape)
    product = math.prod(shape)
    agree = in_features in (None, product)
    require(agree, "in_features", f"{product}, the product of `in_shape` {shape}", in_features)
    return product, shape


def require_num_classes(num_classes: int | None) -> int:
    """Return the number of classes.

    Raises:
        ValueError: If it is missing or below 2.
    """
    remedy = "give it, or run the model with a data module that knows its classes"
    known = num_classes is not None and num_classes >= 2
    require(known, "num_classes", "a whole number of at least 2", num_classes, remedy)
    return num_classes or 0


def resolve_picture(in_shape: Sequence[int] | None) -> tuple[int, int, int]:
    """Return channels, height and width of the pictures.

    Raises:
        ValueError: If they are missing, not three or not positive.
    """
    remedy = "give it, or run the model with a data module of pictures"
    shape = tuple(in_shape or ())
    known = len(shape) == 3 and min(shape) >= 1
    require(known, "in_shape", "[channels, height, width], each at least 1", in_shape, remedy)
    return shape[0], shape[1], shape[2]


def feature_shape(features: nn.Module, in_shape: Sequence[int]) -> tuple[int, ...]:
    """Find the shape that a stack of layers makes of one example; nothing is computed.

    Args:
        features: The layers.
        in_shape: Shape of one example.

    Raises:
        ValueError: If the example is too small: the layer that would get nothing is named.
    """
    at: list[tuple[str, nn.Module, Tensor]] = []
    probe = copy.deepcopy(features).to("meta").eval()
    for name, layer in probe.named_modules():
        if not any(True for _ in layer.children()):
            layer.register_forward_pre_hook(lambda m, x, n=name: at.append((n, m, x[0])))
    try:
        return tuple(probe(torch.empty(1, *in_shape, device="meta")).shape[1:])
    except RuntimeError:
        name, layer, x = at[-1] if at else ("", features, torch.empty(1, *in_shape))
        size, kind = " x ".join(map(str, x.shape[2:])), type(layer).__name__
        number = sum(type(m).__name__ == kind for _, m, _ in at)
        error = ValueError(
            f"`in_shape` must be large enough for every layer, but is {list(in_shape)}: "
            f"{kind} number {number} ({name}) gets {size} values and would give none."
        )
        error.add_note("take larger pictures, or a network with fewer layers that shrink them")
        raise error from None

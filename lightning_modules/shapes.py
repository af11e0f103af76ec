"""Sizes of inputs and outputs: given, or taken from the data module by the platform."""

from __future__ import annotations

import math
from collections.abc import Sequence

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

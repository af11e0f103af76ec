"""What a batch holds, with or without labels."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def parts(batch: Any) -> tuple[Tensor, Tensor | None]:
    """Inputs, and labels if the batch has any.

    Args:
        batch: (inputs, labels), (inputs,) or inputs.
    """
    if isinstance(batch, (tuple, list)):
        return batch[0], batch[1] if len(batch) > 1 else None
    return batch, None

"""A line whose `forward` looks at its input's values, as no exported graph can."""

from __future__ import annotations

import torch
from fragile import Fragile, Line
from torch import Tensor

__all__ = ["Branching", "Counting", "Fragile", "Line", "Paired"]


class Branching(Fragile):
    """Learns as `Fragile` does."""

    def __init__(self, offset: float = 0.0):
        super().__init__("none", offset)
        self.example_input_array = torch.ones(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(x) if x.sum() > 0 else self.line(-x)


class Counting(Branching):
    """Its graph has the number of examples written into it."""

    def forward(self, x: Tensor) -> Tensor:
        return self.line(x).reshape(int(x.shape[0]) * 1, 1).expand(x.shape[0], 1)


class Paired(Branching):
    """Its example is two tensors."""

    def __init__(self, offset: float = 0.0):
        super().__init__(offset)
        self.example_input_array = (torch.ones(2, 1), torch.ones(2, 1))

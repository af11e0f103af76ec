"""How long the matrix products of a training step take on their own: a bound on any gain.

Whatever a loop does around them, it cannot be faster, unless it multiplies in another way than
`torch.mm` does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

Product = tuple[int, int, int, int]  # rows, inner, columns, how often


def linear_products(batch: int, inputs: int, outputs: int, is_first: bool = False) -> list[Product]:
    """Those of an affine layer: forward, for its weights and, unless first, for its inputs."""
    forward, weights = (batch, inputs, outputs, 1), (outputs, batch, inputs, 1)
    return [forward, weights] + ([] if is_first else [(batch, outputs, inputs, 1)])


def products_seconds(products: Sequence[Product], repeats: int) -> float:
    """Seconds of so many steps that consist of these products and of nothing else."""
    operands = [(torch.rand(n, k), torch.rand(k, m), times) for n, k, m, times in products]

    def step() -> None:
        for left, right, times in operands:
            for _ in range(times):
                torch.mm(left, right)

    step()
    began = time.perf_counter()
    for _ in range(repeats):
        step()
    return time.perf_counter() - began

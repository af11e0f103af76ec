"""The trial of `trivial/trivial.py` in plain torch: one layer, one step, one validation."""

from __future__ import annotations

import torch
from torch import nn


def one_step(lr: float) -> float:
    """The loss after one step."""
    inputs, targets = torch.ones(4, 8), torch.ones(4, 1)
    layer = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr)
    (layer(inputs) - targets).square().mean().backward()
    optimizer.step()
    with torch.no_grad():
        return (layer(inputs) - targets).square().mean().item()

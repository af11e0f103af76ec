"""What a classifier counts over an evaluation: its loss, and which class was taken for which.

K classes, B batch.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Tally:
    """Sums over an evaluation. They stay on the device: reading one would stall it at every batch.

    Args:
        num_classes: K.
        device: Where the sums are kept.
    """

    def __init__(self, num_classes: int, device: torch.device):
        self.loss = torch.zeros((), device=device)
        self.count = 0
        self.confusion = torch.zeros(num_classes * num_classes, dtype=torch.long, device=device)
        self.shape = (num_classes, num_classes)

    def add_loss(self, loss: Tensor, size: int) -> None:
        """Count the mean loss of `size` examples."""
        self.loss.add_(loss.detach(), alpha=size)
        self.count += size

    def add_predictions(self, labels: Tensor, predicted: Tensor) -> None:
        """Count pairs of true and predicted class, each int64 (B,)."""
        cell = labels * self.shape[1] + predicted
        self.confusion.scatter_add_(0, cell, torch.ones_like(cell))

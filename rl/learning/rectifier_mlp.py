"""An MLP of rectifiers whose weights are one vector, with its gradient written out.

At 64 units and 64 examples the multiplications are a small part of an update; the rest is what
autograd, modules and optimizers cost per tensor and call. Here there is one tensor, and each layer
hands the gradient on by hand (deck, slides "Backpropagation"): an update takes a third of the time.
It is the same arithmetic; the tests compare it with autograd. B batch, D features, A outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RectifierMLP(nn.Module):
    """Linear layers with rectifiers between them.

    Args:
        layers: The linear layers as they start, each with a bias.

    Attributes:
        theta: Weight (row by row) and bias of each layer, one after the other.
    """

    def __init__(self, layers: Sequence[nn.Linear]):
        super().__init__()
        parts = [part for layer in layers for part in (layer.weight, layer.bias)]
        self.shapes = [tuple(part.shape) for part in parts]
        self.theta = nn.Parameter(torch.cat([part.detach().flatten() for part in parts]))
        self._weights: list[Tensor] = []  # views of `theta`
        self._gradients: list[Tensor] = []  # views of its gradient

    def parts(self, vector: Tensor) -> list[Tensor]:
        """Weight, bias, weight, ... as views of a vector like `theta`."""
        sizes = [math.prod(shape) for shape in self.shapes]
        return [p.view(s) for p, s in zip(vector.split(sizes), self.shapes, strict=True)]

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) to (B, A), for autograd."""
        x, parts = x.flatten(1).to(self.theta.dtype), self.parts(self.theta)
        for number in range(0, len(parts), 2):
            x = F.linear(x.relu() if number else x, parts[number], parts[number + 1])
        return x

    def values(self, x: Tensor) -> list[Tensor]:
        """What goes into each layer, and what comes out of the last; nothing for autograd.

        Args:
            x: (B, D).
        """
        self._weights = self._again(self._weights, self.theta.data)
        values, parts = [x.to(self.theta.dtype)], self._weights
        for number in range(0, len(parts), 2):
            if number:
                values[-1].relu_()
            values.append(torch.addmm(parts[number + 1], values[-1], parts[number].t()))
        return values

    def backward(self, values: list[Tensor], gradient: Tensor) -> None:
        """Set the gradient of `theta`.

        Args:
            values: What `values` returned, with the weights as they are.
            gradient: Of the loss with respect to the outputs (B, A).
        """
        if self.theta.grad is None:
            self.theta.grad = torch.empty_like(self.theta)
        self._gradients = self._again(self._gradients, self.theta.grad)
        parts, into = self._weights, self._gradients
        for number in range(len(values) - 2, -1, -1):
            given = values[number]
            torch.mm(gradient.t(), given, out=into[2 * number])
            torch.sum(gradient, 0, out=into[2 * number + 1])
            if number:
                passed = torch.mm(gradient, parts[2 * number])
                # Where the rectifier gave nothing, nothing flows back.
                gradient = torch.ops.aten.threshold_backward(passed, given, 0)

    def _again(self, views: list[Tensor], vector: Tensor) -> list[Tensor]:
        """The parts of a vector; making them anew takes longer than a layer does."""
        fits = views and views[0].data_ptr() == vector.data_ptr()
        return views if fits else self.parts(vector)

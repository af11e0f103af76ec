"""The two small matrices that stand for a layer's Fisher matrix in K-FAC, and their inverses.

A layer with weights W and bias b maps a, with a 1 appended, to s = [W b] a. Its block of the Fisher
matrix, E[aa' (x) gg'] with g = dlog p / ds, is taken for A (x) G with A = E[aa'] and G = E[gg']
(Martens and Grosse 2015, section 3). Of a convolution, A is the mean over examples and places of
the patches that the kernel sees, and G the sum over places of the gradients there (Grosse and
Martens 2016, section 3; its factors are T and 1 / T times ours, so the product is the same).
B examples, T places (1 for a linear layer on vectors), D inputs of the kernel, K outputs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

Layer = nn.Linear | nn.Conv1d | nn.Conv2d


def has_factors(module: nn.Module) -> bool:
    """Whether a module is a layer whose Fisher matrix the two factors can stand for.

    A subclass may compute something else, and groups of channels would need factors of their own.
    """
    if type(module) not in (nn.Linear, nn.Conv1d, nn.Conv2d) or not module.weight.requires_grad:
        return False
    return isinstance(module, nn.Linear) or (module.groups, module.padding_mode) == (1, "zeros")


def trained_bias(layer: Layer) -> Tensor | None:
    """The layer's bias, if it has one that trains."""
    return layer.bias if layer.bias is not None and layer.bias.requires_grad else None


def input_rows(layer: Layer, x: Tensor) -> Tensor:
    """What the weights are multiplied with, a row for each example and place.

    Args:
        layer: Whose input it is.
        x: (B, ..., D) of a linear layer, (B, C, ...) of a convolution.

    Returns:
        (B T, D), and a column of ones more where the layer has a bias.
    """
    rows = x.flatten(0, -2) if isinstance(layer, nn.Linear) else _patches(layer, x)
    rows = rows.to(layer.weight.dtype)
    return rows if trained_bias(layer) is None else F.pad(rows, (0, 1), value=1.0)


def _patches(layer: nn.Conv1d | nn.Conv2d, x: Tensor) -> Tensor:
    """The patches under the kernel, (B T, C times the kernel's size)."""
    x = F.pad(x, _padding(layer))
    geometry = (layer.kernel_size, layer.dilation, layer.stride)
    if isinstance(layer, nn.Conv1d):
        x = x.unsqueeze(2)  # (B, C, 1, steps): a picture of one row
        kernel, dilation, stride = ((1, *sizes) for sizes in geometry)
    else:
        kernel, dilation, stride = geometry
    columns = F.unfold(x, kernel, dilation, 0, stride)  # (B, D, T)
    return columns.transpose(1, 2).flatten(0, 1)  # (B T, D)


def _padding(layer: nn.Conv1d | nn.Conv2d) -> list[int]:
    """Zeros before and after, of the last dimension first, as `F.pad` takes them."""
    if layer.padding == "valid":
        return []
    if layer.padding == "same":
        spans = zip(layer.dilation, layer.kernel_size, strict=True)
        totals = [dilation * (size - 1) for dilation, size in spans]
        sides = [(total // 2, total - total // 2) for total in totals]
    else:
        sides = [(int(size), int(size)) for size in layer.padding]
    return list(itertools.chain.from_iterable(reversed(sides)))


def gradient_rows(layer: Layer, g: Tensor) -> Tensor:
    """Gradients of the layer's output, a row for each example and place: (B T, K)."""
    if not isinstance(layer, nn.Linear):
        g = g.movedim(1, -1)  # (B, ..., K)
    return g.flatten(0, -2).to(layer.weight.dtype)


class Statistics:
    """Sums over the forward passes since the last step, of one layer.

    A layer that is called several times for one example counts as several examples.
    """

    def __init__(self, layer: Layer):
        self.layer = layer
        weight = layer.weight
        num_inputs = weight[0].numel() + (trained_bias(layer) is not None)
        self.inputs = weight.new_zeros(num_inputs, num_inputs)
        self.gradients = weight.new_zeros(len(weight), len(weight))
        self.counts = torch.zeros(2, dtype=torch.float64, device=weight.device)

    def add_inputs(self, x: Tensor) -> None:
        """Count a batch of inputs."""
        rows = input_rows(self.layer, x)
        self.inputs.addmm_(rows.T, rows)
        self.counts[0] += len(rows)

    def add_gradients(self, g: Tensor) -> None:
        """Count the gradients of each example's own log likelihood by a batch of outputs."""
        rows = gradient_rows(self.layer, g)
        self.gradients.addmm_(rows.T, rows)
        self.counts[1] += len(g)

    def factors(self) -> tuple[Tensor, Tensor]:
        """A and G, (D, D) and (K, K), over the examples of all processes."""
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            for total in (self.inputs, self.gradients, self.counts):
                dist.all_reduce(total)
        num_rows, num_examples = self.counts.to(self.inputs.dtype)
        return self.inputs / num_rows, self.gradients / num_examples


def damped_inverses(a: Tensor, g: Tensor, damping: float) -> tuple[Tensor, Tensor]:
    """Inverses of A + pi sqrt(damping) I and G + sqrt(damping) / pi I.

    Their product stands for the inverse of A (x) G + damping I. With pi the root of the ratio of
    both mean eigenvalues, the cross terms are smallest (section 6.3, with the trace norm).

    Args:
        a: A, (D, D).
        g: G, (K, K).
        damping: > 0.

    Returns:
        (D, D) and (K, K); NaN where the factors are, so that a diverged run shows.
    """
    tiny = torch.finfo(a.dtype).tiny
    means = [(m.trace() / len(m)).clamp(min=tiny) for m in (a, g)]
    pi = (means[0] / means[1]).sqrt()
    return _inverse(a, damping**0.5 * pi), _inverse(g, damping**0.5 / pi)


def _inverse(matrix: Tensor, shift: Tensor) -> Tensor:
    """Inverse of a positive matrix + shift I, in float64 where less does not suffice."""
    for dtype in (matrix.dtype, torch.float64):
        damped = matrix.to(dtype, copy=True)
        damped.diagonal().add_(shift)
        root, failed = torch.linalg.cholesky_ex(damped)
        if not failed:
            return torch.cholesky_inverse(root).to(matrix.dtype)
    return torch.full_like(matrix, float("nan"))


def natural_gradient(layer: Layer, inverse_a: Tensor, inverse_g: Tensor) -> dict[Tensor, Tensor]:
    """The layer's gradient times the inverse of its Fisher matrix, G^-1 [dW db] A^-1.

    Returns:
        Parameter -> direction of the same shape, for the weight and, where it trains, the bias.
    """
    weight, bias = layer.weight, trained_bias(layer)
    assert weight.grad is not None
    gradient = weight.grad.flatten(1)  # (K, D)
    if bias is not None and bias.grad is not None:
        gradient = torch.cat((gradient, bias.grad.unsqueeze(1)), 1)  # (K, D + 1)
    direction = inverse_g @ gradient @ inverse_a
    if bias is None:
        return {weight: direction.view_as(weight)}
    return {weight: direction[:, :-1].reshape(weight.shape), bias: direction[:, -1]}


def layers_with_factors(module: nn.Module, trained: Iterable[nn.Parameter]) -> list[Layer]:
    """The layers below a module that have factors and whose weights an optimizer trains.

    A weight that two layers share belongs to neither: its Fisher matrix is no such product.
    """
    wanted = {id(parameter) for parameter in trained}
    layers = [m for m in module.modules() if has_factors(m)]
    owners = [id(layer.weight) for layer in layers]
    return [m for m in layers if id(m.weight) in wanted and owners.count(id(m.weight)) == 1]  # pyright: ignore[reportReturnType]

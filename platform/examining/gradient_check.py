"""Backpropagation compared with central differences (slide "Back propagation"): no black box.

For one entry w of a weight, (L(w + h) - L(w - h)) / 2h is its derivative up to an error of order
h^2, whatever computes L. Here L is the module's own training objective on one batch, in float64.

Two things set a limit. Rounding: L is known to about 20 eps |L|, so a difference of less than
that over h means nothing. Kinks: where a ReLU's input or a tie of max pooling lies within h of w,
L has two slopes and the central difference is neither. An entry that disagrees is tried again with
steps of a tenth and a hundredth; if its two slopes still differ there and backpropagation's lies
between them, it is counted as a kink: its gradient is one that a subgradient method may take.

A difference costs two passes, so not every entry of a network is compared: `sample_sizes` tells how
many of each tensor are, and a seed which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

STEPS = (1e-5, 1e-6, 1e-7)  # near eps^(1/3), the best for central differences in float64
TOLERANCE = 1e-4
SMALL, SAMPLE = 64, 24  # all entries of a tensor of up to 64, a sample of 24 of a larger one
MOST, LEAST = 300, 2  # no more of all tensors together, but two of each
_ROUNDING = 20 * torch.finfo(torch.float64).eps


@dataclass
class Checked:
    """What was found for one tensor, or for all of a layer.

    Args:
        name: Its dotted name.
        entries: Numbers in it.
        checked: How many of them were compared.
        kinks: How many of those lie where the loss has two slopes.
        error: Largest relative error of the others.
        entry: Index of the entry that has it.
        analytic: That entry's gradient by backpropagation.
        numeric: The same by central differences.
    """

    name: str
    entries: int = 0
    checked: int = 0
    kinks: int = 0
    error: float = 0.0
    entry: list[int] = field(default_factory=list)
    analytic: float = 0.0
    numeric: float = 0.0

    def join(self, other: Checked) -> None:
        """Add what was found for another tensor of the layer."""
        self.entries += other.entries
        self.checked += other.checked
        self.kinks += other.kinks
        if other.error >= self.error:
            self.error, self.entry = other.error, other.entry
            self.analytic, self.numeric = other.analytic, other.numeric


def layers(tensors: list[Checked]) -> list[Checked]:
    """Put together what was found for the tensors of each layer; an entry names its tensor no more.

    Args:
        tensors: By the names of the parameters, such as `network.1.weight`.
    """
    found: dict[str, Checked] = {}
    for one in tensors:
        name = one.name.rpartition(".")[0] or one.name
        found.setdefault(name, Checked(name)).join(one)
    return list(found.values())


def sample_sizes(sizes: Sequence[int], entries: int | None = None) -> list[int]:
    """How many entries of each tensor are checked.

    Args:
        sizes: Entries of each tensor.
        entries: How many of each tensor that has more; default: all of a tensor of up to `SMALL`,
            `SAMPLE` of a larger one, and where that is more than `MOST` together, an equal share of
            those for each tensor, but at least `LEAST`.
    """
    if entries is not None:
        return [min(size, entries) for size in sizes]
    wanted = [size if size <= SMALL else SAMPLE for size in sizes]
    share = max(wanted, default=0)
    while share > LEAST and sum(min(number, share) for number in wanted) > MOST:
        share -= 1
    return [min(number, share) for number in wanted]


def chosen_entries(size: int, number: int, generator: torch.Generator) -> list[int]:
    """Flat indices of a random sample of a tensor's entries, in order; all where all are asked."""
    if number == size:
        return list(range(size))
    return sorted(torch.randperm(size, generator=generator)[:number].tolist())


@torch.no_grad()
def check_gradients(
    parameters: Mapping[str, nn.Parameter],
    gradients: Mapping[str, Tensor | None],
    loss: Callable[[], float],
    *,
    entries: int | None = None,
    seed: int = 0,
) -> Iterator[Checked]:
    """Compare each tensor's gradient with central differences, one tensor at a time.

    Args:
        parameters: The tensors, float64, by name; each entry is moved and put back.
        gradients: What backpropagation found for them; None counts as 0.
        loss: The objective at the present values, the same at each call.
        entries: See `sample_sizes`.
        seed: Which entries of a tensor are checked where not all are.

    Yields:
        What was found for each tensor, in the order of `parameters`.
    """
    generator = torch.Generator().manual_seed(seed)
    here = loss()
    numbers = sample_sizes([p.numel() for p in parameters.values()], entries)
    for (name, parameter), number in zip(parameters.items(), numbers, strict=True):
        gradient = gradients[name]
        gradient = torch.zeros_like(parameter) if gradient is None else gradient
        found = Checked(name, parameter.numel(), number)
        for index in chosen_entries(parameter.numel(), number, generator):
            place = [int(i) for i in torch.unravel_index(torch.tensor(index), parameter.shape)]
            error, numeric = _compare(parameter, tuple(place), gradient, loss, here)
            if error is None:
                found.kinks += 1
            elif not error < found.error:  # NaN must not get lost
                found.error, found.entry, found.numeric = error, place, numeric
                found.analytic = float(gradient[tuple(place)])
        yield found


def _compare(
    parameter: Tensor, place: tuple[int, ...], gradient: Tensor, loss: Callable, here: float
) -> tuple[float | None, float]:
    """Relative error and central difference of one entry; the error is None at a kink."""
    analytic, largest = float(gradient[place]), float(gradient.abs().max())
    first: tuple[float, float] | None = None
    right = left = noise = 0.0
    for step in STEPS:
        above, below = _values(parameter, place, step, loss)
        right, left = (above - here) / step, (here - below) / step
        numeric, noise = (above - below) / (2 * step), _ROUNDING * max(abs(here), 1e-8) / step
        scale = max(abs(analytic), abs(numeric), 1e-3 * largest, noise / TOLERANCE)
        error = abs(analytic - numeric) / scale
        first = first or (error, numeric)
        if error <= TOLERANCE:
            return error, numeric
    # Where the loss is smooth both slopes are the derivative: what lies between them has passed.
    if min(right, left) - noise <= analytic <= max(right, left) + noise:
        return None, (right + left) / 2
    return first or (0.0, 0.0)


def _values(parameter: Tensor, place: tuple[int, ...], step: float, loss: Callable) -> list[float]:
    """The loss with one entry a step above and a step below its value, which is put back."""
    kept = parameter[place].clone()
    try:
        found = []
        for sign in (1, -1):
            parameter[place] = kept + sign * step
            found.append(loss())
        return found
    finally:
        parameter[place] = kept

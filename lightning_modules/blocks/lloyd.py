"""Lloyd's iterations over points in memory, without looking at what cannot have changed.

Hamerly 2010, "Making k-means even faster", algorithm 1: a point whose distance to its centre is
certainly below that to every other keeps it. Centres move less and less, so that soon few points
have to be looked at; the result is that of looking at all. What differs from the paper: a point
that must be looked at is compared with all centres at once, in a product of matrices; sums change
by the points that changed clusters; bounds are wider by what float32 may round. Where looking at
all takes less time than bounds do, there are none.
N points, D features, K centres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .checks import require
from .clustering import (
    check_points,
    chunk_size,
    cluster_sums,
    give_points_to_empty,
    k_means_plus_plus,
    part_sums,
    squared_norms,
)

BOUNDED_FROM = 1 << 25  # multiply-adds of looking at all points: about half a millisecond
LEAST_FEATURES = 32  # where there are fewer, a product's result is what takes time and memory
OFFSET = 0.75  # share of the squared norms up to which that of the mean costs float32 two bits


@dataclass(frozen=True)
class Clustering:
    """What Lloyd's iterations came to.

    Args:
        centres: (K, D).
        assignment: The nearest centre of each point, int64 (N,).
        inertia: The sum of the squared distances of the points to these.
        num_iterations: How often points were given to centres.
        converged: Whether the last time changed nothing.
    """

    centres: Tensor
    assignment: Tensor
    inertia: float
    num_iterations: int
    converged: bool


@torch.no_grad()
def lloyd(points: Tensor, centres: Tensor, max_iterations: int = 300) -> Clustering:
    """Iterate until no point changes its cluster.

    Args:
        points: (N, D) on any device; where their mean is far from 0 a copy about it is taken, so
            that float32 loses little to an offset.
        centres: Where to start, (K, D).
        max_iterations: At least 1.

    Raises:
        ValueError: If there are fewer points than centres, a number is not finite, or nothing is
            to be done.
    """
    check_points(points, len(centres))
    require(max_iterations >= 1, "max_iterations", "at least 1", max_iterations)
    norms, mean = squared_norms(points), points.mean(0)
    if mean.square().sum() > OFFSET * norms.mean():
        points = points - mean
        norms = squared_norms(points)
    else:
        mean = torch.zeros_like(mean)
    state = _Lloyd(points, (centres - mean).to(points), norms)
    changed, number = True, 0
    while changed and number < max_iterations:
        changed = state.give_points()
        changed |= state.fill_empty()
        state.move_centres()
        number += 1
    return Clustering(
        state.centres + mean, state.owner, state.inertia(), number, converged=not changed
    )


class _Lloyd:
    """Centres, who is whose, and between which bounds the distances are."""

    def __init__(self, points: Tensor, centres: Tensor, norms: Tensor):
        self.points, self.centres = points, centres
        count, device = len(points), points.device
        work = count * len(centres) * max(points.shape[1], LEAST_FEATURES)
        self.is_bounded, self.norms = work >= BOUNDED_FROM, norms  # (N,)
        self.owner = torch.full((count,), -1, device=device)
        self.upper = torch.full((count,), float("inf"), dtype=points.dtype, device=device)
        self.lower = torch.zeros_like(self.upper)  # of the distance to all other centres
        self.chunk_size = chunk_size(points, len(centres))
        self.grown = 1 + 8 * torch.finfo(points.dtype).eps  # what rounding may add to a distance
        self.sums = torch.zeros_like(centres, dtype=torch.float64)
        self.counts = self.sums.new_zeros(len(centres))

    def give_points(self) -> bool:
        """Give points to their nearest centres; whether that changed anything."""
        return self._look_at_unsure() if self.is_bounded else self._look_at_all()

    def _look_at_all(self) -> bool:
        squares = squared_norms(self.centres)[:, None]  # (K, 1)
        new = torch.addmm(squares, self.centres, self.points.T, alpha=-2).min(0).indices  # (N,)
        if torch.equal(new, self.owner):
            return False
        self.owner = new
        self.sums, self.counts = cluster_sums(self.points, new, len(self.centres))
        return True

    def _look_at_unsure(self) -> bool:
        # By differences: the product of matrices would round too much for a bound.
        exact = "donot_use_mm_for_euclid_dist"
        between = torch.cdist(self.centres, self.centres, compute_mode=exact)  # (K, K)
        half = between.fill_diagonal_(float("inf")).amin(1) / (2 * self.grown)  # (K,)
        bound = self.lower.maximum(half[self.owner.clamp(min=0)])
        unsure = (self.upper >= bound).nonzero().flatten()
        size, count, changed = self.chunk_size, len(self.points), False
        if 2 * len(unsure) > count:  # to look at the others too is faster than to copy these
            parts = [slice(first, first + size) for first in range(0, count, size)]
        else:
            parts = unsure.split(size)
        for index in parts:
            changed |= self._look_at(index)
        return changed

    def _look_at(self, index: Tensor | slice) -> bool:
        """Compare some points with all centres; whether one changes its cluster."""
        rows = self.points[index]  # (n, D)
        norms, old = self.norms[index], self.owner[index]
        squares = self.centres.square().sum(1, keepdim=True)  # (K, 1)
        scores = torch.addmm(squares, self.centres, rows.T, alpha=-2)  # (K, n)
        best, new = scores.min(0)
        second = scores.scatter_(0, new[None], float("inf")).amin(0)
        slack = 8 * torch.finfo(rows.dtype).eps * (norms + squares.max())
        self.upper[index] = (best + norms + slack).clamp_(min=0).sqrt_()
        self.lower[index] = (second + norms - slack).clamp_(min=0).sqrt_()
        moved = (new != old).nonzero().flatten()
        if not len(moved):
            return False
        self._count(rows if len(moved) == len(rows) else rows[moved], old[moved], new[moved])
        self.owner[index] = new
        return True

    def _count(self, rows: Tensor, old: Tensor, new: Tensor) -> None:
        """Take points out of the sums of their old clusters, -1 for none, and into the new."""
        count = len(self.centres)
        self.sums += part_sums(rows, new, count) - part_sums(rows, old + 1, count + 1)[1:]
        self.counts += torch.bincount(new, minlength=count)
        self.counts -= torch.bincount(old + 1, minlength=count + 1)[1:]

    def move_centres(self) -> None:
        """Put each centre into the mean of its points; the bounds follow."""
        moved = (self.sums / self.counts[:, None]).to(self.centres)  # (K, D)
        if not self.counts.all():
            moved = torch.where(self.counts[:, None] > 0, moved, self.centres)
        before, self.centres = self.centres, moved
        if not self.is_bounded:
            return
        steps = (moved - before).norm(dim=1) * self.grown  # (K,)
        self.upper.add_(steps[self.owner]).mul_(self.grown)
        self.lower.sub_(steps.max()).div_(self.grown)

    def fill_empty(self) -> bool:
        """Give empty clusters the farthest points; whether there was one to give."""
        if self.counts.all():
            return False
        distances = self.distances()
        far = distances.topk(min(len(distances), len(self.centres))).indices
        owners = self.owner[far]
        given = give_points_to_empty(
            self.sums, self.counts, self.points[far], owners, distances[far]
        )
        self.owner[far] = owners
        self.upper[far[given]] = float("inf")  # no bound holds for them
        return bool(given)

    def distances(self) -> Tensor:
        """Squared distance of each point to its centre, (N,)."""
        size = self.chunk_size
        parts = zip(self.points.split(size), self.owner.split(size), strict=True)
        return torch.cat([(part - self.centres[own]).square().sum(1) for part, own in parts])

    def inertia(self) -> float:
        """The sum of the squared distances."""
        return self.distances().double().sum().item()


def elbow(points: Tensor, num_clusters: Sequence[int], seed: int = 0) -> list[float]:
    """The mean squared distance that each of some numbers of clusters leaves.

    Args:
        points: (N, D).
        num_clusters: Each at least 1 and at most N.
        seed: Of the k-means++ starts.

    Returns:
        One number for each.

    Raises:
        ValueError: If a number of clusters is outside its range, or a point is not finite.
    """
    left = []
    for number in num_clusters:
        check_points(points, number)
        start = k_means_plus_plus(points, number, torch.Generator().manual_seed(seed))
        left.append(lloyd(points, start).inertia / len(points))
    return left

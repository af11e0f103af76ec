"""The steps of k-means: where to start, whose centre is nearest, where the centres go.

Lloyd 1982, "Least Squares Quantization in PCM": give each point to its nearest centre, put each
centre into the mean of its points, until nothing changes. The start is k-means++ (Arthur and
Vassilvitskii 2007, section 2.2). Deck, slide "Unsupervised learning".
N points, D features, K centres.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .checks import require

CHUNK_NUMBERS = 1 << 18  # of points or scores that are looked at together: a core's cache
GPU_CHUNKS = 64  # as many at once on a GPU


def chunk_size(points: Tensor, num_clusters: int) -> int:
    """How many points (N, D) are looked at together, with their scores for each centre."""
    numbers = CHUNK_NUMBERS * (1 if points.device.type == "cpu" else GPU_CHUNKS)
    return max(1, numbers // max(points.shape[1], num_clusters))


def squared_norms(points: Tensor) -> Tensor:
    """|x|^2 of points (N, D): (N,). By way of the root, which keeps no squares."""
    return torch.linalg.vector_norm(points, dim=1).square_()


def check_points(points: Tensor, num_clusters: int) -> None:
    """Look at the points before anything is learned from them.

    Raises:
        ValueError: If there are fewer than clusters, or one is not finite.
    """
    rule = "a whole number of at least 1"
    require(num_clusters >= 1, "num_clusters", rule, num_clusters)
    rule = f"at most {len(points)}, the number of points"
    require(num_clusters <= len(points), "num_clusters", rule, num_clusters)
    if points.sum().isfinite():  # a number that is not finite would show
        return
    finite = points.isfinite().all(1)  # (N,); the sum of finite ones may overflow
    if not finite.all():
        bad = int((~finite).sum())
        raise ValueError(f"`points` must be finite, but {bad} of {len(points)} are not.")


def nearest_centre(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest centre of each point, and the squared distance to it.

    Of |x - c|^2 = |x|^2 - 2 x.c + |c|^2 the first is the same for all centres, and x.c is a product
    of matrices; distances to all are kept for a chunk of the points at a time.

    Args:
        points: (N, D).
        centres: (K, D).

    Returns:
        Numbers of centres int64 (N,), the lowest of those equally near, and squared distances (N,).
    """
    half = centres.square().sum(1, keepdim=True) / 2  # (K, 1)
    found, scores = [], []
    for part in points.split(chunk_size(points, len(centres))):
        score, number = torch.addmm(half, centres, part.T, alpha=-1).min(0)  # of (K, n)
        found.append(number)
        scores.append(squared_norms(part).add_(score, alpha=2))
    return torch.cat(found), torch.cat(scores).clamp_(min=0)


def cluster_sums(
    points: Tensor, assignment: Tensor, num_clusters: int, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """The sum and the number of the points of each cluster.

    Args:
        points: (N, D).
        assignment: The cluster of each, int64 (N,).
        num_clusters: K.
        dtype: In which chunks are added up; within a chunk it is that of the points.

    Returns:
        Sums (K, D) and counts (K,), both of that type.
    """
    sums = points.new_zeros(num_clusters, points.shape[1], dtype=dtype)
    size = chunk_size(points, num_clusters)
    for part, own in zip(points.split(size), assignment.split(size), strict=True):
        sums += part_sums(part, own, num_clusters)
    counts = torch.bincount(assignment, minlength=num_clusters)
    return sums, counts.to(dtype)


def part_sums(points: Tensor, own: Tensor, num_clusters: int) -> Tensor:
    """The sums (K, D) of the points of each cluster, so few that their own type will do."""
    if points.device.type == "cpu":  # 3 times as fast as a product of matrices
        return points.new_zeros(num_clusters, points.shape[1]).index_add_(0, own, points)
    # A GPU would add points up in any order, so that a run could not be repeated.
    return points.new_zeros(num_clusters, len(points)).scatter_(0, own[None], 1.0) @ points


def give_points_to_empty(
    sums: Tensor, counts: Tensor, points: Tensor, owners: Tensor, distances: Tensor
) -> list[int]:
    """Give each empty cluster one of the points that are farthest from their centres, in place.

    The point leaves the cluster that it was in, unless it is alone there.

    Args:
        sums: (K, D).
        counts: (K,).
        points: Candidates, (M, D); the farthest K of all points are enough.
        owners: The clusters that they are in, int64 (M,).
        distances: Their squared distances to these, (M,).

    Returns:
        The candidates that changed clusters; `owners` tells where they are now.
    """
    empty, given = (counts == 0).nonzero().flatten().tolist(), []
    for candidate in distances.argsort(descending=True, stable=True).tolist() if empty else ():
        owner = int(owners[candidate])
        if not empty or counts[owner] <= 1:
            continue
        cluster, point = empty.pop(0), points[candidate].to(sums.dtype)
        sums[owner] -= point
        counts[owner] -= 1
        sums[cluster], counts[cluster], owners[candidate] = point, 1, cluster
        given.append(candidate)
    return given


def k_means_plus_plus(
    points: Tensor, num_clusters: int, generator: torch.Generator | None = None
) -> Tensor:
    """Draw centres from the points, each with odds that grow with the distance from those drawn.

    The next centre is the best of 2 + log K candidates, each drawn with a probability in proportion
    to its squared distance from the nearest centre so far: the greedy variant, which the paper
    recommends in its section 7. It comes from one `generator` on the CPU, whatever the device.

    Args:
        points: (N, D), at least K.
        num_clusters: K.
        generator: Where it is drawn from; default: torch's own.

    Returns:
        Centres (K, D).
    """
    trials = 2 + int(math.log(num_clusters))
    first = int(torch.rand((), generator=generator) * len(points))
    chosen = [min(first, len(points) - 1)]
    norms = squared_norms(points)  # (N,)
    distances = _distances(points, norms, points[chosen])[0]
    for _ in range(num_clusters - 1):
        total = distances.double().cumsum(0)  # (N,)
        drawn = torch.rand(trials, generator=generator, dtype=torch.float64).to(points.device)
        tried = torch.searchsorted(total, drawn * total[-1]).clamp_(max=len(points) - 1)
        nearer = _distances(points, norms, points[tried]).minimum(distances)  # (trials, N)
        best = int(nearer.sum(1).argmin())
        chosen.append(int(tried[best]))
        distances = nearer[best]
    return points[chosen].clone()


def _distances(points: Tensor, norms: Tensor, centres: Tensor) -> Tensor:
    """Squared distances of all points to a few centres, (K, N)."""
    squares = centres.square().sum(1, keepdim=True)  # (K, 1)
    return torch.addmm(squares, centres, points.T, alpha=-2).add_(norms).clamp_(min=0)


def purity(table: Tensor) -> Tensor:
    """The share of points that belong to the commonest class of their cluster, a scalar.

    Args:
        table: How many points of each cluster are of each class, (clusters, classes).
    """
    return table.amax(1).sum() / table.sum()


def normalized_mutual_information(table: Tensor) -> Tensor:
    """I(U, V) divided by the mean of H(U) and H(V), from 0 to 1, a scalar.

    Clusters U and classes V (Strehl and Ghosh 2002, with the arithmetic mean for the geometric);
    1 where neither tells anything because there is one of each.

    Args:
        table: How many points of each cluster are of each class, (clusters, classes).
    """
    joint = table.double() / table.sum()
    clusters, classes = joint.sum(1), joint.sum(0)
    entropies = _entropy(clusters) + _entropy(classes)
    shared = entropies - _entropy(joint.flatten())
    return torch.where(entropies > 0, 2 * shared / entropies, 1.0).clamp(0, 1)


def _entropy(p: Tensor) -> Tensor:
    """In nats, a scalar."""
    return -torch.special.xlogy(p, p).sum()

"""Side by side: Lloyd's iterations of ours against scikit-learn's, from the same start.

Both sides get the same float32 points and the same centres, drawn by k-means++, and iterate to the
same limit, or until no point changes its cluster. That the work is equal is checked: as many
iterations, give or take two, and the same inertia within 0.1 %. The limits are such that few runs
rest before: near rest a tie that rounds either way may lead to another rest, long after.
scikit-learn runs `KMeans(algorithm="lloyd", n_init=1, init=start, tol=0)`. Rounds alternate the
order, and each has another start.

    python tests/benchmarks/kmeans.py [--rounds 3] [--threads 2] [--cases digits mnist]

One JSON line for each case. Seconds of the clock and of the processor are told: where others work
on the machine the latter say more. Takes about 5 minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from typing import Any, NamedTuple

import torch
from paceline.lightning_modules.blocks.clustering import k_means_plus_plus
from paceline.lightning_modules.blocks.lloyd import lloyd
from paceline.lightning_modules.data.digits import Digits
from paceline.lightning_modules.data.mnist import MNIST
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits
from torch import Tensor

NUM_CLUSTERS = {"digits": [10, 30], "mnist": [10, 100]}
LIMITS = {"digits": 10, "mnist": 60}


class Measured(NamedTuple):
    """One side's fit."""

    seconds: float
    cpu_seconds: float
    inertia: float
    num_iterations: int


def points_of(name: str) -> Tensor:
    """All pictures of the training split as points (N, D), from 0 to 1."""
    if name == "digits":
        splits = Digits().load()
        parts = [part.inputs for part in (splits.train, splits.val, splits.test)]
        return torch.cat(parts).flatten(1) / 16  # (1797, 64)
    return MNIST(val_size=0).load().train.inputs.flatten(1).float() / 255  # (60000, 784)


def ours(points: Tensor, start: Tensor, limit: int) -> Measured:
    began, cpu_began = time.perf_counter(), time.process_time()
    found = lloyd(points, start, limit)
    seconds = time.perf_counter() - began, time.process_time() - cpu_began
    return Measured(*seconds, found.inertia, found.num_iterations)


def peer(points: Tensor, start: Tensor, limit: int) -> Measured:
    options: dict[str, Any] = {"init": start.numpy(), "n_init": 1, "tol": 0, "algorithm": "lloyd"}
    model: Any = KMeans(len(start), max_iter=limit, **options)
    began, cpu_began = time.perf_counter(), time.process_time()
    model.fit(points.numpy())
    seconds = time.perf_counter() - began, time.process_time() - cpu_began
    return Measured(*seconds, float(model.inertia_), int(model.n_iter_))


def measure(name: str, num_clusters: int, rounds: int, limit: int) -> dict[str, object]:
    """Alternate the two sides, and give the ratio of their times, round by round."""
    points, found = points_of(name), []
    for number in range(rounds):
        generator = torch.Generator().manual_seed(number)
        start = k_means_plus_plus(points, num_clusters, generator)
        sides = {"ours": ours, "peer": peer}
        order = list(sides) if number % 2 == 0 else list(sides)[::-1]
        one = {side: sides[side](points, start, limit) for side in order}
        assert abs(one["ours"].inertia / one["peer"].inertia - 1) < 1e-3, one
        assert abs(one["ours"].num_iterations - one["peer"].num_iterations) <= 2, one
        found.append(one)
    ratios = [one["peer"].seconds / one["ours"].seconds for one in found]
    cpu_ratios = [one["peer"].cpu_seconds / one["ours"].cpu_seconds for one in found]
    return {
        "benchmark": "kmeans",
        "data": name,
        "num_clusters": num_clusters,
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "iterations": [[one[side].num_iterations for side in ("ours", "peer")] for one in found],
        "seconds": {
            side: round(statistics.median(one[side].seconds for one in found), 3)
            for side in ("ours", "peer")
        },
        "ratio": round(statistics.median(ratios), 2),
        "spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "ratio_of_cpu_seconds": round(statistics.median(cpu_ratios), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=int, help=f"iterations of either side at most: {LIMITS}")
    parser.add_argument("--cases", nargs="+", default=list(NUM_CLUSTERS), choices=NUM_CLUSTERS)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    torch.set_num_threads(options.threads)
    with threadpool_limits(options.threads):
        for name in options.cases:
            for num_clusters in NUM_CLUSTERS[name]:
                limit = options.limit or LIMITS[name]
                found = measure(name, num_clusters, options.rounds, limit)
                print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()

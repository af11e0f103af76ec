"""What k-means counts during an epoch, and the step that moves its centres.

B batch, D features, K centres.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..blocks.clustering import cluster_sums, give_points_to_empty


class MoveCentres(Optimizer):
    """Puts the centres where they should be.

    An optimizer, because Lightning counts steps, and keeps checkpoints, by those of optimizers.

    Args:
        centres: (K, D).

    Attributes:
        aim: Where the next step puts them, (K, D).
    """

    aim: Tensor | None = None

    def __init__(self, centres: nn.Parameter):
        super().__init__([centres], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move the centres to their aim."""
        told = None if closure is None else closure()
        if self.aim is not None:
            (centres,) = self.param_groups[0]["params"]
            centres.copy_(self.aim)
            self.aim = None
        return told


class EpochSums:
    """Sums and counts of the points of each cluster, and the K points that lie farthest out.

    Nothing leaves the device before the end of the epoch.

    Args:
        centres: (K, D); gives sizes and device.
    """

    def __init__(self, centres: Tensor):
        centres = centres.detach()
        self.sums = torch.zeros_like(centres, dtype=torch.float64)
        self.counts = self.sums.new_zeros(len(centres))
        self.distance, self.num_points = self.sums.new_zeros(()), 0
        self.far = centres[:0]  # (<= K, D)
        self.far_owner = torch.zeros(0, dtype=torch.int64, device=centres.device)
        self.far_distance = centres.new_zeros(0)

    def add_distances(self, distances: Tensor) -> None:
        """Count squared distances (B,) for the inertia alone."""
        self.distance = self.distance.to(distances.device) + distances.sum(dtype=torch.float64)
        self.num_points += len(distances)

    def add(self, points: Tensor, owner: Tensor, distances: Tensor) -> None:
        """Count a batch (B, D), the clusters that its points are in and their squared distances."""
        sums, counts = cluster_sums(points, owner, len(self.sums))
        self.add_distances(distances)
        self.sums, self.counts = self.sums.to(sums) + sums, self.counts.to(counts) + counts
        top = distances.topk(min(len(distances), len(self.sums))).indices
        far = torch.cat((self.far_distance.to(distances), distances[top]))
        kept = far.topk(min(len(far), len(self.sums))).indices
        self.far_distance = far[kept]
        self.far = torch.cat((self.far.to(points), points[top]))[kept]
        self.far_owner = torch.cat((self.far_owner.to(owner), owner[top]))[kept]

    def over_ranks(
        self, sum_over_ranks: Callable[[Tensor], Tensor], gather: Callable[[Any], Any]
    ) -> EpochSums:
        """Sums and counts of all ranks, in which no cluster is empty while a point can be given.

        Args:
            sum_over_ranks: Adds up a tensor over the processes.
            gather: Stacks a tensor of each process, all of one shape.
        """
        both = sum_over_ranks(torch.cat((self.sums, self.counts[:, None]), 1))  # (K, D + 1)
        total = EpochSums(self.sums)
        total.sums, total.counts = both[:, :-1].clone(), both[:, -1].clone()
        if not total.counts.all():
            features = self.far.shape[-1]
            far, owner, distance = map(gather, (self.far, self.far_owner, self.far_distance))
            give_points_to_empty(
                total.sums,
                total.counts,
                far.reshape(-1, features),  # (ranks * K, D)
                owner.reshape(-1),  # (ranks * K,)
                distance.reshape(-1),  # (ranks * K,)
            )
        return total

    def inertia(self, sum_over_ranks: Callable[[Tensor], Tensor]) -> Tensor:
        """The mean squared distance over the points of all ranks, a float32 scalar."""
        count = self.distance.new_tensor(float(self.num_points))
        total = sum_over_ranks(torch.stack((self.distance, count)))
        return (total[0] / total[1]).float()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint in the middle of an epoch must keep."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting where the checkpoint was written."""
        vars(self).update(state)

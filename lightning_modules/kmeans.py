"""K-means: each point belongs to its nearest centre, each centre is the mean of its points.

Deck, slide "Unsupervised learning" (clustering). An epoch over the training split is one iteration
of Lloyd 1982, "Least Squares Quantization in PCM"; the start is k-means++ (Arthur and Vassilvitskii
2007). No gradient is computed: the step that an optimizer is asked for moves the centres to the
means, which is Newton's step on the inertia (Bottou and Bengio 1995, section 2). `mini_batch` is
Sculley 2010, "Web-Scale K-Means Clustering", algorithm 1: each batch moves the centres, by steps
that shrink with the points that a centre has seen.
B batch, D features, K centres, M classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from .blocks import clustering
from .blocks.checks import require, require_one_of
from .blocks.lloyd import lloyd
from .rules.centre_steps import EpochSums, MoveCentres
from .rules.cluster_judgement import JudgesClusters, points_and_labels
from .shapes import resolve_input
from .steps.exact_resume import ExactResume
from .steps.lean_step import LeanStep

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Algorithm = Literal["lloyd", "mini_batch"]
Start = Literal["k-means++", "random"]
REST = 1e-5  # a step that is shorter, of centres about as long as 1, is rounding


class KMeans(LeanStep, JudgesClusters, ExactResume, pl.LightningModule):
    """Finds the centres of clusters.

    Batches are (x, labels) or x; labels only judge what was found. `lloyd` wants the whole split in
    an epoch, best as one batch: the start is drawn from the first one. It ends the training when an
    epoch moves no centre, and with that no point from its cluster. An empty cluster is given the
    point farthest from its centre.
    Logs `train/inertia`, `val/inertia` and `test/inertia`: the mean squared distance of a point to
    its nearest centre, in the units of the data as it is handed out (scikit-learn's inertia is the
    sum). With labels also `val/purity` and `test/purity`, the share of points that are of their
    cluster's commonest class, and `val/mutual_information` and `test/mutual_information`,
    normalised to 0 to 1.

    Args:
        in_features: D; default: that of the data.
        in_shape: Shape of one example; default: that of the data.
        num_clusters: K, at least 1 and at most the points of the first batch.
        num_classes: M, for the measures that look at labels; default: that of the data.
        algorithm: `lloyd` or `mini_batch`.
        start: `k-means++`, or `random`: points of the first batch.
        iterations: Of `lloyd` in an epoch, at least 1, of which the last is recorded. Above 1 they
            want the whole split as one batch, and ask for it once.

    Raises:
        ValueError: If an argument is outside its range; in the first step, if there are fewer
            points than clusters or a number is not finite.
    """

    # What this family cannot fulfil of the tests that all families share: test -> reason.
    conformance_exceptions = {  # noqa: RUF012 (data of the class, never changed)
        "every_parameter_gets_a_gradient": "centres move to means; no gradient is computed",
        "one_batch_can_be_learned_by_heart": "eight points have no ten clusters, nor an optimizer",
    }
    started: Tensor
    seen: Tensor

    def __init__(
        self,
        in_features: int | None = None,
        in_shape: list[int] | None = None,
        num_clusters: int = 10,
        num_classes: int | None = None,
        algorithm: Algorithm = "lloyd",
        start: Start = "k-means++",
        iterations: int = 1,
    ):
        super().__init__()
        features, shape = resolve_input(in_features, in_shape)
        require(num_clusters >= 1, "num_clusters", "a whole number of at least 1", num_clusters)
        require_one_of("algorithm", algorithm, ("lloyd", "mini_batch"))
        require_one_of("start", start, ("k-means++", "random"))
        require(iterations >= 1, "iterations", "at least 1", iterations)
        rule = "1 unless `algorithm` is lloyd"
        require(algorithm == "lloyd" or iterations == 1, "iterations", rule, iterations)
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.num_clusters, self.num_classes = num_clusters, num_classes or 0
        self.algorithm, self.start, self.in_shape = algorithm, start, shape
        self.iterations = iterations
        self.centres = nn.Parameter(torch.zeros(num_clusters, features))
        self.register_buffer("started", torch.tensor(False))
        self.register_buffer("seen", torch.zeros(num_clusters, dtype=torch.float64))
        self.example_input_array = torch.zeros(2, *shape)
        self._sums = EpochSums(self.centres)
        self._start_evaluation()

    def configure_optimizers(self) -> MoveCentres:
        """What moves the centres; Lightning counts the steps of optimizers only."""
        return MoveCentres(self.centres)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Squared distances of a batch to the centres, (B, K)."""
        points, centres = x.flatten(1), self.centres
        scores = torch.addmm(centres.square().sum(1), points, centres.T, alpha=-2)  # (B, K)
        return (scores + points.square().sum(1, keepdim=True)).clamp(min=0)

    @torch.no_grad()
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Give a batch to the centres; move them after each batch, or after the last."""
        points, _ = points_and_labels(batch)
        if self.current_epoch == 0:
            clustering.check_points(points, self.num_clusters if batch_idx == 0 else 1)
        if batch_idx == 0 and not self.started:
            self._start(points)
        if self.iterations > 1:
            self._iterate(points)
        owner, distances = clustering.nearest_centre(points, self.centres)
        self._sums.add(points, owner, distances)
        if self.algorithm == "mini_batch":
            self._move_by_batch(points, owner)
        elif batch_idx + 1 == self.trainer.num_training_batches:
            self._move_to_means()
        return distances.mean()

    def _start(self, points: Tensor) -> None:
        """Draw centres from the first rank's first batch."""
        if self.start == "random":
            drawn = points[torch.randperm(len(points))[: self.num_clusters]]
        else:
            drawn = clustering.k_means_plus_plus(points, self.num_clusters)
        self.centres.copy_(self.trainer.strategy.broadcast(drawn).to(self.centres))
        self.started.fill_(True)

    def _iterate(self, points: Tensor) -> None:
        """All of an epoch's iterations but the last."""
        rule = "1 unless an epoch is one batch"
        require(self.trainer.num_training_batches == 1, "iterations", rule, self.iterations)
        if self.trainer.world_size == 1:
            self.centres.copy_(lloyd(points, self.centres, self.iterations - 1).centres)
            return
        for _ in range(self.iterations - 1):
            sums = EpochSums(self.centres)
            sums.add(points, *clustering.nearest_centre(points, self.centres))
            self.centres.copy_(self._means(sums))

    def _means(self, sums: EpochSums) -> Tensor:
        """The mean of each cluster's points, (K, D); the centre where it has none."""
        counted = sums.over_ranks(self._sum_over_ranks, self.all_gather)
        means = counted.sums / counted.counts[:, None].clamp(min=1)  # (K, D)
        return torch.where(counted.counts[:, None] > 0, means, self.centres.to(means))

    def _move_to_means(self) -> None:
        """Lloyd's step; if it is none, the training ends."""
        before = self.centres.clone()
        self._step(self._means(self._sums))
        farthest = (self.centres - before).abs().max()
        if farthest <= REST * before.abs().max().clamp(min=1):
            self.trainer.should_stop = True

    def _move_by_batch(self, points: Tensor, owner: Tensor) -> None:
        """Sculley's step: a centre stays the mean of all points that it was ever given."""
        sums, counts = clustering.cluster_sums(points, owner, self.num_clusters)
        both = self._sum_over_ranks(torch.cat((sums, counts[:, None]), 1))
        sums, counts = both[:, :-1], both[:, -1]
        self.seen += counts
        change = (sums - counts[:, None] * self.centres) / self.seen[:, None].clamp(min=1)
        self._step(self.centres + change)

    def _step(self, aim: Tensor) -> None:
        optimizer: Any = self.optimizers()
        optimizer.optimizer.aim = aim
        optimizer.step()

    def on_train_epoch_start(self) -> None:
        """Start counting; not called where a run goes on in the middle of an epoch."""
        self._sums = EpochSums(self.centres)

    def on_train_epoch_end(self) -> None:
        """Log `train/inertia`."""
        self.log("train/inertia", self._sums.inertia(self._sum_over_ranks), sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the epoch's sums beside the generators.

        Of several processes the first keeps its own: the others' half of an epoch is not counted.
        """
        super().on_save_checkpoint(checkpoint)
        checkpoint["epoch_sums"] = self._sums.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the sums."""
        super().on_load_checkpoint(checkpoint)
        if "epoch_sums" in checkpoint:
            self._sums.load_state_dict(checkpoint["epoch_sums"])

    @torch.no_grad()
    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        """Clusters int64 (B,) of a batch, and squared distances (B,) to their centres."""
        owner, distances = clustering.nearest_centre(points_and_labels(batch)[0], self.centres)
        return {"cluster": owner, "squared_distance": distances}

    def figures(self) -> dict[str, Figure]:
        """The centres, and the inertia over K (`elbow`) for points of the latest evaluation."""
        from .pictures.clusters import figures  # matplotlib takes a while to import

        return figures(self.centres.detach(), self.in_shape, self._examples)

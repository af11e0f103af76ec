"""What a training rule of a generator measures and shows, whatever taught it.

Validation compares what the generator makes with the data, in the ways of `gan_evaluation.py`. The
noise of every evaluation and picture comes from a generator of random numbers of its own, so that
looking changes nothing, and pictures of different epochs show the same noise.
B batch, Z noise, N samples, F features.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..blocks.checks import require
from ..data.order import derive_seed
from ..pixel_range import PixelRange
from .gan_evaluation import REACH, Comparison, mode_measures

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pytorch_lightning import LightningModule as Beside  # what the mixin finds beside itself
else:
    Beside = object

NUM_POINTS = 2500  # that modes are counted with
CHUNK = 1000  # examples made at a time


class GeneratorEvaluation(Beside):
    """Mixin for a `LightningModule`; write it before that class among the bases.

    `forward` must map noise (B, Z) to examples (B, *in_shape), pictures with pixels from 0 to 1.
    """

    generator: nn.Module

    def set_evaluation(
        self,
        in_shape: list[int],
        noise_size: int,
        pixels: PixelRange,
        modes: tuple[list[list[float]] | None, float | None],
        comparison: Comparison,
    ) -> None:
        """Say what is made and what it is compared by; for the module's constructor.

        Args:
            in_shape: Shape of one example.
            noise_size: Z.
            pixels: What undoes the data's normalisation.
            modes: Centres of the data's modes, [x, y] each, and their standard deviation; or None.
            comparison: Takes the features.

        Raises:
            ValueError: If the modes are no points as the data's, or have no spread.
        """
        self.mode_centres, self.mode_std = modes
        check_modes(in_shape, *modes)
        self.in_shape, self.noise_size = tuple(in_shape), noise_size
        self.pixels, self._comparison = pixels, comparison

    @property
    def makes_pictures(self) -> bool:
        """Whether an example is a picture, (C, H, W)."""
        return len(self.in_shape) == 3

    def setup(self, stage: str) -> None:
        """Read the classifier that examples are compared by."""
        if stage != "predict":
            self._comparison.load()

    def shown(self, x: Tensor) -> Tensor:
        """Examples of the data with pixels from 0 to 1, (B, *in_shape)."""
        return self.pixels(x).view(x.shape) if self.makes_pictures else x

    def _note_real(self, batch: Any) -> None:
        if self.mode_centres is None:
            self._comparison.add("real", batch[0], self.shown(batch[0]))

    def average_buffers(self) -> None:
        """Give all ranks the same statistics of batch norm; here there is nothing to do."""

    def _start_evaluation(self) -> None:
        self._comparison.begin()
        self.average_buffers()

    def _finish_evaluation(self, stage: str) -> None:
        seed = derive_seed("evaluation", self.global_rank)
        if self.mode_centres is not None:
            points = self.make(NUM_POINTS, seed)
            centres = torch.tensor(self.mode_centres, device=points.device)
            measures = mode_measures(points, centres, self.mode_std or 0.0)
        else:
            measures = self._compare(seed)
        for name, value in measures.items():
            self.log(f"{stage}/{name}", value, sync_dist=True)

    def _compare(self, seed: int) -> dict[str, float]:
        """Measures of as many generated examples as real ones were seen, over all ranks."""
        for shown in self.make(len(self._comparison), seed).split(CHUNK):
            normalised = (shown - self.pixels.mean) / self.pixels.std
            self._comparison.add("made", normalised, shown)
        return self._comparison.measures(self._gathered)

    def _gathered(self, rows: Tensor) -> Tensor:
        """Rows of all ranks; where one has more than another, its surplus is left out."""
        if self.trainer.world_size == 1:
            return rows
        counts: Any = self.all_gather(torch.tensor(len(rows), device=rows.device))
        every: Any = self.all_gather(rows[: int(counts.min())])  # (W, N, F)
        return every.flatten(0, 1)

    @torch.no_grad()
    def make(self, count: int, seed: int) -> Tensor:
        """Examples (count, *in_shape) from noise of a generator of its own, as `forward` has them.

        Args:
            count: How many.
            seed: Same seed, same noise, whatever else was drawn.
        """
        rng = torch.Generator().manual_seed(seed)
        noise = torch.randn(count, self.noise_size, generator=rng).to(self.device)
        was_training = self.generator.training
        self.generator.eval()
        made = torch.cat([self(rows) for rows in noise.split(CHUNK)])
        self.generator.train(was_training)
        return made

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self._start_evaluation()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Note the features of one batch."""
        self._note_real(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the measures of `val/`."""
        self._finish_evaluation("val")

    def on_test_epoch_start(self) -> None:
        """Start counting."""
        self._start_evaluation()

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Note the features of one batch."""
        self._note_real(batch)

    def on_test_epoch_end(self) -> None:
        """Log the measures of `test/`."""
        self._finish_evaluation("test")

    def sample(self, *, seed: int = 0, count: int = 64) -> dict[str, Figure]:
        """Make examples and draw them.

        Args:
            seed: Of the noise.
            count: How many, from 1 to 10,000.

        Raises:
            ValueError: If `count` is outside its range.
        """
        require(1 <= count <= 10_000, "count", "from 1 to 10,000", count)
        return {"samples": self._drawn(self.make(count, derive_seed("samples", seed)))}

    def snapshots(self) -> dict[str, Figure]:
        """Examples of the same noise each time, so that one sees them change."""
        return self.sample(count=64 if self.mode_centres is None else NUM_POINTS)

    def figures(self) -> dict[str, Figure]:
        """`samples`: what the generator makes, of points among the modes of the data."""
        return self.snapshots()

    def _drawn(self, made: Tensor) -> Figure:
        made = made.float().cpu()
        if self.mode_centres is not None:
            from ..pictures.ring import ring_picture  # matplotlib takes a while to import

            centres, std = torch.tensor(self.mode_centres), self.mode_std or 0.0
            found = mode_measures(made, centres, std)
            title = f"{found['modes']:.0f} of {len(centres)} modes, "
            title += f"{found['high_quality']:.0%} of the points within {REACH:.0f} std of one"
            return ring_picture(made.numpy(), centres.numpy(), REACH * std, title)
        from ..pictures.grids import picture_grid

        return picture_grid(made.numpy(), math.ceil(math.sqrt(len(made))))


def check_modes(in_shape: list[int], centres: list[list[float]] | None, std: float | None) -> None:
    """Raise ValueError unless the modes are points as the data's, with a spread."""
    if centres is None:
        require(std is None, "mode_std", "left out without `mode_centres`", std)
        return
    shapes = {(len(centre),) for centre in centres}
    rule = f"at least two points of shape {list(in_shape)}"
    require(len(centres) >= 2 and shapes == {tuple(in_shape)}, "mode_centres", rule, centres)
    require(std is not None and 0 < std < math.inf, "mode_std", "a positive number", std)

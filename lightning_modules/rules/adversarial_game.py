"""The training rule of generative adversarial networks: two players, each taught by the other.

Deck, slide "Generative Adversarial Network": the generator makes examples x' = G(z) from noise z,
the discriminator scores how real an example looks (Goodfellow et al. 2014). A step is an
iteration of their Algorithm 1: the batch is cut into `discriminator_steps` parts, one for each
update of the discriminator, and then the generator is updated once. Differs: the generator is
judged on the noise of the last part, not on new noise, which spares a forward pass.
B batch, Z noise.
"""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from ..blocks.adversarial import (
    ADVERSARIAL_LOSSES,
    AdversarialLoss,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
)
from ..blocks.checks import require, require_one_of
from ..pixel_range import PixelRange
from ..steps.epoch_means import EpochMeans, KeepsEpochMeans
from ..steps.exact_resume import ExactResume
from ..steps.lean_step import LeanStep
from ..steps.separate_optimizers import SeparateOptimizers
from .gan_evaluation import Comparison
from .generator_evaluation import GeneratorEvaluation

TRAINED = ("generator_loss", "discriminator_loss", "score_gap")
PENALTY_WEIGHT = 10.0  # Gulrajani et al. 2017, section 4


class AdversarialGame(
    LeanStep,
    SeparateOptimizers,
    GeneratorEvaluation,
    KeepsEpochMeans,
    ExactResume,
    pl.LightningModule,
):
    """The training rule that adversarial networks share.

    Batches are (x, labels); labels are not looked at. Pictures, (C, H, W), are made and seen by the
    discriminator as 2 pixel - 1, from -1 to 1; other examples as the data hands them out. The
    config's optimizer and schedule serve both networks.
    Logs `train/generator_loss`, `train/discriminator_loss` (without penalty) and `train/score_gap`,
    mean score of real minus generated examples (of `wgan_gp` an estimate of their Wasserstein
    distance), `lr`; and in validation and test `modes`, `high_quality` and `mode_distance` where
    the data's modes are known, else `raw_frechet_distance`, `raw_precision` and `raw_recall`, and
    with a classifier the same as `classifier_...`; see `gan_evaluation.py`.

    Args:
        generator: Maps noise (B, Z) to examples; to numbers before the tanh, of pictures.
        discriminator: Maps examples to scores (B,).
        in_shape: Shape of one example.
        noise_size: Z, numbers that an example is made from, drawn from N(0, 1).
        loss: `non_saturating`, `minimax`, `wgan_gp` or `hinge`, see `blocks/adversarial.py`.
        penalty_weight: Of the gradient penalty, > 0; `wgan_gp` only.
        discriminator_steps: Updates of the discriminator for each of the generator, at least 1.
        discriminator_lr_factor: Learning rate of the discriminator over the generator's, > 0 (two
            time scales, Heusel et al. 2017).
        gradient_clip_val: Largest norm of the gradient of each network; default: any.
        pixel_mean: What the data subtracted from the pixels; default: that of the data, or 0.
        pixel_std: What it divided them by, > 0; default: that of the data, or 1.
        mode_centres: Where the data's modes are, [x, y] each; default: those of the data, if any.
        mode_std: Standard deviation of the data about each; default: that of the data.
        feature_checkpoint: File of a trained classifier whose features examples are compared in.
        feature_family: That classifier's name in the catalog.

    Raises:
        ValueError: If an argument is outside its range, or set where it has no effect.
    """

    # What this family cannot fulfil of the tests that all families share: test -> reason.
    conformance_exceptions: dict[str, str] = {  # noqa: RUF012 (data of the class, never changed)
        "one_batch_can_be_learned_by_heart": "what one player wins the other loses: no loss falls",
    }

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        in_shape: list[int],
        noise_size: int,
        *,
        loss: AdversarialLoss = "non_saturating",
        penalty_weight: float = PENALTY_WEIGHT,
        discriminator_steps: int = 1,
        discriminator_lr_factor: float = 1.0,
        gradient_clip_val: float | None = None,
        pixel_mean: float | list[float] | None = None,
        pixel_std: float | list[float] | None = None,
        mode_centres: list[list[float]] | None = None,
        mode_std: float | None = None,
        feature_checkpoint: str | None = None,
        feature_family: str = "CNN",
    ):
        super().__init__()
        check_game(loss, penalty_weight, discriminator_steps)
        factor, clip = discriminator_lr_factor, gradient_clip_val
        require(0 < factor < math.inf, "discriminator_lr_factor", "a positive number", factor)
        require(clip is None or clip > 0, "gradient_clip_val", "above 0", clip)
        self.automatic_optimization = False
        self.generator, self.discriminator = generator, discriminator
        self.loss: AdversarialLoss = loss
        self.penalty_weight = penalty_weight
        self.discriminator_steps, self.gradient_clip_val = discriminator_steps, clip
        self.lr_factors = {"discriminator": factor}
        pixels, modes = PixelRange(pixel_mean, pixel_std, in_shape), (mode_centres, mode_std)
        comparison = Comparison(feature_checkpoint, feature_family)
        self.set_evaluation(in_shape, noise_size, pixels, modes, comparison)
        self.example_input_array = torch.zeros(2, noise_size)
        self._training = EpochMeans(TRAINED)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The players; the platform gives each its own optimizer."""
        return {
            "generator": list(self.generator.parameters()),
            "discriminator": list(self.discriminator.parameters()),
        }

    def generate(self, noise: Tensor) -> Tensor:
        """Examples as the discriminator sees them, (B, *in_shape), from noise (B, Z)."""
        made = self.generator(noise).view(-1, *self.in_shape)  # (B, *in_shape)
        return made.tanh() if self.makes_pictures else made

    def forward(self, noise: Tensor) -> Tensor:
        """Examples (B, *in_shape) from noise (B, Z); pictures have pixels from 0 to 1."""
        made = self.generate(noise)
        return (made + 1) / 2 if self.makes_pictures else made

    def conformance_inputs(self, batch: Any) -> Tensor:
        """Noise (B, Z), which is what `forward` takes, for as many examples as a batch has."""
        return torch.randn(len(batch[0]), self.noise_size, device=batch[0].device)

    def seen(self, x: Tensor) -> Tensor:
        """Examples of the data as the discriminator sees them, (B, *in_shape)."""
        return 2 * self.shown(x) - 1 if self.makes_pictures else x

    def _noise(self, count: int) -> Tensor:
        """Noise (B, Z): every W-th row of what one process would draw for W times as many."""
        ranks = self.trainer.world_size
        drawn = torch.randn(count * ranks, self.noise_size, device=self.device)
        return drawn[self.global_rank :: ranks]

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """Play once: the discriminator a few times, then the generator."""
        x, _ = batch
        if batch_idx == 0 and self.makes_pictures:
            self.pixels.check(x)
        *earlier, last = self.seen(x).chunk(self.discriminator_steps)
        for real in earlier:
            with torch.no_grad():
                fake = self.generate(self._noise(len(real)))
            self._train_discriminator(real, fake)
        fake = self.generate(self._noise(len(last)))  # the generator learns from these
        judged, gap = self._train_discriminator(last, fake.detach())
        passed = generator_loss(self.discriminator(fake), self.loss)
        self.minimise(passed, "generator", is_step=True)
        self._training.add(len(x), passed, judged, gap)
        self.step_schedules(batch_idx)
        self.log_step(
            {"train/generator_loss_step": passed, "train/discriminator_loss_step": judged}
        )
        return {"loss": passed.detach()}

    def _train_discriminator(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Update the discriminator; its loss without the penalty, and the gap of the scores."""
        scores, fake_scores = self.discriminator(real), self.discriminator(fake)
        objective = loss = discriminator_loss(scores, fake_scores, self.loss)
        if self.loss == "wgan_gp":
            ranks = self.trainer.world_size
            share = torch.rand(len(real) * ranks, device=real.device)[self.global_rank :: ranks]
            penalty = gradient_penalty(self.discriminator, real, fake, share)
            objective = loss + self.penalty_weight * penalty
        self.minimise(objective, "discriminator", is_step=False)
        return loss, scores.mean() - fake_scores.mean()

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means and the generator's learning rate."""
        self._log_means("train", self._training)
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"], sync_dist=True)

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        """The discriminator's scores (B,) of a batch, high for what looks real."""
        x = batch[0] if isinstance(batch, (tuple, list)) else batch
        return {"score": self.discriminator(self.seen(x))}


def check_game(loss: str, penalty_weight: float, discriminator_steps: int) -> None:
    """Raise ValueError unless the loss is known and the numbers are in range and go with it."""
    require_one_of("loss", loss, ADVERSARIAL_LOSSES)
    require(0 < penalty_weight < math.inf, "penalty_weight", "a positive number", penalty_weight)
    idle, rule = loss != "wgan_gp", f"left at {PENALTY_WEIGHT} unless `loss` is wgan_gp"
    require(not idle or penalty_weight == PENALTY_WEIGHT, "penalty_weight", rule, penalty_weight)
    require(discriminator_steps >= 1, "discriminator_steps", "at least 1", discriminator_steps)

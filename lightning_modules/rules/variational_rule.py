"""The training rule of models whose codes are drawn: generative and latent loss, and the ELBO.

Deck, slide "Variational Autoencoder": two losses, of what the decoder says, and of how closely the
codes match a unit Gaussian. Kingma and Welling 2014, "Auto-Encoding Variational Bayes", section
2.3: their sum is minus the ELBO, a bound on log p(x). Warm-up of the second: Sonderby et al. 2016,
"Ladder Variational Autoencoders", section 2.3.
B batch, D pixels of a picture, Z code, k samples.
"""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from ..blocks.checks import require
from ..blocks.gaussian import draw_with_kl
from ..blocks.importance_sampling import importance_weighted_bound
from ..data.order import derive_seed
from ..networks.vae_networks import VAENetwork
from ..pixel_range import PixelRange
from ..steps.batches import parts
from ..steps.epoch_means import EpochMeans, KeepsEpochMeans
from ..steps.exact_resume import ExactResume
from ..steps.lean_step import LeanStep
from .vae_objective import LatentWeight, PixelLikelihood

NUM_SAMPLES, NUM_PICTURES = 64, 1000  # decoded codes and the pictures that they are compared with
CHUNK_NUMBERS = 4_000_000  # pixels of decoded codes at a time: 16 MB


class VariationalRule(LeanStep, KeepsEpochMeans, ExactResume, pl.LightningModule):
    """Learns to say pictures again from codes that a unit Gaussian could have drawn.

    Batches are (x, labels) or x; only a picture looks at labels. Data modules hand out normalised
    numbers; the network sees, and is asked for, pixels from 0 to 1: x pixel_std + pixel_mean.
    Logs, in nats a picture: `train/generative_loss`, `train/latent_loss` and `train/loss` (their
    sum with the weight); the same of `val/` and `test/`, without the weight; `val/elbo` and
    `test/elbo`, minus that loss; `test/log_likelihood`. Further `val/sample_distance` and
    `test/sample_distance` (see `sample_distance`), `kl_weight` and `lr`. What evaluations draw
    comes from seeds of their own, so that they can be repeated. A plain autoencoder has the
    generative loss alone, and logs nothing of the other.

    Args:
        network: Encoder and decoder.
        code_size: Z.
        pixel_likelihood: How pixels scatter about what the decoder says.
        latent_weight: The weight of the latent loss in training.
        num_importance_samples: k of `test/log_likelihood`, >= 0; 0: it is not estimated.
        pixels: Undoes the data's normalisation.

    Raises:
        ValueError: If k is below 0, or a plain autoencoder's latent loss has a weight.
    """

    # What this family cannot fulfil of the tests that all families share: test -> reason.
    conformance_exceptions: dict[str, str] = {}  # noqa: RUF012 (data of the class, never changed)

    def __init__(
        self,
        network: VAENetwork,
        code_size: int,
        pixel_likelihood: PixelLikelihood,
        latent_weight: LatentWeight,
        num_importance_samples: int,
        pixels: PixelRange,
    ):
        super().__init__()
        k, is_plain = num_importance_samples, not network.variational
        require(k >= 0, "num_importance_samples", "0 or above", k)
        idle, rule = is_plain and latent_weight != LatentWeight(), "left at 1 without a warm-up"
        rule += " where `variational` is false"
        require(not idle, "kl_weight", rule, latent_weight.kl_weight)
        self.network, self.code_size, self.variational = network, code_size, network.variational
        # Not `likelihood`: K-FAC takes what is called so for that of the network's output.
        self.pixel_likelihood, self.latent_weight = pixel_likelihood, latent_weight
        self.num_importance_samples = 0 if is_plain else k
        self.pixels = pixels
        self._training = EpochMeans(["loss", *self._loss_names])
        self._evaluation, self._bound = EpochMeans([]), EpochMeans([])
        self._pictures: tuple[Tensor, Tensor | None] | None = None  # targets, labels

    @property
    def _loss_names(self) -> list[str]:
        return ["generative_loss", "latent_loss"] if self.variational else ["generative_loss"]

    def picture_of(self, code: Tensor) -> Tensor:
        """What the decoder makes of codes (..., Z): pixels from 0 to 1, (..., *in_shape)."""
        return self.network.decode(code).sigmoid().view(*code.shape[:-1], *self.network.in_shape)

    def forward(self, x: Tensor) -> Tensor:
        """Say x again from the mean of its code, in pixels from 0 to 1, shaped like x."""
        return self.picture_of(self.network.encode(self.pixels(x))[0])

    def losses(self, target: Tensor, generator: torch.Generator | None = None) -> list[Tensor]:
        """Generative and latent loss of pixels (B, D), one code drawn for each: nats a picture.

        Args:
            target: What the network sees and is asked for.
            generator: Where the codes are drawn from; default: torch's own.

        Returns:
            Two scalars; the first alone of a plain autoencoder.
        """
        mean, log_variance = self.network.encode(target)
        if log_variance is None:
            return [self.pixel_likelihood.loss(self.network.decode(mean), target)]
        noise = torch.empty_like(mean).normal_(generator=generator)
        code, latent_loss = draw_with_kl(mean, log_variance, noise)
        said = self.network.decode(code)  # (B, D)
        return [self.pixel_likelihood.loss(said, target), latent_loss]

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The objective on one batch."""
        x, _ = parts(batch)
        if batch_idx == 0:
            self.pixels.check(x)
        losses = self.losses(self.pixel_likelihood.target(self.pixels(x)))
        loss = losses[0]
        if self.variational:
            loss = loss + self._kl_weight(batch_idx) * losses[1]
        self._training.add(len(x), loss, *losses)
        self.log_step({"train/loss_step": loss})
        return loss

    def _kl_weight(self, batch_idx: int) -> float:
        trainer = self.trainer
        epoch = trainer.current_epoch + batch_idx / trainer.num_training_batches
        return self.latent_weight.at(trainer.global_step, epoch)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean losses, the weight that was reached and the learning rate."""
        self._log_means("train", self._training)
        if self.variational:
            reached = self._kl_weight(int(self.trainer.num_training_batches))
            self.log("kl_weight", reached, sync_dist=True)
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"], sync_dist=True)

    def _start_evaluation(self) -> None:
        self._evaluation, self._bound = EpochMeans(self._loss_names), EpochMeans(["log_likelihood"])
        self._pictures = None

    def _evaluate(self, batch: Any, batch_idx: int) -> tuple[Tensor, torch.Generator]:
        """Count one batch; what was drawn of it, and the generator for what is drawn next."""
        x, labels = parts(batch)
        if batch_idx == 0:
            self.pixels.check(x)
        generator = torch.Generator(x.device)
        generator.manual_seed(derive_seed("evaluation", self.global_rank, batch_idx))
        target = self.pixel_likelihood.target(self.pixels(x), generator)
        self._evaluation.add(len(x), *self.losses(target, generator))
        if batch_idx == 0:
            self._pictures = target[:NUM_PICTURES], labels
        return target, generator

    def _finish_evaluation(self, stage: str) -> None:
        means = self._evaluation.means(self._sum_over_ranks)
        means["loss"] = torch.stack(list(means.values())).sum()
        if self.variational:
            means["elbo"] = -means["loss"]
        if len(self._bound):
            means |= self._bound.means(self._sum_over_ranks)
        if self._pictures is not None:
            means["sample_distance"] = self.sample_distance(self._pictures[0])
        self.log_dict({f"{stage}/{n}": value for n, value in means.items()}, sync_dist=True)

    def sample_distance(self, pictures: Tensor) -> Tensor:
        """How far the pictures of unit Gaussian codes are from the nearest real picture.

        Args:
            pictures: Pixels from 0 to 1, (N, D).

        Returns:
            The root mean square difference of a pixel, mean over 64 codes: a scalar.
        """
        said = self.picture_of(self.draw_codes(NUM_SAMPLES)).flatten(1)  # (64, D)
        nearest = torch.cdist(said, pictures).amin(1)
        return nearest.mean() / pictures.shape[1] ** 0.5

    def draw_codes(self, count: int, seed: int = 0) -> Tensor:
        """Codes from the unit Gaussian, (count, Z), the same ones for the same seed."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(count, self.code_size, generator=generator).to(self.device)

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self._start_evaluation()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Count one batch."""
        self._evaluate(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the losses of `val/`."""
        self._finish_evaluation("val")

    def on_test_epoch_start(self) -> None:
        """Start counting."""
        self._start_evaluation()

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Count one batch, and estimate how likely its pictures are."""
        target, generator = self._evaluate(batch, batch_idx)
        if self.num_importance_samples:
            self._bound.add(len(target), self.log_likelihood(target, generator).mean())

    def log_likelihood(self, target: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Estimate log p(x) in nats of each of some pictures, pixels (B, D), with k codes: (B,)."""
        mean, log_variance = self.network.encode(target)
        assert log_variance is not None  # a plain autoencoder is not asked
        return importance_weighted_bound(
            mean,
            log_variance,
            lambda code: self.pixel_likelihood.log_likelihood(self.network.decode(code), target),
            self.num_importance_samples,
            chunk_size=max(1, CHUNK_NUMBERS // target.numel()),
            generator=generator,
        )

    def on_test_epoch_end(self) -> None:
        """Log the losses of `test/`, and `test/log_likelihood`."""
        self._finish_evaluation("test")

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        """Mean codes (B, Z) of a batch, and what is said of them, shaped like its inputs."""
        x, _ = parts(batch)
        code, _ = self.network.encode(self.pixels(x))
        return {"code": code, "reconstruction": self.picture_of(code)}

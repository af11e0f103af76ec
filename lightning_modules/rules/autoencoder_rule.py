"""The training rule of autoencoders: say the input again, from a code that may be kept sparse.

Deck, slide "Unsupervised Encode Input Vector": the output layer is as wide as the input layer. The
input may be spoiled first (Vincent et al. 2008, denoising): what is asked for stays the whole one.
B batch, D pixels, Z code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

import pytorch_lightning as pl
import torch
from torch import Tensor

from ..blocks.corruption import Corruption, corrupt
from ..blocks.losses import bernoulli_nll, reconstruction_error
from ..blocks.regularizers import activation_kl, activation_l1
from ..data.order import derive_seed
from ..data.tensors import TensorDataModule
from ..pixel_range import PixelRange
from ..steps.batches import parts
from ..steps.epoch_means import EpochMeans, KeepsEpochMeans
from ..steps.exact_resume import ExactResume
from ..steps.lean_step import LeanStep
from .code_measures import PROBE_SIZE, linear_probe_accuracy, pca_squared_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Reconstruction = Literal["bernoulli", "squared"]
Sparsity = Literal["none", "l1", "kl"]
CHUNK_SIZE = 5000  # pictures of a whole split that are looked at together
NUM_EXAMPLES = 2000  # of the latest evaluation, for pictures


class CodingNetwork(Protocol):
    """What the rule asks of a network, an `nn.Module` with two halves."""

    def encoder(self, pixels: Tensor, /) -> Tensor:
        """Codes (B, Z) of pixels (B, D)."""
        ...

    def __call__(self, pixels: Tensor, /) -> tuple[Tensor, Tensor]:
        """What is said of pixels (B, D), (B, D) without a non-linearity, and their codes."""
        ...


class AutoencoderRule(LeanStep, KeepsEpochMeans, ExactResume, pl.LightningModule):
    """Learns to say its input again.

    Batches are (x, labels) or x; only pictures and the probe look at labels. Data modules hand out
    normalised numbers; the network sees, and is asked for, pixels from 0 to 1: x std + mean.
    Logs `train/loss`, `val/loss` and `test/loss`: the reconstruction loss, summed over a picture
    and averaged over the pictures (`train/loss` of the spoiled input and with the sparsity
    penalty), and `train/loss_step` of one batch; `val/squared_error` and `test/squared_error`,
    summed and averaged in the same way; `lr`. With a corruption also `val/denoising_loss` and
    `test/denoising_loss`, the loss of input that is spoiled in the same way at each evaluation.
    Tested on a data module of ours also `test/pca_squared_error`, the squared error of PCA with as
    many numbers, fitted to the training split, and `test/probe_accuracy`, what logistic regression
    makes of the codes of 5,000 training pictures.

    Args:
        network: A `CodingNetwork`.
        pixel_range: Undoes the data's normalisation.
        code_size: Z.
        loss: `bernoulli`, the cross entropy in nats of pixels as probabilities, or `squared`.
        sparsity: Penalty on the code's activations, `l1`, `kl` or `none`.
        sparsity_weight: How much of the penalty is added.
        sparsity_rate: The share of `kl`.
        corruption: How the input is spoiled in training.
        corruption_level: How much.
    """

    # What this family cannot fulfil of the tests that all families share: test -> reason.
    conformance_exceptions: dict[str, str] = {}  # noqa: RUF012 (data of the class, never changed)

    def __init__(
        self,
        network: CodingNetwork,
        pixel_range: PixelRange,
        code_size: int,
        loss: Reconstruction,
        sparsity: Sparsity,
        sparsity_weight: float,
        sparsity_rate: float,
        corruption: Corruption,
        corruption_level: float,
    ):
        super().__init__()
        self.network, self.pixels, self.code_size, self.loss = network, pixel_range, code_size, loss
        self.sparsity: Sparsity = sparsity
        if sparsity == "kl":
            self.conformance_exceptions = {
                "two_processes_step_as_one_does_on_the_joined_batch": (
                    "the KL penalty looks at the mean of a batch, and each process has a batch"
                )
            }
        self.sparsity_weight, self.sparsity_rate = sparsity_weight, sparsity_rate
        self.corruption: Corruption = corruption
        self.corruption_level = corruption_level
        self._training, self._evaluation = EpochMeans(["loss"]), EpochMeans([])
        self._examples: tuple[Tensor, Tensor | None] | None = None  # of the latest evaluation

    @property
    def likelihood(self) -> str:
        """The distribution of a pixel that the loss stands for; K-FAC draws from it."""
        return "bernoulli" if self.loss == "bernoulli" else "gaussian"

    def forward(self, x: Tensor) -> Tensor:
        """Say x again, in pixels from 0 to 1 and in its own shape, (B, ...)."""
        return self.as_pixels(self.network(self.pixels(x))[0]).view(x.shape)

    def as_pixels(self, said: Tensor) -> Tensor:
        """What the decoder says (B, D) as pixels, (B, D); `squared` may leave 0 to 1."""
        return said.sigmoid() if self.loss == "bernoulli" else said

    def spoil(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Pixels (B, D) as the network is shown them in training."""
        return corrupt(pixels, self.corruption, self.corruption_level, generator)

    def reconstruction_loss(self, said: Tensor, pixels: Tensor) -> Tensor:
        """Loss of what the decoder says (B, D) about pixels (B, D): a scalar, mean per picture."""
        return (bernoulli_nll if self.loss == "bernoulli" else reconstruction_error)(said, pixels)

    def penalty(self, code: Tensor) -> Tensor:
        """The penalty on the activations of a code (B, Z), a scalar."""
        if self.sparsity == "l1":
            return activation_l1(code)
        return activation_kl(code, self.sparsity_rate)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The objective on one batch."""
        x, _ = parts(batch)
        if batch_idx == 0:
            self.pixels.check(x)
        pixels = self.pixels(x)
        said, code = self.network(self.spoil(pixels))
        loss = self.reconstruction_loss(said, pixels)
        if self.sparsity_weight:
            loss = loss + self.sparsity_weight * self.penalty(code)
        self._training.add(len(pixels), loss)
        self.log_step({"train/loss_step": loss})
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean objective and the learning rate."""
        self._log_means("train", self._training)
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"], sync_dist=True)

    def _start_evaluation(self) -> None:
        noisy = [] if self.corruption == "none" else ["denoising_loss"]
        self._evaluation = EpochMeans(["loss", "squared_error", *noisy])
        self._examples = None

    def _evaluate(self, batch: Any, batch_idx: int) -> None:
        x, labels = parts(batch)
        pixels = self.pixels(x)
        said, _ = self.network(pixels)
        error = reconstruction_error(self.as_pixels(said), pixels)
        losses = [self.reconstruction_loss(said, pixels), error]
        if self.corruption != "none":
            generator = torch.Generator(x.device)
            generator.manual_seed(derive_seed("evaluation", self.global_rank, batch_idx))
            spoiled, _ = self.network(self.spoil(pixels, generator))
            losses.append(self.reconstruction_loss(spoiled, pixels))
        self._evaluation.add(len(pixels), *losses)
        if self._examples is None:
            self._examples = x[:NUM_EXAMPLES], None if labels is None else labels[:NUM_EXAMPLES]

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self._start_evaluation()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Count one batch."""
        self._evaluate(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the losses of `val/`."""
        self._log_means("val", self._evaluation)

    def on_test_epoch_start(self) -> None:
        """Start counting."""
        self._start_evaluation()

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Count one batch."""
        self._evaluate(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log the losses of `test/`, and what the code is worth."""
        self._log_means("test", self._evaluation)
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, TensorDataModule):
            self.log_dict(self.code_measures(data), sync_dist=True)

    @torch.no_grad()
    def code_measures(self, data: TensorDataModule) -> dict[str, float]:
        """`test/pca_squared_error` and `test/probe_accuracy`; every rank works out all of both."""
        train, test = data.splits.train, data.splits.test
        chunks = (self._pixels_of(data, part) for part in train.inputs.split(CHUNK_SIZE))
        asked = self._pixels_of(data, test.inputs)
        error = pca_squared_error(chunks, asked, self.code_size)
        known = self._pixels_of(data, train.inputs[:PROBE_SIZE])
        learned, tested = (
            torch.cat([self.network.encoder(part) for part in pixels.split(CHUNK_SIZE)])
            for pixels in (known, asked)
        )  # (5000, Z), (N, Z)
        labels = train.targets[:PROBE_SIZE], test.targets
        accuracy = linear_probe_accuracy(learned, labels[0], tested, labels[1])
        return {"test/pca_squared_error": error, "test/probe_accuracy": accuracy}

    def _pixels_of(self, data: TensorDataModule, stored: Tensor) -> Tensor:
        """Pixels (N, D) of inputs as the data keeps them: bytes, or floats that are ready."""
        ready = data.inputs_of(stored) if stored.dtype == torch.uint8 else stored
        return self.pixels(ready.to(self.device))

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        """Codes (B, Z) of a batch and what is said of them, shaped like its inputs."""
        x, _ = parts(batch)
        return {"code": self.network.encoder(self.pixels(x)), "reconstruction": self(x)}

    def snapshots(self) -> dict[str, Figure]:
        """What is said of some pictures so far."""
        from ..pictures.autoencoders import reconstructions_of

        return reconstructions_of(self, self._examples)

    def figures(self) -> dict[str, Figure]:
        """Pictures: `reconstructions`, `first_layer`, `plain_decoder_samples`, `code`."""
        from ..pictures.autoencoders import figures  # matplotlib takes a while to import

        return figures(self, self._examples)

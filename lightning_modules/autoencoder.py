"""The autoencoder: a network that must say its input again after a narrow layer, the code.

Deck, slide "Auto Encoder" and recap "Zooming In" (sparse). The recipe is the deep autoencoder of
Hinton and Salakhutdinov 2006, "Reducing the Dimensionality of Data with Neural Networks":
784-1000-500-250-30 and its mirror, logistic units, a linear code; trained from scratch as in
Martens 2010, "Deep Learning via Hessian-free Optimization", without their layer-wise pretraining.
Optimizers are compared on it since (Martens and Grosse 2015, section 13).
B batch, D features, Z code.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from .blocks.activations import Activation
from .blocks.checks import require, require_one_of
from .blocks.initializers import WeightInit
from .blocks.layers import LayerStyle
from .blocks.losses import bernoulli_nll, reconstruction_error
from .blocks.regularizers import activation_kl, activation_l1
from .exact_resume import ExactResume
from .lean_step import LeanStep
from .shapes import resolve_input

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Reconstruction = Literal["bernoulli", "squared"]
Sparsity = Literal["none", "l1", "kl"]


class AutoencoderNetwork(nn.Module):
    """An encoder of fully connected layers, and a decoder with the same widths in reverse order.

    Args:
        in_features: D.
        hidden_sizes: Units of the encoder's hidden layers.
        code_size: Z; below D the code must leave something out.
        style: What the hidden layers have in common.
        code_activation: Non-linearity of the code.

    Raises:
        ValueError: If a layer has no unit.
    """

    def __init__(
        self,
        in_features: int,
        hidden_sizes: Sequence[int],
        code_size: int,
        style: LayerStyle,
        code_activation: Activation = "linear",
    ):
        super().__init__()
        sizes, rule = list(hidden_sizes), "whole numbers of at least 1"
        require(all(size >= 1 for size in sizes), "hidden_sizes", rule, sizes)
        require(code_size >= 1, "code_size", "at least 1", code_size)
        code = LayerStyle(code_activation, 2, False, style.weight_init, style.weight_init_std)
        self.encoder = nn.Sequential(
            *_stack(style, [in_features, *sizes]),
            *code.linear([in_features, *sizes][-1], code_size),
        )
        widths = [code_size, *reversed(sizes)]
        self.decoder = nn.Sequential(*_stack(style, widths), style.scores(widths[-1], in_features))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map x (B, D) to what the decoder says (B, D), without a non-linearity, and the code."""
        code = self.encoder(x)  # (B, Z)
        return self.decoder(code), code


def _stack(style: LayerStyle, widths: Sequence[int]) -> list[nn.Module]:
    """Hidden layers from each width to the next."""
    return [layer for pair in itertools.pairwise(widths) for layer in style.linear(*pair)]


class Autoencoder(LeanStep, ExactResume, pl.LightningModule):
    """Learns to say its input again.

    Batches are (x, labels) or x; labels are not looked at. Data modules hand out normalised
    numbers; the network sees, and is asked for, pixels from 0 to 1: x pixel_std + pixel_mean.
    Logs `train/loss`, `val/loss` and `test/loss`: the reconstruction loss, summed over a picture
    and averaged over the pictures (`train/loss` with the sparsity penalty), and `lr`.

    Args:
        in_features: D; default: that of the data.
        in_shape: Shape of one example; default: that of the data.
        pixel_mean: What the data subtracted from the pixels, one number or one a channel; default:
            that of the data, or 0.
        pixel_std: What it divided them by, > 0; default: that of the data, or 1.
        hidden_sizes: Units of the encoder's hidden layers; default: 1000, 500, 250.
        code_size: Z, the numbers that a picture is told by.
        activation: Non-linearity of the hidden layers.
        code_activation: Non-linearity of the code.
        loss: `bernoulli`, the cross entropy in nats of pixels as probabilities, or `squared`.
        sparsity: Penalty on the code's activations: `l1`, `kl` (its units are then on for a share
            of the pictures; wants a logistic code), or `none`.
        sparsity_weight: How much of the penalty is added, >= 0.
        sparsity_rate: The share of `kl`, in (0, 1).
        weight_init: How weights start; `sparse` suits deep logistic networks.
        weight_init_std: Standard deviation of `normal`.

    Raises:
        ValueError: If an argument is outside its range, or set where it has no effect.
    """

    # What this family cannot fulfil of the tests that all families share: test -> reason.
    conformance_exceptions: dict[str, str] = {}  # noqa: RUF012 (data of the class, never changed)
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        in_features: int | None = None,
        in_shape: list[int] | None = None,
        pixel_mean: float | list[float] | None = None,
        pixel_std: float | list[float] | None = None,
        hidden_sizes: list[int] | None = None,
        code_size: int = 30,
        activation: Activation = "sigmoid",
        code_activation: Activation = "linear",
        loss: Reconstruction = "bernoulli",
        sparsity: Sparsity = "none",
        sparsity_weight: float = 0.0,
        sparsity_rate: float = 0.05,
        weight_init: WeightInit = "sparse",
        weight_init_std: float = 0.01,
    ):
        super().__init__()
        features, shape = resolve_input(in_features, in_shape)
        require_one_of("loss", loss, ("bernoulli", "squared"))
        check_sparsity(sparsity, sparsity_weight, sparsity_rate, code_activation)
        style = LayerStyle(activation, 2, False, weight_init, weight_init_std)
        sizes = [1000, 500, 250] if hidden_sizes is None else hidden_sizes
        self.network = AutoencoderNetwork(features, sizes, code_size, style, code_activation)
        self.save_hyperparameters()
        self.register_buffer("pixel_mean", _per_channel(pixel_mean, 0.0, shape), persistent=False)
        self.register_buffer("pixel_std", _per_channel(pixel_std, 1.0, shape), persistent=False)
        require(bool((self.pixel_std > 0).all()), "pixel_std", "above 0", pixel_std)
        self.example_input_array = torch.zeros(2, *shape)
        self.loss, self.sparsity = loss, sparsity
        self.sparsity_weight, self.sparsity_rate = sparsity_weight, sparsity_rate
        self._examples: Tensor | None = None  # of the latest evaluation's first batch

    @property
    def likelihood(self) -> str:
        """The distribution of a pixel that the loss stands for; K-FAC draws from it."""
        return "bernoulli" if self.loss == "bernoulli" else "gaussian"

    def pixels(self, x: Tensor) -> Tensor:
        """Undo the data's normalisation: (B, ...) to (B, D), from 0 to 1."""
        return (x * self.pixel_std + self.pixel_mean).clamp(0, 1).flatten(1)

    def _require_pixels(self, x: Tensor) -> None:
        """Raise ValueError where undoing the wrong normalisation leaves more than rounding."""
        low, high = (x * self.pixel_std + self.pixel_mean).aminmax()
        if not (low > -0.01 and high < 1.01):
            raise ValueError(
                "`pixel_mean` and `pixel_std` must be those of the data, so that pixels are from 0 "
                f"to 1, but they are from {low.item():.3g} to {high.item():.3g}."
            )

    def forward(self, x: Tensor) -> Tensor:
        """Say x again, in pixels from 0 to 1 and in its own shape, (B, ...)."""
        said, _ = self.network(self.pixels(x))
        return (said.sigmoid() if self.loss == "bernoulli" else said).view(x.shape)

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
        x = _inputs(batch)
        if batch_idx == 0:
            self._require_pixels(x)
        pixels = self.pixels(x)
        said, code = self.network(pixels)
        loss = self.reconstruction_loss(said, pixels)
        if self.sparsity_weight:
            loss = loss + self.sparsity_weight * self.penalty(code)
        self._log_mean("train/loss", loss, len(pixels))
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the learning rate."""
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"], sync_dist=True)

    def _evaluate(self, stage: str, batch: Any, batch_idx: int) -> None:
        x = _inputs(batch)
        pixels = self.pixels(x)
        loss = self.reconstruction_loss(self.network(pixels)[0], pixels)
        self._log_mean(f"{stage}/loss", loss, len(pixels))
        if batch_idx == 0:
            self._examples = x[:8]

    def _log_mean(self, name: str, loss: Tensor, size: int) -> None:
        self.log(name, loss, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Count one batch towards `val/loss`."""
        self._evaluate("val", batch, batch_idx)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Count one batch towards `test/loss`."""
        self._evaluate("test", batch, batch_idx)

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        """Codes (B, Z) of a batch and what is said of them, shaped like its inputs."""
        x = _inputs(batch)
        return {"code": self.network.encoder(self.pixels(x)), "reconstruction": self(x)}

    def figures(self) -> dict[str, Figure]:
        """Some pictures of the latest evaluation, each above what the network made of it."""
        from .reconstruction_picture import reconstructions  # matplotlib takes a while to import

        if self._examples is None:
            return {}
        x = self._examples
        with torch.no_grad():
            pixels, said = self.pixels(x).view(x.shape), self(x).clamp(0, 1)
        return {"reconstructions": reconstructions(pixels.cpu().numpy(), said.cpu().numpy())}


def _inputs(batch: Any) -> Tensor:
    return batch[0] if isinstance(batch, (tuple, list)) else batch


def _per_channel(
    value: float | Sequence[float] | None, default: float, shape: Sequence[int]
) -> Tensor:
    """The value, or one a channel, as a tensor that goes with examples of a shape."""
    numbers = torch.tensor(default if value is None else value, dtype=torch.float32)
    return numbers if numbers.ndim == 0 else numbers.view(-1, *[1] * (len(shape) - 1))


def check_sparsity(kind: str, weight: float, rate: float, code_activation: str) -> None:
    """Raise ValueError unless the penalty's numbers are in range and go with it."""
    require_one_of("sparsity", kind, ("none", "l1", "kl"))
    require(0 <= weight < float("inf"), "sparsity_weight", "0 or above", weight)
    idle, remedy = kind == "none" and weight > 0, "set `sparsity` to l1 or kl"
    require(not idle, "sparsity_weight", "0 without a sparsity penalty", weight, remedy)
    require(0 < rate < 1, "sparsity_rate", "in (0, 1)", rate)
    logistic = kind != "kl" or code_activation == "sigmoid"
    require(logistic, "code_activation", "sigmoid where `sparsity` is kl", code_activation)

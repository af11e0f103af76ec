"""The training rule of encoder and decoder: teacher forcing, and how good what is said then is.

The decoder is shown the true units before each one that it is asked for (Williams and Zipser 1989);
once trained it is shown its own. Label smoothing: Szegedy et al. 2016, "Rethinking the Inception
Architecture", section 7.
B batch, S units of a source, T of a target, V vocabulary.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from ..blocks.checks import require
from ..data.sequences.subwords import PAD
from ..networks.seq2seq_network import EncoderDecoder
from ..steps.batches import shared_mean
from ..steps.epoch_means import EpochMeans, KeepsEpochMeans
from ..steps.exact_resume import ExactResume
from ..steps.lean_step import LeanStep
from .seq2seq_search import check_search
from .translated_texts import KeptUnits, TranslatedTexts, require_sacrebleu


class Seq2SeqRule(LeanStep, KeepsEpochMeans, ExactResume, pl.LightningModule):
    """Learns to say a target sequence after it has read a source sequence.

    Batches are (source (B, S), target (B, T), number in the split (B,)), int64, padded on the
    right; the number may be absent. The units' texts come from the data module and are kept
    beside the weights, so that a trained model translates without its data.
    Logs `train/loss` (nats a unit of the target, with smoothing), `val/loss` and `test/loss`
    (without), `lr`; where the data has texts `val/bleu` (greedy search, the first
    `num_val_translations` sentences), `test/bleu` (beam search, all) and of the same sentences
    `val/exact` and `test/exact`, the share that is right to the letter.

    Args:
        network: Encoder and decoder.
        label_smoothing: Share of the target spread over all units, in [0, 1).
        beam_size: Sequences that a search keeps, in tests and predictions.
        length_penalty: Alpha of the beam search.
        bleu: Whether BLEU is measured; it needs the package sacrebleu.
        num_val_translations: Sentences that each validation translates, over all processes.

    Raises:
        ValueError: If an argument is outside its range.
    """

    # What this family cannot fulfil of the tests that all families share: test -> reason.
    conformance_exceptions: dict[str, str] = {}  # noqa: RUF012 (data of the class, never changed)
    vocabulary: Tensor

    def __init__(
        self,
        network: EncoderDecoder,
        label_smoothing: float,
        beam_size: int,
        length_penalty: float,
        bleu: bool,
        num_val_translations: int,
    ):
        super().__init__()
        require(0 <= label_smoothing < 1, "label_smoothing", "in [0, 1)", label_smoothing)
        count = num_val_translations
        require(count >= 0, "num_val_translations", "0 or more", count)
        check_search(beam_size, length_penalty)
        self.network, self.label_smoothing = network, label_smoothing
        self.beam_size, self.length_penalty = beam_size, length_penalty
        self.bleu, self.num_val_translations = bleu, count
        self.register_buffer("vocabulary", torch.zeros(0, dtype=torch.uint8))  # JSON
        self.kept_units = KeptUnits()
        self._training = self._evaluation = EpochMeans(["nats", "units"])
        self._texts = TranslatedTexts()
        self._first: Tensor | None = None  # source of the latest evaluation's first pair

    @abstractmethod
    def translate(self, source: Tensor, beam_size: int | None = None) -> Tensor:
        """Translations (B, longest) of sources (B, S), int64, padded after the end."""

    def setup(self, stage: str) -> None:
        """Take over the units of the data.

        Raises:
            ValueError: They are others than those that the model was trained with, or BLEU is
                wanted without sacrebleu.
        """
        if self.bleu:
            require_sacrebleu()
        data: Any = getattr(self.trainer, "datamodule", None)
        if hasattr(data, "vocabulary"):
            self.vocabulary = self.kept_units.taken_over(self.vocabulary, data.vocabulary())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make room for the checkpoint's units."""
        super().on_load_checkpoint(checkpoint)
        stored = checkpoint["state_dict"].get("vocabulary")
        if stored is not None:
            self.vocabulary = torch.empty_like(stored, device=self.vocabulary.device)

    def nats(self, batch: Any, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """The sum of -log p over the units of a batch's targets, and how many units, scalars."""
        source, target = batch[0], batch[1]
        scores, _ = self.network(source, target[:, :-1])  # (B, T - 1, V)
        wanted = target[:, 1:].flatten()  # (B (T - 1),)
        nats = F.cross_entropy(
            scores.flatten(0, 1),
            wanted,
            ignore_index=PAD,
            reduction="sum",
            label_smoothing=label_smoothing,
        )
        return nats, (wanted != PAD).sum()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The mean loss of a unit of the target."""
        nats, count = self.nats(batch, self.label_smoothing)
        self._training.add(1, nats, count.to(nats.dtype))
        self.log_step({"train/loss_step": nats / count})
        return shared_mean(nats, count)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's loss and the learning rate."""
        self._log_loss("train", self._training)
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"], sync_dist=True)

    def _log_loss(self, stage: str, means: EpochMeans) -> None:
        of = means.means(self._sum_over_ranks)
        self.log(f"{stage}/loss", of["nats"] / of["units"], sync_dist=True)

    def _start_evaluation(self) -> None:
        self._evaluation, self._texts = EpochMeans(["nats", "units"]), TranslatedTexts()
        self._first = None

    def _evaluate(self, split: str, batch: Any, beam_size: int, most: int | None) -> None:
        nats, count = self.nats(batch)
        self._evaluation.add(1, nats, count.to(nats.dtype))
        if self._first is None:
            self._first = batch[0][0]
        data: Any = getattr(self.trainer, "datamodule", None)
        room = len(batch[0]) if most is None else max(0, most - len(self._texts))
        if not hasattr(data, "reference") or len(batch) < 3 or not room:
            return
        said = self.texts(self.translate(batch[0][:room], beam_size))
        pairs = [data.reference(split, number) for number in batch[2][:room].tolist()]
        self._texts.add([(*pair, text) for pair, text in zip(pairs, said, strict=True)])

    def _finish_evaluation(self, stage: str) -> None:
        self._log_loss(stage, self._evaluation)
        for name, score in self._texts.scores(self.bleu).items():
            self.log(f"{stage}/{name}", score, sync_dist=True)

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self._start_evaluation()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Count one batch."""
        share = -(-self.num_val_translations // self.trainer.world_size)
        self._evaluate("val", batch, 1, share)

    def on_validation_epoch_end(self) -> None:
        """Log `val/loss`, `val/bleu` and `val/exact`."""
        self._finish_evaluation("val")

    def on_test_epoch_start(self) -> None:
        """Start counting."""
        self._start_evaluation()

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Count one batch."""
        self._evaluate("test", batch, self.beam_size, None)

    def on_test_epoch_end(self) -> None:
        """Log `test/loss`, `test/bleu` and `test/exact`."""
        self._finish_evaluation("test")

    def texts(self, units: Tensor) -> list[str]:
        """Targets (B, T) as texts."""
        target = self.kept_units.of(self.vocabulary)[1]
        return [target.decode(row) for row in units.tolist()]

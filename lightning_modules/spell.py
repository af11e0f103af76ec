"""One to many: a picture is spelled, letter by letter.

Deck, slides "Recurrent Neural Network" (one input, many outputs) and "RNN: Character-level" (what
was said is fed back). As in Vinyals et al. 2015, "Show and Tell: A Neural Image Caption Generator",
section 3: convolutions make a code of the picture, the code starts a recurrent network, and that
says one symbol at a time until it says END. Theirs shows the code as the first input; ours makes it
the first state (Karpathy and Li 2015 add it to the first step). In training each step is told the
true letter before it; in evaluation it is told what it said itself. Network: `SpellingNetwork`.
B batch, C channels, H x W picture, T letters of the longest word and END, V letters and END, K
words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from .blocks.checks import require
from .blocks.initializers import WeightInit
from .blocks.recurrent import Cell
from .shapes import resolve_picture
from .spelling_network import END, SpellingNetwork, counted, letter_table
from .steps.batches import shared_mean
from .steps.epoch_means import EpochMeans, KeepsEpochMeans
from .steps.exact_resume import ExactResume
from .steps.lean_step import LeanStep

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_SHOWN = 36  # pictures kept with the weights
TRAINED = ("nats", "letters")  # of a picture
EVALUATED = ("nats", "letters", "right")


class Speller(LeanStep, KeepsEpochMeans, ExactResume, pl.LightningModule):
    """Learns to spell the name of what a picture shows.

    Batches are (x, labels): pictures (B, C, H, W) and classes int64 (B,).
    Logs `train/loss`, `val/loss` and `test/loss` (nats per letter, END counted, given the true
    letters before), `val/accuracy` and `test/accuracy` (the share of pictures whose whole word is
    right when nothing is given), and `lr`.

    Args:
        in_shape: (C, H, W) of a picture; default: that of the data.
        class_names: K names, used where `words` is not given; default: those of the data.
        words: What is spelled for each class; default: `class_names`.
        channels: Channels of the encoder's stages; default: 16 and 32.
        hidden_size: Units of the decoder's state.
        embedding_size: Numbers of a letter's embedding.
        cell: `rnn`, `gru` or `lstm`.
        dropout: Share of the decoder's outputs silenced while training, in [0, 1).
        weight_init: How the encoder's weights start.

    Raises:
        ValueError: If an argument is outside its range.
    """

    # What this family cannot fulfil of the tests that all families share: test -> reason.
    conformance_exceptions: dict[str, str] = {}  # noqa: RUF012 (data of the class, never changed)
    table: Tensor
    shown: Tensor
    num_shown: Tensor

    def __init__(
        self,
        in_shape: list[int] | None = None,
        class_names: list[str] | None = None,
        words: list[str] | None = None,
        channels: list[int] | None = None,
        hidden_size: int = 64,
        embedding_size: int = 16,
        cell: Cell = "gru",
        dropout: float = 0.0,
        weight_init: WeightInit = "kaiming",
    ):
        super().__init__()
        shape = resolve_picture(in_shape)
        spelled = list(words if words is not None else class_names or ())
        check_words(spelled, class_names)
        require(embedding_size >= 1, "embedding_size", "at least 1", embedding_size)
        require(0 <= dropout < 1, "dropout", "in [0, 1)", dropout)
        self.save_hyperparameters()
        self.words, self.letters = spelled, sorted(set("".join(spelled)))
        self.register_buffer("table", letter_table(spelled, self.letters), persistent=False)
        self.network = SpellingNetwork(
            shape,
            1 + len(self.letters),
            self.table.shape[1],
            channels or [16, 32],
            hidden_size,
            embedding_size,
            cell,
            dropout,
            weight_init,
        )
        # Pictures of the latest validation go with the weights, so that `sample` has some to spell.
        self.register_buffer("shown", torch.zeros(NUM_SHOWN, *shape))
        self.register_buffer("num_shown", torch.zeros((), dtype=torch.long))
        self.example_input_array = torch.zeros(2, *shape)
        self._training, self._evaluation = EpochMeans(TRAINED), EpochMeans(EVALUATED)
        self._examples: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, T, V) of what the network spells when nothing is given."""
        return self.network.spell(x)

    def nats(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Negative log likelihood of a batch's words, summed, and their letters with END."""
        letters = self.table[labels]  # (B, T)
        scores = self.network(x, letters)  # (B, T, V)
        counts = counted(letters)  # (B, T)
        loss = F.cross_entropy(scores.flatten(0, 1), letters.flatten(), reduction="none")  # (B T,)
        return loss @ counts.flatten().to(loss.dtype), counts.sum()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Nats per letter of one batch."""
        x, labels = batch
        nats, letters = self.nats(x, labels)
        self._training.add(len(x), nats / len(x), letters / len(x))
        return shared_mean(nats, letters)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's nats per letter and the learning rate."""
        means = self._training.means(self._sum_over_ranks)
        self.log("train/loss", means["nats"] / means["letters"], sync_dist=True)
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"], sync_dist=True)

    def _evaluate(self, batch: Any, batch_idx: int) -> None:
        x, labels = batch
        nats, letters = self.nats(x, labels)
        right = self.is_right(self.network.spell(x).argmax(2), labels).float()
        size = len(x)
        self._evaluation.add(size, nats / size, letters / size, right.mean())
        if batch_idx == 0:
            self._examples = (x[:NUM_SHOWN], labels[:NUM_SHOWN])

    def _finish_evaluation(self, stage: str) -> None:
        means = self._evaluation.means(self._sum_over_ranks)
        self.log(f"{stage}/loss", means["nats"] / means["letters"], sync_dist=True)
        self.log(f"{stage}/accuracy", means["right"], sync_dist=True)

    def is_right(self, said: Tensor, labels: Tensor) -> Tensor:
        """Whether each word is spelled as it should be up to its END: (B, T), (B,) to bool (B,)."""
        letters = self.table[labels]  # (B, T)
        return ((said == letters) | ~counted(letters)).all(1)

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self._evaluation = EpochMeans(EVALUATED)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Count one batch; keep some pictures of the first."""
        self._evaluate(batch, batch_idx)
        if batch_idx == 0:
            kept = batch[0][:NUM_SHOWN]
            self.shown[: len(kept)] = kept
            self.num_shown.fill_(len(kept))

    def on_validation_epoch_end(self) -> None:
        """Log `val/loss` and `val/accuracy`."""
        self._finish_evaluation("val")

    def on_test_epoch_start(self) -> None:
        """Start counting."""
        self._evaluation = EpochMeans(EVALUATED)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Count one batch."""
        self._evaluate(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Log `test/loss` and `test/accuracy`."""
        self._finish_evaluation("test")

    def spelled(self, x: Tensor) -> list[str]:
        """What the network spells of pictures (B, C, H, W), up to its first END."""
        was_training = self.network.training
        with torch.no_grad():  # without dropout: it would draw numbers that training misses
            rows = self.network.eval().spell(x).argmax(2).tolist()
        self.network.train(was_training)
        symbols = ["", *self.letters]
        ends = (row.index(END) if END in row else len(row) for row in rows)
        return ["".join(symbols[n] for n in row[:end]) for row, end in zip(rows, ends, strict=True)]

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Any]:
        """The words that are spelled (B strings) and the scores (B, T, V) of their letters."""
        x = batch[0] if isinstance(batch, (tuple, list)) else batch
        return {"word": self.spelled(x), "scores": self.network.spell(x)}

    def sample(self, *, seed: int = 0, count: int = 16) -> dict[str, Figure]:
        """Pictures of the latest validation, each with what the network spells of it.

        Args:
            seed: Which pictures are drawn is a function of this.
            count: How many, at least 1.

        Returns:
            `spelled`.

        Raises:
            ValueError: If no validation has kept so many pictures.
        """
        from .pictures.spelling import spelled_pictures  # matplotlib takes a while to import

        most = int(self.num_shown)
        remedy = "pictures are kept by the validation that `paceline fit` makes"
        require(1 <= count <= most, "count", f"at least 1 and at most {most}", count, remedy)
        order = torch.randperm(most, generator=torch.Generator().manual_seed(seed))[:count]
        x = self.shown[order.to(self.shown.device)]
        return {"spelled": spelled_pictures(x.cpu().numpy(), self.spelled(x))}

    def snapshots(self) -> dict[str, str]:
        """`spelled`: the words of some pictures of the latest evaluation, and what was said."""
        if self._examples is None:
            return {}
        x, labels = (part[:16].to(self.device) for part in self._examples)
        true = [self.words[label] for label in labels.tolist()]
        pairs = zip(true, self.spelled(x), strict=True)
        return {"spelled": "\n".join(f"{word}: {said}" for word, said in pairs)}

    def figures(self) -> dict[str, Figure]:
        """`spelled`: pictures of the latest evaluation with what was said; wrong words are red."""
        from .pictures.spelling import spelled_pictures

        if self._examples is None:
            return {}
        x, labels = (part.to(self.device) for part in self._examples)
        true = [self.words[label] for label in labels.tolist()]
        return {"spelled": spelled_pictures(x.cpu().numpy(), self.spelled(x), true)}


def check_words(words: Sequence[str], class_names: Sequence[str] | None) -> None:
    """Raise ValueError unless there are words, one for each class, that can be told apart."""
    remedy = "give `words`, or run the model with a data module that names its classes"
    many = len(words) >= 2 and all(words) and len(set(words)) == len(words)
    require(many, "words", "two or more different words", list(words), remedy)
    fits = class_names is None or len(words) == len(class_names)
    require(fits, "words", "one for each class of the data", list(words))

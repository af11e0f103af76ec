"""Sequence tagging: a class for every step, many inputs to as many outputs.

Deck, slides "Recurrent Neural Network" ("predict a vector at some time steps") and "More RNN
Structures": in a bidirectional network the output at a step depends on what comes before and on
what comes after (Schuster and Paliwal 1997, "Bidirectional Recurrent Neural Networks"; deep ones
for tagging: Graves, Mohamed and Hinton 2013). Every step has a tag: nothing is padded.
B batch, T time, V tokens, E numbers of an embedding, H units of a direction, K classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .blocks.checks import require
from .blocks.initializers import WeightInit
from .blocks.layers import LayerStyle
from .blocks.recurrent import Cell, RecurrentLayers
from .classifier import Batch, Classifier
from .data.sequences.tokens import decode, encode
from .shapes import require_num_classes
from .steps.tally import Tally

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class TaggingNetwork(nn.Module):
    """Embeddings, recurrent layers, dropout, and the same linear map at every step.

    Args:
        vocab_size: V.
        num_classes: K.
        embedding_size: E.
        hidden_size: H.
        cell: `rnn`, `gru` or `lstm`.
        num_layers: Layers above each other.
        bidirectional: Whether each layer also reads from the end to the beginning.
        dropout: Share of outputs silenced between layers and before the linear map, in [0, 1).
        weight_init: How recurrent weights start.
    """

    def __init__(
        self,
        vocab_size: int,
        num_classes: int,
        embedding_size: int = 32,
        hidden_size: int = 64,
        cell: Cell = "lstm",
        num_layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
        weight_init: WeightInit = "orthogonal",
    ):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_size)
        between = dropout if num_layers > 1 else 0.0
        self.layers = RecurrentLayers(
            embedding_size, hidden_size, cell, num_layers, bidirectional, between, weight_init
        )
        self.dropout = nn.Dropout(dropout)
        style = LayerStyle(weight_init="xavier")
        self.scores = style.scores(self.layers.out_features, num_classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, T), int64, to scores (B, T, K)."""
        outputs, _ = self.layers(self.embedding(tokens))  # (B, T, H directions)
        return self.scores(self.dropout(outputs))


class Tagger(Classifier):
    """Recurrent tagging under the rule of `Classifier`, with one label for each step.

    Batches are (tokens (B, T), tags (B, T)), both int64. `val/loss` and `val/accuracy` are means
    over all steps; `val/f1` and `test/f1` are 2 TP / (2 TP + FP + FN) of each class but the first,
    which stands for "nothing here", averaged over those classes.

    Args:
        vocab_size: V; default: that of the data.
        num_classes: K; default: that of the data.
        length: T of the example for the signature; default: that of the data.
        alphabet: The characters of the tokens 2, 3, ..., for texts; default: that of the data.
        embedding_size: E.
        hidden_size: H, units of a direction.
        cell: `rnn`, `gru` or `lstm`.
        num_layers: Layers above each other.
        bidirectional: Whether each layer also reads from the end to the beginning.
        dropout: Share of outputs silenced between layers and before the linear map, in [0, 1).
        weight_init: How recurrent weights start; the others by `xavier`, embeddings as N(0, 1).
        **objective: See `Classifier`.

    Raises:
        ValueError: If an argument is outside its range.
    """

    def __init__(
        self,
        vocab_size: int | None = None,
        num_classes: int | None = None,
        length: int | None = None,
        alphabet: list[str] | None = None,
        embedding_size: int = 32,
        hidden_size: int = 64,
        cell: Cell = "lstm",
        num_layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
        weight_init: WeightInit = "orthogonal",
        **objective: Any,
    ):
        remedy = "give it, or run the model with a data module of tagged sequences"
        for name, value, least in (("vocab_size", vocab_size, 2), ("length", length, 1)):
            known = value is not None and value >= least
            require(known, name, f"a whole number of at least {least}", value, remedy)
        require(embedding_size >= 1, "embedding_size", "at least 1", embedding_size)
        require(0 <= dropout < 1, "dropout", "in [0, 1)", dropout)
        classes = require_num_classes(num_classes)
        network = TaggingNetwork(
            vocab_size or 0,
            classes,
            embedding_size,
            hidden_size,
            cell,
            num_layers,
            bidirectional,
            dropout,
            weight_init,
        )
        example = torch.zeros(2, length or 0, dtype=torch.long)
        super().__init__(network, classes, example, **objective)
        self.save_hyperparameters()
        self.alphabet = alphabet

    def training_loss(self, x: Tensor, labels: Tensor) -> Tensor:
        """The mean loss over the steps of a batch, without the penalty, a scalar."""
        scores = self.network(x).flatten(0, 1)  # (B T, K)
        return self.data_loss(scores, labels.flatten(), self.label_smoothing)

    def _evaluate(self, batch: Batch) -> None:
        x, labels = batch[0], batch[1].flatten()  # (B, T), (B T,)
        scores = self.network(x).flatten(0, 1)  # (B T, K)
        self._evaluation.add_loss(self.data_loss(scores, labels), len(labels))
        self._evaluation.add_predictions(labels, scores.argmax(1))
        self._examples = self._examples or batch

    def _finish_evaluation(self, stage: str) -> None:
        super()._finish_evaluation(stage)  # adds the counts of all ranks up
        self.log(f"{stage}/f1", f1_score(self._evaluation), sync_dist=True)

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        """Tags int64 (B, T) and scores (B, T, K) of a batch, with or without its labels."""
        x = batch[0] if isinstance(batch, (tuple, list)) else batch
        scores = self.network(x)
        return {"tag": scores.argmax(2), "scores": scores}

    def _tags(self, tokens: Tensor) -> Tensor:
        """Tags (B, T) without dropout, which would draw random numbers that training misses."""
        was_training = self.network.training
        tags = self.network.eval()(tokens).argmax(2)
        self.network.train(was_training)
        return tags

    def restored(self, tokens: Tensor, tags: Tensor) -> list[str]:
        """Texts (B, T) with a blank before each character whose tag is not 0."""
        alphabet = self.alphabet or ()
        return [
            "".join(
                " " * (tag > 0) + decode([token], alphabet)
                for token, tag in zip(row, marks, strict=True)
            )
            for row, marks in zip(tokens.tolist(), tags.tolist(), strict=True)
        ]

    @torch.no_grad()
    def sample(
        self, *, seed: int = 0, text: str = "whatlightthroughyonderwindow"
    ) -> dict[str, str]:
        """A text of one's own with a blank before each character that is tagged.

        Args:
            seed: Without effect: nothing is drawn.
            text: Characters of the alphabet; blanks in it are taken out first.

        Returns:
            `restored`.

        Raises:
            ValueError: If the text is empty, or the module knows no alphabet.
        """
        require(self.alphabet is not None, "alphabet", "known for a text to be read", self.alphabet)
        plain = "".join(text.lower().split())
        require(bool(plain), "text", "one character or more", text)
        tokens = encode([plain], self.alphabet or (), len(plain)).long().to(self.device)  # (1, T)
        (restored,) = self.restored(tokens, self._tags(tokens))
        return {"restored": restored.strip()}

    @torch.no_grad()
    def snapshots(self) -> dict[str, str]:
        """`restored`: the first validation texts, each above what was made of it."""
        if self._examples is None or self.alphabet is None:
            return {}
        tokens, tags = (part[:8].to(self.device) for part in self._examples)
        true = self.restored(tokens, tags)
        found = self.restored(tokens, self._tags(tokens))
        pairs = (f"true:  {a}\nfound: {b}" for a, b in zip(true, found, strict=True))
        return {"restored": "\n\n".join(pairs)}

    def figures(self) -> dict[str, Figure]:
        """`confusion_matrix` over all steps; `restored`: texts with blanks at the tags."""
        from .pictures import outcomes as draw  # matplotlib takes a while to import
        from .pictures.texts import text_figure

        figures: dict[str, Figure] = {}
        counts = self._evaluation.confusion.view(self._evaluation.shape).cpu()
        if counts.any():
            figures["confusion_matrix"] = draw.confusion_matrix(counts.numpy(), self.class_names)
        return figures | {name: text_figure(text) for name, text in self.snapshots().items()}


def f1_score(tally: Tally) -> Tensor:
    """The mean over the classes 1, 2, ... of 2 TP / (2 TP + FP + FN), in [0, 1], a scalar.

    A class that neither occurs nor is said has 0.
    """
    counts = tally.confusion.view(tally.shape)
    said_or_true = counts.sum(0) + counts.sum(1)  # (K,): 2 TP + FP + FN
    return (2 * counts.diagonal() / said_or_true.clamp(min=1))[1:].mean()

"""Convolution over text: kernels slide along a sentence, each keeps the best place that it found.

Kim 2014, "Convolutional Neural Networks for Sentence Classification", section 2: embeddings,
kernels of several widths, the maximum over time of each, dropout, softmax. Deck, slide "Translation
invariance" (convolutions on other data: text). Ours reads letters, not words with embeddings
trained elsewhere, as Zhang, Zhao and LeCun 2015 do ("Character-level Convolutional Networks"), and
decays weights instead of bounding their norms.
B batch, T time, V tokens, E numbers of an embedding, F kernels of a width, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .blocks.activations import Activation
from .blocks.checks import require
from .blocks.initializers import WeightInit
from .blocks.layers import LayerStyle
from .classifier import Classifier
from .data.sequences.tokens import PADDING, decode
from .shapes import require_num_classes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EMBEDDING_RANGE = 0.25  # where other embeddings start, either way: the paper, section 3.2


class TextConvolutions(nn.Module):
    """Embeddings, parallel convolutions, the maximum over time, dropout and one linear map.

    Args:
        vocab_size: V; token 0 pads, its embedding is zero.
        num_classes: K.
        embedding_size: E.
        num_kernels: F, kernels of each width.
        widths: How many tokens kernels see.
        dropout: Share of the maxima silenced while training, in [0, 1).
        style: Activation and start of the layers.
    """

    def __init__(
        self,
        vocab_size: int,
        num_classes: int,
        embedding_size: int = 32,
        num_kernels: int = 64,
        widths: Sequence[int] = (3, 4, 5),
        dropout: float = 0.5,
        style: LayerStyle | None = None,
    ):
        super().__init__()
        style = style or LayerStyle()
        self.embedding = nn.Embedding(vocab_size, embedding_size, padding_idx=PADDING)
        nn.init.uniform_(self.embedding.weight, -EMBEDDING_RANGE, EMBEDDING_RANGE)
        self.embedding.weight.data[PADDING] = 0
        self.convolutions = nn.ModuleList(
            nn.Sequential(*style.convolution(embedding_size, num_kernels, w, dims=1, padding=0))
            for w in widths
        )
        self.dropout = nn.Dropout(dropout)
        self.scores = style.scores(num_kernels * len(widths), num_classes)

    def responses(self, tokens: Tensor) -> list[Tensor]:
        """What each width's kernels find at each place: (B, F, T - width + 1) of each."""
        embedded = self.embedding(tokens).transpose(1, 2)  # (B, E, T)
        return [convolution(embedded) for convolution in self.convolutions]

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, T), int64, to scores (B, K)."""
        best = torch.cat([found.amax(2) for found in self.responses(tokens)], 1)  # (B, F widths)
        return self.scores(self.dropout(best))


class TextCNN(Classifier):
    """Convolutions over text under the rule of `Classifier`.

    Args:
        vocab_size: V; default: that of the data.
        num_classes: K; default: that of the data.
        length: T, tokens of a text; default: that of the data.
        alphabet: The characters of the tokens 2, 3, ..., for the pictures; default: those of the
            data.
        embedding_size: E.
        num_kernels: F, kernels of each width.
        widths: How many tokens kernels see, each at least 1; default: 3, 4 and 5.
        dropout: Share of the maxima silenced while training, in [0, 1).
        activation: Name of the non-linearity.
        weight_init: How weights start; embeddings start between -0.25 and 0.25.
        weight_init_std: Standard deviation of `normal`.
        **objective: See `Classifier`.

    Raises:
        ValueError: If an argument is outside its range, or texts are shorter than a kernel.
    """

    def __init__(
        self,
        vocab_size: int | None = None,
        num_classes: int | None = None,
        length: int | None = None,
        alphabet: list[str] | None = None,
        embedding_size: int = 32,
        num_kernels: int = 64,
        widths: list[int] | None = None,
        dropout: float = 0.5,
        activation: Activation = "relu",
        weight_init: WeightInit = "kaiming",
        weight_init_std: float = 0.01,
        **objective: Any,
    ):
        widths = [3, 4, 5] if widths is None else widths
        size, time = check_text(vocab_size, length, widths)
        require(embedding_size >= 1, "embedding_size", "at least 1", embedding_size)
        require(num_kernels >= 1, "num_kernels", "at least 1", num_kernels)
        require(0 <= dropout < 1, "dropout", "in [0, 1)", dropout)
        classes = require_num_classes(num_classes)
        style = LayerStyle(activation, 2, False, weight_init, weight_init_std)
        network = TextConvolutions(
            size, classes, embedding_size, num_kernels, widths, dropout, style
        )
        super().__init__(network, classes, torch.zeros(2, time, dtype=torch.long), **objective)
        self.save_hyperparameters()
        self.alphabet = alphabet

    def figures(self) -> dict[str, Figure]:
        """`confusion_matrix`; `wrongest`: the texts with the highest loss."""
        from .pictures import outcomes as draw  # matplotlib takes a while to import
        from .pictures.texts import wrongest_texts

        figures: dict[str, Figure] = {}
        counts = self._evaluation.confusion.view(self._evaluation.shape).cpu()
        if counts.any():
            figures["confusion_matrix"] = draw.confusion_matrix(counts.numpy(), self.class_names)
        wrong = self._wrongest.mistakes()
        if wrong is not None and self.alphabet is not None:
            texts = [decode(row, self.alphabet) for row in wrong.inputs.tolist()]
            pairs = zip(wrong.labels.tolist(), wrong.predicted.tolist(), strict=True)
            names = [(self.class_names[true], self.class_names[taken]) for true, taken in pairs]
            figures["wrongest"] = wrongest_texts(texts, wrong.loss.tolist(), names)
        return figures


def check_text(
    vocab_size: int | None, length: int | None, widths: Sequence[int]
) -> tuple[int, int]:
    """Return V and T.

    Raises:
        ValueError: If one is missing, or kernels and texts do not go together.
    """
    remedy = "give it, or run the model with a data module of texts"
    known = vocab_size is not None and vocab_size >= 2
    require(known, "vocab_size", "a whole number of at least 2", vocab_size, remedy)
    known = length is not None and length >= 1
    require(known, "length", "a whole number of at least 1", length, remedy)
    sizes = list(widths)
    rule = "one or more whole numbers of at least 1"
    require(bool(sizes) and min(sizes) >= 1, "widths", rule, sizes)
    require(max(sizes) <= (length or 0), "widths", f"at most `length` {length}", sizes)
    return vocab_size or 0, length or 0

"""Sequence to sequence: encoder and decoder with attention, and what they translate.

Deck, slides "Sequence Learning" and "More RNN Structures" (many to many). Sutskever, Vinyals and Le
2014, "Sequence to Sequence Learning with Neural Networks"; ours has attention (see
`seq2seq_network.py`), learns as `seq2seq_rule.py` says and searches as `blocks/beam_search.py`.
B batch, S units of a source, T of a target, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .blocks.attention import Score
from .blocks.checks import require
from .blocks.initializers import WeightInit
from .blocks.recurrent import Cell
from .data.sequences.subwords import BEGIN, END, PAD
from .networks.seq2seq_network import EncoderDecoder
from .rules.seq2seq_rule import Seq2SeqRule
from .rules.seq2seq_search import translate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_SHOWN = 5  # translations of a snapshot


class Seq2Seq(Seq2SeqRule):
    """Translates: says a target sequence after it has read a source sequence.

    Batches and metrics are those of `Seq2SeqRule`.

    Args:
        source_vocab_size: V of the sources; default: that of the data.
        target_vocab_size: V of the targets; default: that of the data.
        embedding_size: Numbers that a unit is embedded in.
        hidden_size: Units of the decoder, even; the encoder has half in each direction.
        num_layers: Layers of encoder and decoder.
        cell: `rnn`, `gru` or `lstm`.
        attention: Score of the attention: `dot`, `general` or `additive`.
        input_feeding: Whether what the attention found enters the next step; steps are then
            computed one after the other, which takes longer.
        tied_embeddings: Whether targets are embedded by the weights that score them.
        dropout: Share of layers' inputs and of answers silenced while training, in [0, 1).
        label_smoothing: Share of the target spread over all units, in [0, 1).
        weight_init: How linear maps start.
        weight_init_std: Standard deviation of `normal`.
        max_length: Most units of a translation.
        beam_size: Sequences that a search keeps, in tests and predictions; 1: greedy.
        length_penalty: Alpha of the beam search.
        bleu: Whether BLEU is measured; it needs the package sacrebleu.
        num_val_translations: Sentences that each validation translates, over all processes.

    Raises:
        ValueError: If an argument is outside its range.
    """

    def __init__(
        self,
        source_vocab_size: int | None = None,
        target_vocab_size: int | None = None,
        embedding_size: int = 256,
        hidden_size: int = 512,
        num_layers: int = 1,
        cell: Cell = "lstm",
        attention: Score = "general",
        input_feeding: bool = False,
        tied_embeddings: bool = True,
        dropout: float = 0.3,
        label_smoothing: float = 0.1,
        weight_init: WeightInit = "xavier",
        weight_init_std: float = 0.01,
        max_length: int = 50,
        beam_size: int = 5,
        length_penalty: float = 1.0,
        bleu: bool = True,
        num_val_translations: int = 500,
    ):
        remedy = "give it, or run the model with a data module of sentence pairs"
        sizes = {"source_vocab_size": source_vocab_size, "target_vocab_size": target_vocab_size}
        for name, size in sizes.items():
            require(size is not None and size >= 5, name, "at least 5", size, remedy)
        require(max_length >= 1, "max_length", "at least 1", max_length)
        network = EncoderDecoder(
            source_vocab_size or 0,
            target_vocab_size or 0,
            embedding_size,
            hidden_size,
            num_layers,
            cell,
            attention,
            input_feeding,
            tied_embeddings,
            dropout,
            weight_init,
            weight_init_std,
        )
        rule = (label_smoothing, beam_size, length_penalty, bleu, num_val_translations)
        super().__init__(network, *rule)
        self.save_hyperparameters()
        self.max_length = max_length
        self.example_input_array = torch.full((2, 8), END)

    def forward(self, source: Tensor) -> Tensor:
        """Translate (B, S) greedily: (B, max_length) int64, padded after the end."""
        return self.translate(source, beam_size=1)

    def translate(
        self, source: Tensor, beam_size: int | None = None, length_penalty: float | None = None
    ) -> Tensor:
        """Translations (B, max_length) of sources (B, S), int64, padded after the end.

        Args:
            source: Units, END last, padded on the right.
            beam_size: Default: the model's; 1 is greedy search.
            length_penalty: Default: the model's.
        """
        beam_size = self.beam_size if beam_size is None else beam_size
        alpha = self.length_penalty if length_penalty is None else length_penalty
        return translate(self.network, source, self.max_length, beam_size, alpha)

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Any]:
        """Sources and their translations, as texts."""
        source = batch[0] if isinstance(batch, (tuple, list)) else batch
        read = self.kept_units.of(self.vocabulary)[0]
        said = self.texts(self.translate(source))
        return {"source": [read.decode(row) for row in source.tolist()], "translation": said}

    def sample(
        self,
        *,
        seed: int = 0,
        sentence: str = "",
        beam_size: int | None = None,
        length_penalty: float | None = None,
    ) -> dict[str, str | Figure]:
        """Translate a sentence of your own.

        Args:
            seed: Taken since every module's `sample` takes one; a search draws nothing.
            sentence: In the source's language.
            beam_size: Sequences that the search keeps; default: the model's; 1: greedy.
            length_penalty: How much long sequences are forgiven; default: the model's.

        Returns:
            `translation`, and `attention`: where each of its units looked.

        Raises:
            ValueError: If the sentence is empty or a number out of range.
        """
        require(bool(sentence.strip()), "sentence", "a sentence to translate", sentence)
        units = [*self.kept_units.of(self.vocabulary)[0].encode(sentence), END]
        source = torch.tensor([units], device=self.device)
        found = self.translate(source, beam_size, length_penalty)
        return {"translation": self.texts(found)[0], "attention": self._attention(source, found)}

    def snapshots(self) -> dict[str, str | Figure]:
        """The first sentences of the latest validation with their translations."""
        shown = self._texts.first(NUM_SHOWN)
        return {"translations": shown} if shown else {}

    def figures(self) -> dict[str, Figure]:
        """Where each unit of the first translation of the latest evaluation looked."""
        if self._first is None:
            return {}
        source = self._first[: int((self._first != PAD).sum())].unsqueeze(0)
        return {"attention": self._attention(source, self.translate(source))}

    @torch.no_grad()
    def _attention(self, source: Tensor, found: Tensor) -> Figure:
        """The weights behind a translation (1, T) of a source (1, S) without padding."""
        from .pictures.attention import attention_map  # matplotlib takes a while to import

        found = found[:, : int((found != PAD).sum())]
        inputs = torch.cat((torch.full_like(found[:, :1], BEGIN), found[:, :-1]), 1)
        training = self.network.training
        weights = self.network.eval()(source, inputs)[1][0].cpu().numpy()  # (T, S)
        self.network.train(training)
        names = self.kept_units.names(self.vocabulary, source[0].tolist(), found[0].tolist())
        return attention_map(weights, *names)

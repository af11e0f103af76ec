"""Translations as texts: the units beside the weights, and how good what was said is.

BLEU (Papineni et al. 2002, "BLEU: a Method for Automatic Evaluation of Machine Translation") counts
shared runs of one to four words over the whole set, times a penalty for brevity, 0 to 100. It
depends on how words are cut, so it is computed by sacrebleu on plain text (Post 2018, "A Call for
Clarity in Reporting BLEU Scores"): case counts, tokenizer 13a.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from ..blocks.checks import require
from ..data.sequences.subwords import Subwords


class KeptUnits:
    """Source's and target's units from their JSON in a buffer of the model, parsed once."""

    def __init__(self):
        self._parsed: tuple[bytes, tuple[Subwords, Subwords]] | None = None

    def of(self, vocabulary: Tensor) -> tuple[Subwords, Subwords]:
        """Parse a buffer, uint8 (bytes,).

        Raises:
            ValueError: It is empty: the model never saw data with texts.
        """
        content = vocabulary.cpu().numpy().tobytes()
        remedy = "train the model with a data module of sentence pairs"
        require(bool(content), "vocabulary", "known", "empty", remedy)
        if self._parsed is None or self._parsed[0] != content:
            state = json.loads(content)
            self._parsed = content, (Subwords(**state["source"]), Subwords(**state["target"]))
        return self._parsed[1]

    def names(
        self, vocabulary: Tensor, source: Sequence[int], target: Sequence[int]
    ) -> tuple[list[str], list[str]]:
        """Units as they can be shown; their numbers where the texts are unknown."""
        if not len(vocabulary):
            return [str(n) for n in source], [str(n) for n in target]
        read, said = self.of(vocabulary)
        return read.names(source), said.names(target)

    def taken_over(self, vocabulary: Tensor, content: bytes) -> Tensor:
        """The buffer with the data's units.

        Raises:
            ValueError: It holds others already.
        """
        if not len(vocabulary):
            data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
            return data.to(vocabulary.device)
        same = vocabulary.cpu().numpy().tobytes() == content
        remedy = "run it with the data, languages and vocab_size that it was trained with"
        require(same, "data", "that of the model's units", "another", remedy)
        return vocabulary


class TranslatedTexts:
    """Sources, references and translations of one process's evaluation."""

    def __init__(self):
        self._rows: list[tuple[str, str, str]] = []

    def __len__(self) -> int:
        """How many sentences were translated."""
        return len(self._rows)

    def add(self, rows: list[tuple[str, str, str]]) -> None:
        """Keep triples (source, reference, translation)."""
        self._rows += rows

    def scores(self, bleu: bool) -> dict[str, float]:
        """`bleu` where it is wanted and `exact`, over all processes; nothing without sentences."""
        rows = gathered(self._rows)
        if not rows:
            return {}
        said, wanted = [row[2] for row in rows], [row[1] for row in rows]
        scores = {"bleu": corpus_bleu(said, wanted)} if bleu else {}
        return scores | {"exact": exact_share(said, wanted)}

    def first(self, count: int) -> str:
        """The first sentences, each above its reference and its translation."""
        names = ("source", "reference", "translation")
        shown = (
            "\n".join(f"{name:<12}{text}" for name, text in zip(names, row, strict=True))
            for row in self._rows[:count]
        )
        return "\n\n".join(shown)


def require_sacrebleu() -> None:
    """Raise ValueError unless the package is installed."""
    installed = importlib.util.find_spec("sacrebleu") is not None
    remedy = "`pip install 'paceline[text]'`, or leave BLEU out with `--model.bleu false`"
    require(installed, "bleu", "false without the package sacrebleu", True, remedy)


def corpus_bleu(translations: Sequence[str], references: Sequence[str]) -> float:
    """BLEU of a set, one reference each, 0 to 100."""
    from sacrebleu.metrics.bleu import BLEU

    return float(BLEU().corpus_score(list(translations), [list(references)]).score)


def exact_share(translations: Sequence[str], references: Sequence[str]) -> float:
    """The share of sentences that are the reference to the letter, white space aside, 0 to 1."""
    pairs = zip(translations, references, strict=True)
    same = sum(said.split() == wanted.split() for said, wanted in pairs)
    return same / max(len(references), 1)


def gathered(rows: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The rows of all processes, rank after rank; those of this one where it is alone."""
    if not (dist.is_available() and dist.is_initialized()):
        return rows
    parts: list[list[tuple[str, str, str]]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(parts, rows)
    return [row for part in parts for row in part]

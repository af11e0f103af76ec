"""Subword units: words that are rare fall into parts that are not, so no word is unknown.

Byte-pair encoding (Sennrich, Haddow and Birch 2016, "Neural Machine Translation of Rare Words with
Subword Units", section 3.2): start from characters and join, again and again, the two neighbours
that stand together most often. Ours differs in where a word's edge is marked: at its start, with
the space before it (so that joined symbols give the text back, spaces and punctuation included),
and in that a language has its own units.
"""

from __future__ import annotations

import heapq
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from ..arguments import whole_number, wrong

PAD, UNKNOWN, BEGIN, END = range(4)
SPECIALS = ("<pad>", "<unk>", "<s>", "</s>")
SPACE = "\u2581"  # stands for the space before a word
_PIECES = re.compile(rf"{SPACE}?(?:\w+|[^\w\s{SPACE}])")

Pair = tuple[str, str]


def pieces(text: str) -> list[str]:
    """Words and single punctuation marks, with `SPACE` before those that follow a space.

    Runs of white space count as one space; nothing else of the text is lost.
    """
    words = text.replace(SPACE, " ").split()
    return _PIECES.findall(SPACE + SPACE.join(words)) if words else []


class Subwords:
    """The units of one language: text to numbers and back.

    Numbers 0 to 3 are padding, the unknown character, the beginning and the end of a sentence.

    Args:
        alphabet: The characters, `SPACE` among them.
        merges: Pairs of symbols to join, the most frequent first.
    """

    def __init__(self, alphabet: Sequence[str], merges: Sequence[Sequence[str]]):
        self.alphabet, self.merges = list(alphabet), [(a, b) for a, b in merges]
        joined = (a + b for a, b in self.merges)
        self.symbols = list(dict.fromkeys([*SPECIALS, *self.alphabet, *joined]))
        self._numbers = {symbol: number for number, symbol in enumerate(self.symbols)}
        self._ranks = {pair: rank for rank, pair in enumerate(self.merges)}
        self._known: dict[str, list[int]] = {}

    @classmethod
    def learn(cls, texts: Iterable[str], size: int) -> Subwords:
        """Find the units of a language.

        Args:
            texts: Its sentences.
            size: Most units there may be, the four special ones included. There are fewer where
                no two symbols stand together twice.

        Raises:
            ValueError: The characters alone are as many.
        """
        whole_number("vocab_size", size, len(SPECIALS) + 1)
        words = Counter(itertools.chain.from_iterable(map(pieces, texts)))
        letters: Counter[str] = Counter()
        for word, count in words.items():
            for letter in word:
                letters[letter] += count
        alphabet = sorted(letters, key=lambda letter: (-letters[letter], letter))
        room = size - len(SPECIALS) - len(alphabet)
        if room < 0:
            rule = f"at least {size - room}: the characters and four special units"
            raise wrong("vocab_size", rule, size)
        return cls(alphabet, learn_merges(words, room))

    def encode(self, text: str) -> list[int]:
        """The units of a text; no beginning and no end is added."""
        return [number for piece in pieces(text) for number in self._encode_piece(piece)]

    def decode(self, numbers: Iterable[int]) -> str:
        """The text up to the first end; padding and beginnings are left out."""
        shown = itertools.takewhile(lambda number: number != END, numbers)
        units = (self.symbols[n] for n in shown if n not in (PAD, BEGIN) and n < len(self.symbols))
        return "".join(units).replace(SPACE, " ").strip()

    def names(self, numbers: Iterable[int]) -> list[str]:
        """Each unit as it can be shown."""
        return [self.symbols[n] if n < len(self.symbols) else "" for n in numbers]

    def state(self) -> dict[str, Any]:
        """Plain data that `Subwords(**state)` is made from again."""
        return {"alphabet": self.alphabet, "merges": [list(pair) for pair in self.merges]}

    def _encode_piece(self, piece: str) -> list[int]:
        found = self._known.get(piece)
        if found is None:
            units = self._split(piece)
            found = [self._numbers.get(unit, UNKNOWN) for unit in units]
            self._known[piece] = found
        return found

    def _split(self, piece: str) -> list[str]:
        """Join what was joined first, until nothing is left to join."""
        symbols = list(piece)
        while len(symbols) > 1:
            pairs = itertools.pairwise(symbols)
            best = min(pairs, key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            symbols = _joined(symbols, best)
        return symbols


def learn_merges(words: Counter[str], num_symbols: int) -> list[Pair]:
    """The pairs to join, until they have made so many new symbols (Sennrich et al., algorithm 1).

    Args:
        words: How often each word occurs.
        num_symbols: How many new symbols are wanted.
    """
    spelled = [list(word) for word in words]
    counts = list(words.values())
    pairs: Counter[Pair] = Counter()
    places: defaultdict[Pair, set[int]] = defaultdict(set)
    for place, (symbols, count) in enumerate(zip(spelled, counts, strict=True)):
        for pair in itertools.pairwise(symbols):
            pairs[pair] += count
            places[pair].add(place)
    queue = [(-count, pair) for pair, count in pairs.items()]
    heapq.heapify(queue)
    merges, made = [], set[str]()
    while queue and len(made) < num_symbols:
        count, pair = heapq.heappop(queue)
        if -count != pairs[pair]:  # it has changed since
            if pairs[pair] > 1:
                heapq.heappush(queue, (-pairs[pair], pair))
            continue
        if -count < 2:
            break
        merges.append(pair)
        made.add("".join(pair))
        for new in _join_everywhere(pair, spelled, counts, pairs, places):
            heapq.heappush(queue, (-pairs[new], new))
    return merges


def _join_everywhere(
    pair: Pair,
    spelled: list[list[str]],
    counts: list[int],
    pairs: Counter[Pair],
    places: defaultdict[Pair, set[int]],
) -> set[Pair]:
    """Join a pair in each word that has it, keep the counts true, and return the pairs it made."""
    changed = set[Pair]()
    for place in places.pop(pair):
        before, count = spelled[place], counts[place]
        after = spelled[place] = _joined(before, pair)
        for old in itertools.pairwise(before):
            pairs[old] -= count
        for new in itertools.pairwise(after):
            pairs[new] += count
            places[new].add(place)
            changed.add(new)
    del pairs[pair]
    return changed


def _joined(symbols: Sequence[str], pair: Pair) -> list[str]:
    """The symbols with each occurrence of a pair made one, from the left."""
    joined, at = [], 0
    while at < len(symbols):
        both = at + 1 < len(symbols) and (symbols[at], symbols[at + 1]) == pair
        joined.append(pair[0] + pair[1] if both else symbols[at])
        at += 2 if both else 1
    return joined

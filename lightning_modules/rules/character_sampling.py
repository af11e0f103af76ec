"""Text from a character model: each character that is drawn is fed back as the next input.

Slide "RNN: Character-level": "at test time sample characters one at a time, feed back to the
model". All chance comes from a generator of its own on the CPU, so that a sample is the same on any
device and changes nothing that is learned after it.
T steps, V characters of the vocabulary, H units.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..blocks.checks import require
from ..data.sequences.character_vocabulary import CharacterVocabulary
from ..networks.charlm_network import CharLMNetwork

MAX_LENGTH = 1_000_000
TOLD_UNITS, TOLD_CHARACTERS = 8, 8  # of a step, in a table


@dataclass(frozen=True)
class Sampling:
    """How characters are drawn.

    Args:
        seed: Of the generator, at least 0.
        length: T.
        temperature: Scores are divided by it; 0: always the likeliest.
        top_k: Draw from so many of the likeliest; 0: from all.
    """

    seed: int = 0
    length: int = 300
    temperature: float = 1.0
    top_k: int = 0

    def check(self, vocabulary: CharacterVocabulary) -> None:
        """Raise ValueError unless every option is in its range."""
        require(self.seed >= 0, "seed", "at least 0", self.seed)
        rule = f"from 1 to {MAX_LENGTH}"
        require(1 <= self.length <= MAX_LENGTH, "length", rule, self.length)
        rule = "a number of at least 0"
        require(0 <= self.temperature < float("inf"), "temperature", rule, self.temperature)
        rule = f"from 0 (all) to the vocabulary's {len(vocabulary)} characters"
        require(0 <= self.top_k <= len(vocabulary), "top_k", rule, self.top_k)


@dataclass
class Drawn:
    """What was drawn, and what it was drawn from.

    Attributes:
        characters: Numbers of the characters, (T,).
        hidden: The top layer's outputs before each, (T, H).
        scores: The scores of each step, (T, V).
        probabilities: What each was drawn from, (T, V): after temperature and `top_k`.
    """

    characters: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    hidden: Tensor = field(default_factory=lambda: torch.empty(0))
    scores: Tensor = field(default_factory=lambda: torch.empty(0))
    probabilities: Tensor = field(default_factory=lambda: torch.empty(0))


def draw_probabilities(scores: Tensor, temperature: float, top_k: int = 0) -> Tensor:
    """What a character is drawn from: softmax(scores / temperature) over the `top_k` highest.

    Args:
        scores: (V,).
        temperature: At least 0; at 0 the highest score, of equals the first, has all.
        top_k: How many characters keep a chance; 0: all.

    Returns:
        Probabilities (V,), float64.
    """
    scores = scores.double()
    if temperature == 0:
        return torch.zeros_like(scores).index_fill_(0, scores.argmax(), 1.0)
    if 0 < top_k < len(scores):
        kept = scores.topk(top_k).indices
        scores = torch.full_like(scores, -torch.inf).index_copy_(0, kept, scores[kept])
    # Less the highest first: a tiny temperature would make two infinities.
    return ((scores - scores.max()) / temperature).softmax(0)


@torch.no_grad()
def sample_text(
    network: CharLMNetwork,
    prompt: Tensor,
    vocabulary: CharacterVocabulary,
    options: Sampling,
    device: torch.device,
) -> Drawn:
    """Read a prompt, then draw character after character.

    Args:
        network: Gives scores; it is asked in evaluation mode and left as it was.
        prompt: Numbers of at least one character, (N,).
        vocabulary: Its U+FFFD, if any, is never drawn.
        options: Checked options.
        device: Where the network is.
    """
    generator = torch.Generator().manual_seed(options.seed)
    training, steps = network.training, []
    network.eval()
    try:
        given, state = prompt.long()[None].to(device), None  # (1, N)
        for _ in range(options.length):
            scores, hidden, state = network(given, state)
            scores = scores[0, -1].cpu()  # (V,)
            if vocabulary.unknown is not None:
                scores[vocabulary.unknown] = -torch.inf
            chances = draw_probabilities(scores, options.temperature, options.top_k)
            character = torch.multinomial(chances, 1, generator=generator)
            steps.append((character, hidden[0, -1].cpu(), scores, chances))
            given = character[None].to(device)  # (1, 1)
    finally:
        network.train(training)
    characters, hidden, scores, chances = zip(*steps, strict=True)
    return Drawn(torch.cat(characters), *map(torch.stack, (hidden, scores, chances)))


def step_table(prompt: str, drawn: Drawn, vocabulary: CharacterVocabulary) -> str:
    """The steps of a sample as the slide tells them, five lines each.

    Args:
        prompt: What was read before the first step.
        drawn: The sample.
        vocabulary: Names the characters. Of a large one the likeliest are told.
    """
    text = prompt + vocabulary.decode(drawn.characters)
    lines = []
    for step in range(len(drawn.characters)):
        given, said = text[len(prompt) + step - 1], text[len(prompt) + step]
        chances = drawn.probabilities[step]
        told = torch.arange(len(vocabulary))
        if len(told) > TOLD_CHARACTERS:
            told = chances.topk(TOLD_CHARACTERS).indices
        lines += [
            f"input    {given!r}",
            f"hidden   {_numbers(drawn.hidden[step])}",
            f"scores   {_named(drawn.scores[step], told, vocabulary)}",
            f"softmax  {_named(chances, told, vocabulary)}",
            f"sampled  {said!r}",
            "",
        ]
    return "\n".join(lines[:-1])


def _numbers(hidden: Tensor) -> str:
    """The first units' values, and how many there are where more are left out."""
    rest = f"  ... ({len(hidden)} units)" if len(hidden) > TOLD_UNITS else ""
    return " ".join(f"{value:6.2f}" for value in hidden[:TOLD_UNITS].tolist()) + rest


def _named(values: Tensor, told: Tensor, vocabulary: CharacterVocabulary) -> str:
    return "  ".join(f"{vocabulary.characters[n]!r} {values[n]:6.2f}" for n in told.tolist())

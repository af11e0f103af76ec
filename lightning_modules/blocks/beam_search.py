"""From next-unit probabilities to a sequence: the likeliest unit each time, or a beam of sequences.

Greedy search keeps one sequence; beam search keeps the K best. Long sequences have lower
probabilities, so log p is divided by ((5 + length) / 6)^alpha (Wu et al. 2016, "Google's Neural
Machine Translation System", section 7, equation 14, without its coverage penalty). A whole batch is
searched at once. B sequences, K beam, V units, T longest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from .checks import require


class Selectable(Protocol):
    """What a decoder remembers between steps, one row for each sequence."""

    def select(self, rows: Tensor) -> Self:
        """The rows with these numbers, (N,) int64; a row may be taken twice."""
        ...


State = TypeVar("State", bound=Selectable)

# Latest units (N,) and state to log p of the next ones (N, V) and the next state.
Step = Callable[[Tensor, State], tuple[Tensor, State]]


@dataclass(frozen=True)
class Units:
    """The numbers that a search must know.

    Args:
        begin: What a sequence begins with.
        end: What ends it.
        pad: What follows the end.
    """

    begin: int
    end: int
    pad: int


def length_penalty(length: Tensor, alpha: float) -> Tensor:
    """((5 + length) / 6)^alpha, by which log p is divided; 1 where alpha is 0."""
    return ((5 + length) / 6) ** alpha


def greedy_search(
    step: Step[State], state: State, like: Tensor, units: Units, max_length: int
) -> Tensor:
    """Take the likeliest unit each time.

    Args:
        step: One step of the decoder.
        state: Its state at the start, of B rows.
        like: Any tensor of B rows on the device.
        units: Special numbers.
        max_length: T, at least 1.

    Returns:
        (B, T) int64: the units up to and with the end, then padding.
    """
    sequences = torch.full((len(like), max_length), units.pad, device=like.device)
    latest = torch.full_like(sequences[:, 0], units.begin)
    finished = torch.zeros_like(latest, dtype=torch.bool)
    for t in range(max_length):
        log_p, state = step(latest, state)
        latest = log_p.argmax(1).masked_fill(finished, units.pad)
        sequences[:, t] = latest
        finished = finished | (latest == units.end)
        # An exported graph cannot ask its data: it takes all steps.
        if not torch.compiler.is_exporting() and finished.all():
            break
    return sequences


def beam_search(
    step: Step[State],
    state: State,
    like: Tensor,
    units: Units,
    max_length: int,
    beam_size: int,
    alpha: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Keep the K best sequences at each step, finished ones among them.

    Args:
        step: One step of the decoder.
        state: Its state at the start, of B K rows: those of a sequence's beam stand together.
        like: Any tensor of B rows on the device.
        units: Special numbers.
        max_length: T, at least 1; what has no end by then is cut.
        beam_size: K, at least 1; with 1 it is greedy search.
        alpha: How much long sequences are forgiven, at least 0.

    Returns:
        The best sequences, (B, T) int64 as of `greedy_search`, and their log p over the penalty,
        (B,).

    Raises:
        ValueError: If the beam or alpha is out of range.
    """
    require(beam_size >= 1, "beam_size", "at least 1", beam_size)
    require(0 <= alpha < float("inf"), "length_penalty", "0 or above", alpha)
    batch = len(like)
    sequences = like.new_full((batch, beam_size, max_length), units.pad, dtype=torch.long)
    first = torch.arange(batch, device=like.device).unsqueeze(1) * beam_size  # (B, 1)
    log_p = torch.full((batch, beam_size), float("-inf"), device=like.device)
    log_p[:, 0] = 0.0  # all beams start equal, so that only one may be extended
    length = torch.zeros_like(log_p)
    finished = torch.zeros_like(log_p, dtype=torch.bool)
    latest = torch.full_like(sequences[:, :, 0], units.begin)  # (B, K)
    ranking = log_p
    for t in range(max_length):
        following, state = step(latest.flatten(), state)  # (B K, V)
        following = _after(finished, following.view(batch, beam_size, -1), units.pad)
        total = log_p.unsqueeze(2) + following  # (B, K, V)
        length = length + ~finished
        ranked = total / length_penalty(length, alpha).unsqueeze(2)
        ranking, best = ranked.flatten(1).topk(beam_size)  # (B, K)
        parent, latest = best // total.shape[2], best % total.shape[2]
        log_p = total.flatten(1).gather(1, best)
        state = state.select((first + parent).flatten())
        sequences = sequences.gather(1, parent.unsqueeze(2).expand_as(sequences))
        sequences[:, :, t] = latest
        length = length.gather(1, parent)
        finished = finished.gather(1, parent) | (latest == units.end)
        if finished.all():
            break
    return sequences[:, 0], ranking[:, 0]


def _after(finished: Tensor, following: Tensor, pad: int) -> Tensor:
    """What may follow (B, K, V): after an end only padding, which costs nothing."""
    only_pad = torch.full_like(following[0, 0], float("-inf"))  # (V,)
    only_pad[pad] = 0.0
    return torch.where(finished.unsqueeze(2), only_pad, following)

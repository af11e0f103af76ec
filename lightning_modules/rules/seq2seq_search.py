"""Translating a batch: encoder and decoder under greedy or beam search.

B batch, S units of a source.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..blocks.beam_search import Units, beam_search, greedy_search
from ..blocks.checks import require
from ..data.sequences.subwords import BEGIN, END, PAD
from ..networks.seq2seq_network import DecoderState, EncoderDecoder

UNITS = Units(BEGIN, END, PAD)


@torch.no_grad()
def translate(
    network: EncoderDecoder, source: Tensor, max_length: int, beam_size: int, alpha: float
) -> Tensor:
    """The best translations that are found, without dropout.

    Args:
        network: Encoder and decoder.
        source: Units (B, S) int64, END last, padded on the right.
        max_length: Most units of a translation.
        beam_size: Sequences that the search keeps; 1 is greedy search.
        alpha: How much long translations are forgiven.

    Returns:
        (B, max_length) int64, padded after the end.

    Raises:
        ValueError: If the beam or alpha is out of range.
    """
    check_search(beam_size, alpha)
    training = network.training
    network.eval()
    memory = network.read(source).repeated(beam_size)

    def step(latest: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        return network.step(latest, state, memory)

    state = network.begin(memory)
    if beam_size == 1:
        found = greedy_search(step, state, source, UNITS, max_length)
    else:
        found, _ = beam_search(step, state, source, UNITS, max_length, beam_size, alpha)
    network.train(training)
    return found


def check_search(beam_size: int, length_penalty: float) -> None:
    """Raise ValueError unless the beam and alpha are in range."""
    require(beam_size >= 1, "beam_size", "at least 1", beam_size)
    within = 0 <= length_penalty < float("inf")
    require(within, "length_penalty", "0 or above", length_penalty)

"""Attention against its equations in NumPy, and searches against trying everything out."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from paceline.lightning_modules.blocks.attention import Attention
from paceline.lightning_modules.blocks.beam_search import (
    Units,
    beam_search,
    greedy_search,
    length_penalty,
)

B, T, S, Q, M = 3, 4, 6, 5, 5


def numpy_scores(attention: Attention, query: np.ndarray, place: np.ndarray) -> float:
    """The papers' score of one query and one place."""
    weight = {name: p.detach().numpy() for name, p in attention.named_parameters()}
    match attention.score:
        case "dot":
            return float(query @ place)
        case "general":
            return float(query @ weight["key.weight"] @ place)
        case _:
            units = np.tanh(weight["query.weight"] @ query + weight["key.weight"] @ place)
            return float(weight["energy.weight"][0] @ units)


@pytest.mark.parametrize("score", ["dot", "general", "additive"])
def test_attention_is_the_papers_equation(score):
    torch.manual_seed(1)
    attention = Attention(Q, M, score).double()
    queries = torch.randn(B, T, Q, dtype=torch.float64)
    memory = torch.randn(B, S, M, dtype=torch.float64)
    mask = torch.arange(S) < torch.tensor([6, 3, 1])[:, None]
    context, weights = attention(queries, memory, attention.keys(memory), mask)
    for b, t in itertools.product(range(B), range(T)):
        places = memory[b, mask[b]].numpy()
        energies = [numpy_scores(attention, queries[b, t].numpy(), place) for place in places]
        expected = np.exp(energies) / np.exp(energies).sum()
        found = weights[b, t].detach().numpy()
        np.testing.assert_allclose(found[: len(places)], expected, atol=1e-12)
        np.testing.assert_array_equal(found[len(places) :], 0)
        np.testing.assert_allclose(context[b, t].detach().numpy(), expected @ places, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"score": "cosine"}, "`score` must be one of dot, general, additive"),
        ({"score": "dot", "memory_size": 7}, "`memory_size` must be 5, as the query"),
        ({"num_units": 3}, "`num_units` must be left out unless"),
        ({"score": "additive", "num_units": 0}, "`num_units` must be at least 1"),
    ],
)
def test_attention_refuses_what_has_no_meaning(arguments, message):
    with pytest.raises(ValueError, match=message):
        Attention(**{"query_size": Q, "memory_size": M, **arguments})


# Searches: a made language of three units after pad 0 and begin 1; the state is the whole prefix.
V, LONGEST, UNITS = 5, 4, Units(begin=1, end=2, pad=0)


@dataclass
class Prefix:
    """The number of each sequence's prefix, counted in base V."""

    code: torch.Tensor

    def select(self, rows: torch.Tensor) -> Prefix:
        return Prefix(self.code[rows])


def language(seed: int, batch: int) -> torch.Tensor:
    """log p of each unit after each prefix, for each sequence of a batch: (B, prefixes, V)."""
    generator = torch.Generator().manual_seed(seed)
    scores = 2 * torch.randn(batch, V ** (LONGEST + 1), V, generator=generator)
    scores[:, :, [UNITS.pad, UNITS.begin]] = float("-inf")
    return scores.log_softmax(2)


def stepper(table: torch.Tensor, beam: int):
    sentence = torch.arange(len(table)).repeat_interleave(beam)

    def step(latest, state):
        code = state.code * V + latest
        return table[sentence, code], Prefix(code)

    return step, Prefix(torch.zeros(len(sentence), dtype=torch.long))


def score_of(table: torch.Tensor, units: tuple[int, ...], alpha: float) -> float:
    """log p of a whole sequence over the penalty, one unit after the other."""
    code, total = UNITS.begin, 0.0
    for unit in units:
        total += table[code, unit].item()
        code = code * V + unit
    return total / ((5 + len(units)) / 6) ** alpha


def all_sequences() -> list[tuple[int, ...]]:
    """Those that end within the limit, and those that are cut by it."""
    inner = [u for u in range(V) if u not in (UNITS.pad, UNITS.begin, UNITS.end)]
    ended = [
        (*prefix, UNITS.end)
        for length in range(LONGEST)
        for prefix in itertools.product(inner, repeat=length)
    ]
    return ended + list(itertools.product(inner, repeat=LONGEST))


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_a_beam_as_wide_as_all_sequences_finds_the_best_of_them(alpha):
    table = language(seed=1, batch=40)
    width = len(all_sequences())
    step, state = stepper(table, width)
    found, scores = beam_search(step, state, torch.zeros(40), UNITS, LONGEST, width, alpha)
    for b in range(40):
        best = max(all_sequences(), key=lambda units, b=b: score_of(table[b], units, alpha))
        assert tuple(found[b].tolist()) == best + (UNITS.pad,) * (LONGEST - len(best))
        assert scores[b].item() == pytest.approx(score_of(table[b], best, alpha), abs=1e-5)


def test_a_wide_beam_finds_what_greedy_search_misses():
    table = language(seed=1, batch=50)

    def mean_score(beam):
        step, state = stepper(table, beam)
        return beam_search(step, state, torch.zeros(50), UNITS, LONGEST, beam, 0.0)[1].mean().item()

    assert mean_score(1) < mean_score(2) <= mean_score(16)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_beam_of_one_is_greedy_search(alpha):
    table = language(seed=2, batch=40)
    step, state = stepper(table, 1)
    greedy = greedy_search(step, state, torch.zeros(40), UNITS, LONGEST)
    beam, _ = beam_search(step, state, torch.zeros(40), UNITS, LONGEST, 1, alpha)
    assert torch.equal(greedy, beam)
    ends = (greedy == UNITS.end).sum(1)
    assert ends.max() == 1
    assert ends.min() == 0  # some were cut
    assert (greedy[greedy.cummax(1).values > 0] >= 0).all()


def test_the_length_penalty_is_that_of_wu_2016():
    lengths = torch.tensor([1.0, 7.0])
    expected = torch.tensor([1.0, 2.0**0.6])
    torch.testing.assert_close(length_penalty(lengths, 0.6), expected)


@pytest.mark.parametrize(("beam", "alpha", "name"), [(0, 1.0, "beam_size"), (2, -1.0, "length")])
def test_a_search_refuses_a_beam_or_penalty_out_of_range(beam, alpha, name):
    step, state = stepper(language(1, 1), 1)
    with pytest.raises(ValueError, match=f"`{name}"):
        beam_search(step, state, torch.zeros(1), UNITS, LONGEST, beam, alpha)

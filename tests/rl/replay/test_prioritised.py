from __future__ import annotations

import numpy as np
import pytest
import torch
from paceline.rl.replay.prioritised import LEAST, PrioritisedReplay, SumTree


def with_errors(errors: list[float], capacity: int, alpha: float = 1.0) -> PrioritisedReplay:
    """A buffer whose transitions have the rewards 0, 1, 2, ... and surprised so much."""
    replay, count = PrioritisedReplay(capacity, (1,), alpha=alpha), len(errors)
    at, zero = np.zeros((count, 1)), np.zeros(count)
    places = replay.add(at, zero.astype(int), np.arange(count), at, zero)
    replay.update(torch.from_numpy(places), torch.tensor(errors))
    return replay


@pytest.mark.parametrize("case", range(60))
def test_a_tree_finds_what_cumulative_sums_say(case):
    rng = np.random.default_rng(case)
    size = int(rng.integers(1, 40))
    tree, plain = SumTree(size), np.zeros(size)
    for _ in range(4):
        places = rng.integers(size, size=int(rng.integers(1, 2 * size + 1)))
        values = rng.integers(0, 9, size=len(places)).astype(float)  # exact sums; zeros among them
        tree.set(places, values)
        for place, value in zip(places, values, strict=True):  # of one named twice the last stands
            plain[place] = value
        assert tree.total == plain.sum()
        np.testing.assert_array_equal(tree.get(np.arange(size)), plain)
        if plain.sum():
            sums = np.concatenate((rng.random(50) * plain.sum(), np.arange(plain.sum())))
            expected = np.searchsorted(np.cumsum(plain), sums, side="right")
            np.testing.assert_array_equal(tree.find(sums), expected)


def test_rounding_beyond_the_total_finds_the_last_number_and_never_an_empty_place():
    for size in (1, 3, 5, 8, 13):
        for last in range(1, size + 1):
            tree = SumTree(size)
            tree.set(np.arange(last), np.full(last, 0.1))
            beyond = np.array([tree.total, np.nextafter(tree.total, 9), tree.total * 1.01])
            assert (tree.find(beyond) == last - 1).all()


def test_transitions_are_drawn_in_proportion_to_their_priority():
    errors = [0.5, 0.0, 3.0, 1.0, 2.0, 0.25, 1.5]
    replay = with_errors(errors, capacity=11, alpha=0.6)
    chance, counts = torch.Generator().manual_seed(0), np.zeros(7)
    for _ in range(500):
        counts += np.bincount(replay.draw(100, 1.0, chance)[1].numpy(), minlength=7)
    share = (np.array(errors) + LEAST) ** 0.6
    share /= share.sum()
    # Five standard deviations of a binomial, which spreads more than stratified draws do: with
    # another seed, less than once in 200,000 times.
    assert (abs(counts - 50_000 * share) < 5 * np.sqrt(50_000 * share) + 1).all()


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_weights_are_those_of_the_formula(beta):
    errors = np.array([0.5, 4.0, 1.0, 2.0])
    replay = with_errors(errors.tolist(), capacity=6)
    batch, places, weights = replay.draw(32, beta, torch.Generator().manual_seed(1))
    chances = (errors + LEAST) / (errors + LEAST).sum()
    expected = (4 * chances[places.numpy()]) ** -beta
    np.testing.assert_allclose(weights.numpy(), expected / expected.max(), rtol=0, atol=1e-6)
    assert torch.equal(batch.rewards.long(), places)


def test_a_new_transition_has_the_largest_priority_so_far():
    replay = with_errors([0.5, 7.0], capacity=4)
    one, zero = np.zeros((1, 1)), np.zeros(1)
    (place,) = replay.add(one, zero.astype(int), zero, one, zero)
    assert replay.tree.get(np.array([place])) == pytest.approx(7 + LEAST)
    replay.update(torch.tensor([0, 1, 2]), torch.tensor([-0.5, 0.5, 0.5]))
    (place,) = replay.add(one, zero.astype(int), zero, one, zero)
    assert replay.tree.get(np.array([place])) == pytest.approx(7 + LEAST)


def test_one_transition_alone_is_drawn_with_weight_one():
    for capacity in (1, 2, 7):
        replay = with_errors([0.3], capacity)
        _, places, weights = replay.draw(5, 0.7, torch.Generator().manual_seed(0))
        assert places.tolist() == [0] * 5
        assert weights.tolist() == [1.0] * 5


def test_a_restored_buffer_draws_what_the_other_draws():
    replay = with_errors((9 * np.random.default_rng(0).random(9)).tolist(), capacity=9)
    other = PrioritisedReplay(9, (1,), alpha=1.0)
    other.load_state_dict(replay.state_dict())
    draws = [r.draw(64, 0.5, torch.Generator().manual_seed(3)) for r in (replay, other)]
    assert torch.equal(draws[0][1], draws[1][1])
    assert torch.equal(draws[0][2], draws[1][2])
    assert other._largest == replay._largest


def test_an_exponent_out_of_range_is_named():
    with pytest.raises(ValueError, match=r"`priority_exponent` must be in \[0, 1\]"):
        PrioritisedReplay(4, (1,), alpha=1.5)

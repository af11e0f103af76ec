from __future__ import annotations

import numpy as np
import pytest
from paceline.rl.exploration import Schedule, explorer

VALUES = np.tile([0.0, 1.0, 0.5], (60_000, 1))


def shares(kind: str, start: float) -> np.ndarray:
    """How often each of three actions is chosen at step 0."""
    choose = explorer(kind, start, start, 1)
    return np.bincount(choose(VALUES, 0, np.random.default_rng(0)), minlength=3) / len(VALUES)


def test_a_schedule_is_a_ramp_and_then_flat():
    schedule = Schedule(1.0, 0.1, 10)
    assert [schedule(s) for s in (0, 5, 10, 99)] == pytest.approx([1.0, 0.55, 0.1, 0.1])


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_epsilon_greedy_tries_any_action_with_probability_epsilon(epsilon):
    expected = np.array([0, 1 - epsilon, 0]) + epsilon / 3
    # Five standard deviations at most; with another seed, once in 500,000 times.
    np.testing.assert_allclose(shares("epsilon_greedy", epsilon), expected, rtol=0, atol=0.0102)


@pytest.mark.parametrize("temperature", [0.25, 1.0, 10.0])
def test_boltzmann_draws_from_the_soft_max(temperature):
    expected = np.exp(VALUES[0] / temperature)
    expected /= expected.sum()
    np.testing.assert_allclose(shares("boltzmann", temperature), expected, rtol=0, atol=0.0102)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("greedy", 1, 0, 1), "`exploration` must be one of epsilon_greedy, boltzmann"),
        (("epsilon_greedy", 1.5, 0, 1), r"`exploration_start` must be in \[0, 1\]"),
        (("epsilon_greedy", 1, -0.1, 1), r"`exploration_end` must be in \[0, 1\]"),
        (("boltzmann", 1, 0, 1), "`exploration_end` must be above 0"),
        (("boltzmann", 1, 1, 0), "`exploration_steps` must be at least 1"),
    ],
)
def test_what_is_out_of_range_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        explorer(*arguments)

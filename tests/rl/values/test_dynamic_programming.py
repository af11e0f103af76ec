from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from paceline.rl.environments import GridWorld, Identity, RandomWalk
from paceline.rl.values.dynamic_programming import (
    action_values,
    best_return,
    greedy_policy,
    optimal_values,
    policy_values,
    return_of,
    uniform_policy,
)
from paceline.rl.values.tables import Table, table_of


def test_values_of_the_walk_lie_on_a_line():
    values = policy_values(RandomWalk().table, uniform_policy(RandomWalk().table), 1.0)
    np.testing.assert_allclose(values[1:-1], np.arange(-9, 10) / 10, atol=1e-12)
    assert values[0] == values[-1] == 0


def test_values_of_a_policy_are_what_its_returns_are_on_average():
    table = RandomWalk(5).table
    values = policy_values(table, uniform_policy(table), 0.9)
    expected = np.zeros(7)
    for _ in range(2000):  # the Bellman equation as an update, written out
        expected = np.array(
            [0.0]
            + [
                0.5 * (-1 if s == 1 else 0.9 * expected[s - 1])
                + 0.5 * (1 if s == 5 else 0.9 * expected[s + 1])
                for s in range(1, 6)
            ]
            + [0.0]
        )
    np.testing.assert_allclose(values, expected, atol=1e-12)


def test_optimal_values_of_the_maze_count_the_steps_of_the_shortest_way():
    grid = GridWorld()
    values = optimal_values(grid.table, 1.0)
    distance = {8: 0}  # breadth first from the goal, over cells that are no wall
    queue = [8]
    for place in queue:
        row, column = divmod(place, 9)
        for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            inside = 0 <= r < 6 and 0 <= c < 9
            if inside and grid.cells[r, c] != "#" and r * 9 + c not in distance:
                distance[r * 9 + c] = distance[place] + 1
                queue.append(r * 9 + c)
    assert {s: -values[s] for s in distance} == distance
    assert values[18] == -14  # the start, as the data sheet says


def test_optimal_values_satisfy_bellmans_equation_where_moves_slip():
    table = GridWorld(slip=0.3).table
    values = optimal_values(table, 0.95)
    best = action_values(table, values, 0.95).max(1)
    np.testing.assert_allclose(values[table.lived], best[table.lived], atol=1e-8)
    chosen = policy_values(table, greedy_policy(action_values(table, values, 0.95)), 0.95)
    np.testing.assert_allclose(values, chosen, atol=1e-8)


def test_the_slippery_lake_is_crossed_in_three_of_four_tries_at_best():
    table = table_of(gymnasium.make("FrozenLake-v1", is_slippery=True))
    assert best_return(table, 100) == pytest.approx(0.744, abs=0.0005)
    # A policy that is in some hurry does nearly as well without looking at the steps left.
    policy = greedy_policy(action_values(table, optimal_values(table, 0.99), 0.99))
    assert 0.7 < return_of(table, policy, 100) <= best_return(table, 100)
    assert optimal_values(table, 1.0)[0] == pytest.approx(14 / 17, abs=1e-6)


def test_the_lake_as_a_table_is_the_lake():
    environment = gymnasium.make("FrozenLake-v1", is_slippery=False, map_name="8x8")
    table, inner = table_of(environment), environment.unwrapped
    assert table.shape == (8, 8)
    for state in np.flatnonzero(table.lived):
        for action in range(4):
            environment.reset(seed=1)
            inner.s = int(state)
            after, reward, terminated, *_ = inner.step(action)
            assert table.transitions[state, action, after] == 1
            assert table.rewards[state, action, after] == reward
            assert table.terminal[after] == terminated


def test_identity_is_worth_a_reward_each_step():
    table = Identity(4).table
    np.testing.assert_allclose(optimal_values(table, 0.9), 10.0, atol=1e-8)
    assert best_return(table, 100) == pytest.approx(100)
    assert return_of(table, uniform_policy(table), 100) == pytest.approx(25)


def test_endless_gains_and_endless_walks_want_a_discount():
    with pytest.raises(ValueError, match="`discount` must be below 1 where the best policy"):
        optimal_values(Identity(2).table, 1.0)
    with pytest.raises(ValueError, match="`discount` must be below 1 where the policy may go on"):
        policy_values(Identity(2).table, uniform_policy(Identity(2).table), 1.0)
    with pytest.raises(ValueError, match=r"`discount` must be in \[0, 1\]"):
        optimal_values(Identity(2).table, 1.1)


def test_probabilities_that_do_not_sum_to_one_are_refused():
    table = Identity(2).table
    with pytest.raises(ValueError, match="`transitions` must be probabilities"):
        Table(
            table.transitions / 2,
            table.rewards,
            table.start,
            table.terminal,
            table.coordinates,
            table.shape,
        )

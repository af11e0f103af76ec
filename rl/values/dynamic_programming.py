"""True values from tables: what learning by acting ought to find.

Sutton and Barto 2018, chapters 3.5 and 4: the Bellman equations, solved. Values of a policy are a
linear system; optimal values come by value iteration; with a limit on the steps that are left, by
going backwards from the end. Everything in float64.
S states, A actions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...lightning_modules.blocks.checks import require
from .tables import Table


def uniform_policy(table: Table) -> NDArray:
    """Every action equally likely, (S, A)."""
    return np.full((table.num_states, table.num_actions), 1 / table.num_actions)


def policy_values(table: Table, policy: NDArray, discount: float) -> NDArray:
    """Values of a policy, (S,): v = r + gamma P v, solved; 0 where nothing is ever chosen.

    Args:
        table: The task.
        policy: Probability of each action (S, A).
        discount: gamma, in [0, 1].

    Raises:
        ValueError: If gamma is outside its range, or 1 under a policy that need not end.
    """
    _check_discount(discount)
    lived = table.lived
    chosen = np.einsum("sa,sat->st", policy, table.transitions)[np.ix_(lived, lived)]
    rewards = (policy * table.expected_rewards).sum(1)[lived]
    if discount == 1:
        # What is left after S steps of all ways from a state: all of it, if none leads to an end.
        left = np.linalg.matrix_power(chosen, max(table.num_states, 1)).sum(1)
        rule = "below 1 where the policy may go on for ever"
        require(bool((left < 1 - 1e-12).all()), "discount", rule, discount)
    values = np.zeros(table.num_states)
    values[lived] = np.linalg.solve(np.eye(len(chosen)) - discount * chosen, rewards)
    return values


def action_values(table: Table, values: NDArray, discount: float) -> NDArray:
    """q(s, a) = r(s, a) + gamma sum over s' of p(s' | s, a) v(s'), (S, A)."""
    return table.expected_rewards + discount * table.transitions @ values


def optimal_values(table: Table, discount: float, tolerance: float = 1e-10) -> NDArray:
    """Values of the best policy, (S,), by value iteration; 0 where nothing is ever chosen.

    Args:
        table: The task.
        discount: gamma, in [0, 1].
        tolerance: Largest change of the last sweep.

    Raises:
        ValueError: If gamma is outside its range, or 1 and the best rewards have no end.
    """
    _check_discount(discount)
    values = np.zeros(table.num_states)
    for _ in range(100_000):
        better = action_values(table, values, discount).max(1) * table.lived
        change, values = np.abs(better - values).max(), better
        if change <= tolerance:
            return values
    rule = "below 1 where the best policy gains for ever"
    require(False, "discount", rule, discount)
    raise AssertionError


def greedy_policy(values: NDArray) -> NDArray:
    """All weight on the best action of q (S, A), shared among equals, (S, A)."""
    best = np.isclose(values, values.max(1, keepdims=True), rtol=0, atol=1e-9)
    return best / best.sum(1, keepdims=True)


def best_return(table: Table, num_steps: int) -> float:
    """Highest mean of the undiscounted return from the start with a limit on the steps.

    The policy may look at the steps that are left, so that no other does better.

    Args:
        table: The task.
        num_steps: When an episode is truncated, at least 0.
    """
    require(num_steps >= 0, "num_steps", "at least 0", num_steps)
    values = np.zeros(table.num_states)
    for _ in range(num_steps):
        values = action_values(table, values, 1.0).max(1) * ~table.terminal
    return float(table.start @ values)


def return_of(table: Table, policy: NDArray, num_steps: int) -> float:
    """Mean undiscounted return of a policy (S, A) from the start, truncated after some steps."""
    values = np.zeros(table.num_states)
    for _ in range(num_steps):
        values = (policy * action_values(table, values, 1.0)).sum(1) * ~table.terminal
    return float(table.start @ values)


def _check_discount(discount: float) -> None:
    require(0 <= discount <= 1, "discount", "in [0, 1]", discount)

"""Small environments whose true values are known, registered with Gymnasium on import.

`gymnasium.make("paceline.rl.environments:GridWorld-v0")` makes one. They are told as tables
(`tables.py`), so that dynamic programming says what learning ought to find.
Deck, slides "Reinforcement learning"; Sutton and Barto 2018, examples 6.2, 8.1 and 9.1.
S states, A actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import register
from numpy.typing import NDArray

from ..lightning_modules.blocks.checks import require, require_one_of
from .values.table_environment import Several, TableEnvironment
from .values.tables import Table, grid_coordinates

# The maze of Sutton and Barto 2018, example 8.1: 14 steps are the shortest way.
DYNA_MAZE = (
    ".......#G",
    "..#....#.",
    "S.#....#.",
    "..#......",
    ".....#...",
    ".........",
)
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # up, right, down, left
PIXELS = 24  # side of a drawn cell
COLOURS = {".": (245, 245, 245), "#": (70, 70, 70), "S": (190, 215, 245), "G": (150, 220, 150)}
AGENT = (220, 80, 60)


class Identity(TableEnvironment):
    """Say which of n states is shown; the least that an agent must be able to learn.

    | observation | meaning | min | max |
    |---|---|---|---|
    | i, from 0 to n - 1 | 1 if state i is shown, else 0 | 0 | 1 |

    Actions: 0 to n - 1. Reward: 1 for the action that is the state's number, else 0. The next state
    is drawn anew, whatever was done. An episode never terminates; it is truncated after 100 steps
    (`max_episode_steps`), so that 100 is the highest return and 100 / n what guessing gets.

    Args:
        num_states: n, at least 2.

    Raises:
        ValueError: If there are fewer states.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (Gymnasium reads it from the class)

    def __init__(self, num_states: int = 4):
        require(num_states >= 2, "num_states", "at least 2", num_states)
        uniform = np.full((num_states, num_states, num_states), 1 / num_states)
        rewards = np.repeat(np.eye(num_states)[:, :, None], num_states, 2)  # (S, A, S)
        start, terminal = uniform[0, 0], np.zeros(num_states, bool)
        shape = (num_states,)
        table = Table(uniform, rewards, start, terminal, grid_coordinates(shape), shape)
        super().__init__(table, one_hot=True)


class RandomWalk(TableEnvironment):
    """A row of states between two ends, -1 on the left and +1 on the right.

    | observation | meaning | min | max |
    |---|---|---|---|
    | i, from 0 to n + 1 | 1 if at place i, else 0; 0 and n + 1 are the ends | 0 | 1 |

    Actions: 0 left, 1 right; how far is drawn from 1 to `longest_jump`. Reward: -1 for arriving at
    the left end, +1 at the right end, else 0. An episode begins in the middle and terminates at an
    end. With 19 states and jumps of 1 this is the walk of Sutton and Barto 2018, example 7.1, if
    both actions are equally likely; with 1000 and jumps of up to 100 it is that of example 9.1.

    Args:
        num_states: n, at least 1; between the ends.
        longest_jump: At least 1.

    Raises:
        ValueError: If an argument is outside its range.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (Gymnasium reads it from the class)

    def __init__(self, num_states: int = 19, longest_jump: int = 1):
        require(num_states >= 1, "num_states", "at least 1", num_states)
        require(longest_jump >= 1, "longest_jump", "at least 1", longest_jump)
        right, places = num_states + 1, num_states + 2
        transitions, rewards = (np.zeros((places, 2, places)) for _ in range(2))
        for state in range(1, right):
            for jump in range(1, longest_jump + 1):
                transitions[state, 0, max(state - jump, 0)] += 1 / longest_jump
                transitions[state, 1, min(state + jump, right)] += 1 / longest_jump
        terminal = np.isin(np.arange(places), (0, right))
        transitions[0, :, 0] = transitions[right, :, right] = 1.0
        rewards[1:right, :, 0], rewards[1:right, :, right] = -1.0, 1.0
        start = np.zeros(places)
        start[places // 2 if num_states % 2 else num_states // 2] = 1.0
        shape = (places,)
        table = Table(transitions, rewards, start, terminal, grid_coordinates(shape), shape)
        super().__init__(table, one_hot=True)


class GridWorld(TableEnvironment):
    """Find the way from S to G on a map with walls.

    | observation | meaning | min | max |
    |---|---|---|---|
    | a number | row x columns + column of the cell, counted from 0 | 0 | rows x columns - 1 |

    Actions: 0 up, 1 right, 2 down, 3 left; into a wall or off the map nothing moves. With
    probability `slip` the move goes to one of the two sides instead. Reward: `step_reward` for each
    move, and `goal_reward` more for arriving at G. An episode begins in S (one of them, if there
    are several), terminates at G, and is truncated after 2000 steps (`max_episode_steps`).
    On the map that stands here, without slipping, the highest return is -14.

    Args:
        grid: Rows of equal length; `S` start, `G` goal, `#` wall, `.` free. Default: the maze of
            Sutton and Barto 2018, example 8.1.
        step_reward: Of each move.
        goal_reward: Of the last one, on top.
        slip: Probability in [0, 1].
        render_mode: `rgb_array`: `render` draws the map, (rows x 24, columns x 24, 3) bytes.

    Raises:
        ValueError: If the grid is no map, or an argument is outside its range.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 (as above)

    def __init__(
        self,
        grid: Sequence[str] | None = None,
        step_reward: float = -1.0,
        goal_reward: float = 0.0,
        slip: float = 0.0,
        render_mode: str | None = None,
    ):
        rows = list(DYNA_MAZE if grid is None else grid)
        _check_map(rows)
        require(0 <= slip <= 1, "slip", "in [0, 1]", slip)
        if render_mode is not None:
            require_one_of("render_mode", render_mode, self.metadata["render_modes"])
        self.render_mode, self.cells = render_mode, np.array([list(row) for row in rows])
        start = (self.cells == "S").ravel().astype(float)
        goal = (self.cells == "G").ravel()
        transitions = _moves(self.cells, slip)
        rewards = np.full(transitions.shape, step_reward)
        rewards[:, :, goal] += goal_reward
        rewards[goal] = 0.0
        shape = self.cells.shape
        start /= start.sum()
        table = Table(transitions, rewards, start, goal, grid_coordinates(shape), shape)
        super().__init__(table, one_hot=False)

    def render(self) -> Any:
        """The map with the agent on it; None without a render mode."""
        if self.render_mode is None:
            return None
        picture = np.zeros((*self.cells.shape, PIXELS, PIXELS, 3), np.uint8)
        for symbol, colour in COLOURS.items():
            picture[self.cells == symbol] = colour
        picture[:, :, 0] = picture[:, :, :, 0] = 200  # lines between the cells
        inner = slice(PIXELS // 4, -PIXELS // 4)
        picture[(*divmod(self.state, self.cells.shape[1]), inner, inner)] = AGENT
        height, width = self.cells.shape
        return picture.swapaxes(1, 2).reshape(height * PIXELS, width * PIXELS, 3)  # (H, W, 3)


def _check_map(rows: list[str]) -> None:
    fits = len(rows) > 0 and len(rows[0]) > 0 and all(len(row) == len(rows[0]) for row in rows)
    require(fits, "grid", "rows of equal length", rows)
    unknown = sorted(set("".join(rows)) - set(COLOURS))
    require(not unknown, "grid", f"made of {' '.join(COLOURS)}", "".join(unknown))
    for symbol in "SG":
        require(symbol in "".join(rows), "grid", f"a map with at least one {symbol}", rows)


def _moves(cells: NDArray, slip: float) -> NDArray:
    """P (S, A, S) of a map."""
    height, width = cells.shape
    moves = np.zeros((cells.size, len(MOVES), cells.size))
    for place in range(cells.size):
        row, column = divmod(place, width)
        for action, (down, right) in enumerate(MOVES):
            to_row, to_column = row + down, column + right
            inside = 0 <= to_row < height and 0 <= to_column < width
            free = inside and cells[to_row, to_column] != "#"
            stays = not free or cells[row, column] in "#G"
            moves[place, action, place if stays else to_row * width + to_column] = 1.0
    sides = (np.roll(moves, 1, axis=1) + np.roll(moves, -1, axis=1)) / 2
    return (1 - slip) * moves + slip * sides


for _name, _class, _limit in (
    ("Identity-v0", Identity, 100),
    ("RandomWalk-v0", RandomWalk, None),
    ("GridWorld-v0", GridWorld, 2000),
):
    register(
        _name,
        entry_point=f"{__name__}:{_class.__name__}",
        vector_entry_point=Several(_class),
        max_episode_steps=_limit,
    )

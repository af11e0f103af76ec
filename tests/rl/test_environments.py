from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from paceline.rl.environments import DYNA_MAZE, GridWorld, Identity, RandomWalk
from paceline.rl.playing.acting import Environments
from paceline.rl.playing.making import Maker
from paceline.rl.values.tables import draw_next, table_of

IDS = ("Identity-v0", "RandomWalk-v0", "GridWorld-v0")


@pytest.mark.parametrize("name", IDS)
def test_environments_pass_gymnasiums_check(name):
    mode = "rgb_array" if name == "GridWorld-v0" else None
    options = {"render_mode": mode} if mode else {}
    check_env(gymnasium.make(f"paceline.rl.environments:{name}", **options).unwrapped)


@pytest.mark.parametrize("name", IDS)
def test_names_alone_are_known_to_the_maker(name):
    assert table_of(Maker(name).one()).num_actions >= 2


@pytest.mark.parametrize("name", IDS)
def test_same_seed_gives_the_same_episodes(name):
    def live() -> list:
        environment = gymnasium.make(f"paceline.rl.environments:{name}")
        seen: list = [environment.reset(seed=3)[0]]
        chance = np.random.default_rng(0)
        for _ in range(30):
            observation, reward, terminated, truncated, _ = environment.step(chance.integers(2))
            seen += [observation, reward, terminated, truncated]
            if terminated or truncated:
                break
        return seen

    np.testing.assert_equal(live(), live())


@pytest.mark.parametrize("name", IDS)
def test_copies_side_by_side_live_by_the_same_table_as_one(name):
    vector = Maker(name).several(50)
    table = table_of(Maker(name).one())
    assert vector.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    environments = Environments(vector, seed=1)
    chance = np.random.default_rng(0)
    ended = 0
    for _ in range(200):
        steps = environments.step(chance.integers(table.num_actions, size=50))
        one_hot = steps.observations.ndim == 2
        before, after = (
            told.argmax(1) if one_hot else told
            for told in (steps.observations, steps.next_observations)
        )
        assert (table.transitions[before, steps.actions, after] > 0).all()
        np.testing.assert_array_equal(steps.rewards, table.rewards[before, steps.actions, after])
        np.testing.assert_array_equal(steps.terminated, table.terminal[after])
        begun = environments.observations[steps.ended]
        assert (table.start[begun.argmax(1) if one_hot else begun] > 0).all()
        ended += steps.ended.sum()
    assert ended >= (0 if name == "GridWorld-v0" else 50)


def test_copies_are_truncated_at_the_limit_and_begin_to_count_anew():
    environments = Environments(Maker("Identity-v0", {"max_episode_steps": 7}).several(3), seed=1)
    ends = [environments.step(np.zeros(3, int)).truncated.all() for _ in range(21)]
    assert np.flatnonzero(ends).tolist() == [6, 13, 20]
    assert [length for _, length in environments.episodes] == [7] * 9


def test_one_environment_is_truncated_at_the_limit_of_its_registration():
    environment = gymnasium.make("paceline.rl.environments:Identity-v0")
    environment.reset(seed=1)
    assert [environment.step(0)[3] for _ in range(100)] == [False] * 99 + [True]


def test_identity_rewards_the_action_that_is_the_state():
    environment = Identity(5)
    observation, _ = environment.reset(seed=2)
    shown = set()
    for _ in range(100):
        state = int(observation.argmax())
        shown.add(state)
        action = state if len(shown) % 2 else (state + 1) % 5
        observation, reward, *_ = environment.step(action)
        assert reward == float(action == state)
    assert shown == set(range(5))  # one is missed with probability below 1e-8


def test_the_walk_ends_left_with_minus_one_and_right_with_one():
    for action, reward, last in ((0, -1.0, 0), (1, 1.0, 20)):
        walk = RandomWalk()
        walk.reset(seed=1)
        assert walk.state == 10
        steps = [walk.step(action) for _ in range(10)]
        assert [step[1] for step in steps] == [0.0] * 9 + [reward]
        assert [step[2] for step in steps] == [False] * 9 + [True]
        assert walk.state == last


def test_the_start_of_the_long_walk_is_in_the_middle():
    assert RandomWalk(1000, 100).table.start.argmax() == 500


def test_the_grid_moves_stays_at_walls_and_ends_at_the_goal():
    grid = GridWorld(["S#", ".G"], step_reward=-1.0, goal_reward=5.0)
    grid.reset(seed=1)
    moves = [(1, 0, -1.0, False), (0, 0, -1.0, False), (2, 2, -1.0, False), (1, 3, 4.0, True)]
    for action, state, reward, terminated in moves:
        _, got, ended, truncated, _ = grid.step(action)
        assert (grid.state, got, ended, truncated) == (state, reward, terminated, False)


def test_a_slip_goes_to_each_side_half_as_often():
    grid = GridWorld(["...", ".S.", "..G"], slip=0.2)
    draws = np.random.default_rng(0).random(100_000)
    ones = np.ones(100_000, int)
    after = draw_next(grid.table, 4 * ones, 0 * ones, draws)
    shares = np.bincount(after, minlength=9) / 100_000
    # The largest standard deviation is 0.0013: a false alarm has odds of about 1e-4.
    np.testing.assert_allclose(shares, [0, 0.8, 0, 0.1, 0, 0.1, 0, 0, 0], atol=0.005)


def test_the_grid_is_drawn_with_the_agent_where_it_is():
    environment = GridWorld(render_mode="rgb_array")
    environment.reset(seed=1)
    before = environment.render()
    environment.step(2)
    after = environment.render()
    assert before.shape == after.shape == (6 * 24, 9 * 24, 3)
    rows, columns = np.nonzero((before != after).any(2))
    assert (set(rows // 24), set(columns // 24)) == ({2, 3}, {0})


def test_walls_and_ends_are_no_states_in_which_one_acts():
    table = GridWorld().table
    cells = np.array([list(row) for row in DYNA_MAZE]).ravel()
    np.testing.assert_array_equal(table.lived, np.isin(cells, list(".S")))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GridWorld(["S.", "G"]), "`grid` must be rows of equal length"),
        (lambda: GridWorld(["S.x", "..G"]), "`grid` must be made of"),
        (lambda: GridWorld(["S..", "..."]), "`grid` must be a map with at least one G"),
        (lambda: GridWorld(slip=1.5), r"`slip` must be in \[0, 1\]"),
        (lambda: GridWorld(render_mode="human"), "`render_mode` must be one of rgb_array"),
        (lambda: RandomWalk(0), "`num_states` must be at least 1"),
        (lambda: Identity(1), "`num_states` must be at least 2"),
        (lambda: Identity().step(4), "`action` must be from 0 to 3"),
        (lambda: table_of(gymnasium.make("CartPole-v1")), "`environment` must be one whose"),
    ],
)
def test_what_is_wrong_is_told(make, message):
    with pytest.raises(ValueError, match=message):
        make()

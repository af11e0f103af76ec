from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from paceline.rl.environments import GridWorld, RandomWalk
from paceline.rl.playing.acting import Steps
from paceline.rl.value import ValueFunction
from paceline.rl.values.control import ActionValueFunction, epsilon_greedy
from paceline.rl.values.dynamic_programming import optimal_values
from paceline.rl.values.episodes import WholeEpisodes
from paceline.rl.values.features import ValueNetwork, state_features
from pytorch_lightning.callbacks import ModelCheckpoint

pytestmark = [
    # The loaders' workers would only cost time here; Lightning advises them all the same.
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    # A run that is resumed here keeps no checkpoint of its own.
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
]

WALK = {"environment": "RandomWalk-v0"}
SMALL = {"environment": "RandomWalk-v0", "environment_options": {"num_states": 5}}


def trained(model: Any, lr: float, max_steps: int, ckpt_path: str | None = None, **kwargs) -> Any:
    model.configure_optimizers = lambda: torch.optim.SGD(model.parameters(), lr)
    callbacks = kwargs.pop("callbacks", [])
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=max_steps,
        max_epochs=-1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=bool(callbacks),
        callbacks=callbacks,
        num_sanity_val_steps=0,
        **kwargs,
    )
    trainer.fit(model, ckpt_path=ckpt_path, weights_only=True)
    return model


def steps_of(states, rewards, after, terminated, truncated=None) -> Steps:
    """One step of some environments, from lists."""
    none = np.zeros(len(states), bool)
    return Steps(
        np.array(states),
        np.zeros(len(states), np.int64),
        np.array(rewards, float),
        np.array(after),
        np.array(terminated, bool),
        none if truncated is None else np.array(truncated, bool),
        ~none,
    )


def test_features_are_those_of_the_book():
    table = RandomWalk(9).table  # places 0, 0.1, ..., 1
    x = np.linspace(0, 1, 11)
    kinds: list[tuple[Any, Any]] = [
        ("polynomial", np.stack([x**k for k in range(4)], 1)),
        ("fourier", np.stack([np.cos(np.pi * k * x) for k in range(4)], 1)),
    ]
    for kind, expected in kinds:
        np.testing.assert_allclose(state_features(table, kind, 3), expected, atol=1e-6)
    grid = GridWorld(["S..", "..G"]).table
    fourier = state_features(grid, "fourier", 1)
    np.testing.assert_allclose(fourier[5], [1, -1, -1, 1], atol=1e-6)  # row 1, column 1
    assert torch.equal(state_features(table, "one_hot", 1), torch.eye(11))


def test_aggregation_puts_neighbours_into_one_group():
    groups = state_features(RandomWalk(1000, 100).table, "aggregation", 10)
    assert groups.shape == (1002, 10)
    assert (groups.sum(1) == 1).all()
    number = groups.argmax(1)
    assert (number.diff() >= 0).all()
    assert set(groups.sum(0).tolist()) <= {100.0, 101.0}
    grid = state_features(GridWorld().table, "aggregation", 3)
    assert grid.shape == (54, 9)
    assert (grid.sum(0) == 6).all()


def test_whole_episodes_are_returns_of_each_environment():
    episodes = WholeEpisodes(0.5, 2)
    assert len(episodes.push(steps_of([1, 5], [1, 0], [2, 6], [False, False]))[0]) == 0
    found = episodes.push(steps_of([2, 6], [4, 8], [3, 7], [True, False]))
    np.testing.assert_allclose(found[0], [1, 2])
    np.testing.assert_allclose(found[2], [1 + 0.5 * 4, 4])
    np.testing.assert_allclose(found[4], [0, 0])
    found = episodes.push(steps_of([1, 7], [0, 2], [2, 9], [False, False], [False, True]))
    np.testing.assert_allclose(found[0], [5, 6, 7])
    np.testing.assert_allclose(found[2], [0 + 0.5 * 8 + 0.25 * 2, 8 + 0.5 * 2, 2])
    np.testing.assert_allclose(found[3], [9, 9, 9])  # what came after the time was up
    np.testing.assert_allclose(found[4], [0.125, 0.25, 0.5])


def test_long_episodes_are_kept_whole_and_survive_being_saved():
    episodes, later = WholeEpisodes(1.0, 2), WholeEpisodes(1.0, 2)
    for number in range(1000):
        episodes.push(steps_of([number, 0], [1, 0], [number + 1, 0], [False, False]))
    later.load_state_dict(episodes.state_dict())
    for kept in (episodes, later):
        found = kept.push(steps_of([1000, 0], [1, 0], [0, 0], [True, False]))
        np.testing.assert_allclose(found[0], np.arange(1001))
        np.testing.assert_allclose(found[2], np.arange(1001, 0, -1))


@pytest.mark.parametrize(("method", "n_step"), [("td", 1), ("td", 4), ("monte_carlo", 1)])
def test_updates_are_those_of_the_books_algorithms(method, n_step):
    pl.seed_everything(1, verbose=False)
    model = ValueFunction(**SMALL, method=method, n_step=n_step, discount=0.9, epoch_steps=100)
    seen: list[Steps] = []
    learn = model._learn
    model._learn = lambda steps: (seen.append(steps), learn(steps))[1]
    trained(model, 0.1, 200)
    # The tables of sections 5.1, 6.1 and 7.1, written out; an episode's updates in its order.
    v = np.zeros(7)
    steps, start = 10**9 if method == "monte_carlo" else n_step, 0

    def update(first: int, end: int) -> tuple[int, float]:
        rewards = [float(s.rewards[0]) for s in seen[first:end]]
        target = sum(0.9**k * r for k, r in enumerate(rewards))
        if not seen[end - 1].terminated[0]:
            target += 0.9 ** (end - first) * v[seen[end - 1].next_observations[0]]
        return int(seen[first].observations[0]), target

    for now, step in enumerate(seen, 1):
        due = [now - steps] if now - steps >= start else []
        if step.terminated[0]:
            due, start = list(range(max(start, now - steps), now)), now
        changes = [update(first, now) for first in due]
        before = v.copy()
        for state, target in changes:  # those that are due together start from the same values
            v[state] += 0.1 * (target - before[state])
    assert any(step.terminated[0] for step in seen)
    np.testing.assert_allclose(model.state_values()[:, 0], v, atol=1e-5)


@pytest.mark.parametrize(("method", "n_step"), [("td", 1), ("td", 4), ("monte_carlo", 1)])
def test_linear_values_of_the_walk_come_near_to_the_truth(method, n_step):
    pl.seed_everything(1, verbose=False)
    settings = {"num_environments": 8, "chunk_steps": 400, "epoch_steps": 2000}
    model = ValueFunction(**WALK, method=method, n_step=n_step, **settings)
    lr, most = (0.04, 0.2) if method == "monte_carlo" else (0.4, 0.12)  # returns vary more
    trained(model, lr, 40_000)
    assert model.history[0] == [0.0, pytest.approx(np.sqrt(0.3))]  # all values zero
    assert model.history[-1][0] == 40_000
    assert model.rms_error() < most


@pytest.mark.long
def test_sarsa_and_q_learning_find_the_shortest_way():
    for method in ("sarsa", "q_learning"):
        pl.seed_everything(1, verbose=False)
        model = ActionValueFunction(method=method, num_environments=4)
        trained(model, 1.0, 20_000)  # alpha is lr / N
        assert model.trainer.callback_metrics["eval/return"] == -14
        start = optimal_values(model.table, 1.0)[18]
        learned = model.state_values().max(1)[18]
        # SARSA expects to be led astray by exploring, Q-learning does not.
        assert learned == pytest.approx(start, abs=0.1) if method == "q_learning" else learned < -15


def test_epsilon_greedy_takes_the_best_and_draws_among_equals():
    chance = np.random.default_rng(0)
    values = np.tile([0.0, 2.0, 2.0, 1.0], (40_000, 1))
    for epsilon in (0.0, 0.4):
        shares = np.bincount(epsilon_greedy(values, epsilon, chance), minlength=4) / 40_000
        expected = epsilon / 4 + (1 - epsilon) * np.array([0, 0.5, 0.5, 0])
        # Four standard deviations at most: a false alarm has odds of about 1e-3.
        np.testing.assert_allclose(shares, expected, atol=0.01)


# A checkpoint between two batches holds what came after the update, as it should here.
@pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")
@pytest.mark.filterwarnings("ignore:Checkpoint directory")  # all runs keep theirs in one folder
@pytest.mark.parametrize("at", ["between-step=1000", "within-step=1300"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: ValueFunction(**WALK, method="monte_carlo", num_environments=2),
        lambda: ValueFunction(**WALK, n_step=5, hidden_sizes=[8], features="fourier"),
        lambda: ActionValueFunction(method="sarsa", environment_options={"slip": 0.1}),
        lambda: ActionValueFunction("FrozenLake-v1", num_environments=2, discount=0.9),
    ],
)
def test_a_resumed_run_equals_the_uninterrupted_one_at_and_between_the_ends_of_epochs(
    make, at, tmp_path
):
    def run(max_steps: int, ckpt_path: str | None = None, callbacks: Any = ()) -> Any:
        pl.seed_everything(3, verbose=False)
        return trained(make(), 0.05, max_steps, ckpt_path, callbacks=list(callbacks))

    within = ModelCheckpoint(tmp_path, "within-{step}", every_n_train_steps=1, save_top_k=-1)
    between = ModelCheckpoint(tmp_path, "between-{step}", save_top_k=-1)  # after each validation
    whole = run(2000, callbacks=[within, between])
    resumed = run(2000, str(tmp_path / f"{at}.ckpt"))
    assert resumed.env_steps == resumed.trainer.global_step == whole.env_steps == 2000
    np.testing.assert_array_equal(whole.state_values(), resumed.state_values())
    assert whole.history == resumed.history
    assert whole.trainer.callback_metrics == resumed.trainer.callback_metrics


def test_pictures_show_the_truth_beside_what_was_learned():
    for model in (ValueFunction(), ActionValueFunction(), ActionValueFunction("FrozenLake-v1")):
        model.history = [[0.0, 1.0], [1000.0, 0.5]]
        drawn = model.figures()
        assert set(drawn) == {"values", "error"}
    grid = ActionValueFunction().figures()["values"]
    assert [axes.get_title() for axes in grid.axes[:2]] == ["true", "learned"]
    assert len(grid.axes[0].collections) == 1  # arrows
    lake = ActionValueFunction("FrozenLake-v1").figures()["values"]
    assert len(lake.axes[0].collections) == 0  # its actions are in another order


def test_a_linear_function_begins_at_zero_and_a_network_does_not():
    features = torch.eye(3)
    assert not ValueNetwork(features, 2)(torch.arange(3)).any()
    assert ValueNetwork(features, 2, [4])(torch.arange(3)).shape == (3, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "tdd"}, "`method` must be one of monte_carlo, td"),
        ({"n_step": 0}, "`n_step` must be at least 1"),
        ({"n_step": 2, "method": "monte_carlo"}, "`n_step` must be at least 1, and 1 where"),
        ({"features": "tiles"}, "`features` must be one of"),
        ({"features": "fourier", "feature_size": 0}, "`feature_size` must be at least 1"),
        ({"hidden_sizes": [0]}, "`hidden_sizes` must be sizes of at least 1"),
        ({"gradient_clip_val": 0.0}, "`gradient_clip_val` must be above 0"),
        ({"environment": "CartPole-v1"}, "`environment` must be one whose probabilities"),
        ({"environment": "RandomWark-v0"}, "`environment` must be the id of a known"),
    ],
)
def test_what_is_wrong_is_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        ValueFunction(**arguments)

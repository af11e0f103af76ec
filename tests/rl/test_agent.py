from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import paceline
import pytest
import torch
from gymnasium import spaces
from paceline.rl.agent import Chunks, discrete_task
from paceline.rl.dqn import DQN
from paceline.rl.learning.manual_steps import average_over_ranks, move_schedules
from paceline.rl.playing.making import Maker
from torch.optim.lr_scheduler import StepLR


def test_chunks_go_on_in_the_middle_of_an_epoch_and_begin_anew_in_the_next():
    chunks, resumed = Chunks(5), Chunks(5)
    chunks.set_epoch(3)
    handed_out = iter(chunks)
    assert [int(next(handed_out)) for _ in range(2)] == [0, 1]
    resumed.load_state_dict(chunks.state_dict())
    resumed.set_epoch(3)
    assert [int(number) for number in resumed] == [2, 3, 4]
    resumed.set_epoch(4)
    assert [int(number) for number in resumed] == [0, 1, 2, 3, 4]
    assert len(chunks) == 5


def test_actions_must_be_numbered_from_zero():
    class Shifted(gymnasium.Env):
        observation_space, action_space = spaces.Discrete(2), spaces.Discrete(3, start=1)

    gymnasium.register("Shifted-v0", entry_point=Shifted)
    with pytest.raises(ValueError, match="numbered from 0"):
        discrete_task(Maker("Shifted-v0"))
    space, num_actions = discrete_task(Maker("FrozenLake-v1"))
    assert (space, num_actions) == (spaces.Discrete(16), 4)


def fake_trainer(world_size: int, others: list[float]) -> Any:
    """Two processes, of which the other one has these numbers."""

    def reduce(flat: torch.Tensor, reduce_op: str) -> torch.Tensor:
        total = flat + torch.tensor(others, dtype=flat.dtype)
        return total / 2 if reduce_op == "mean" else total

    strategy = SimpleNamespace(reduce=reduce)
    return SimpleNamespace(world_size=world_size, strategy=strategy, loggers=[])


def test_tensors_become_their_mean_over_the_processes():
    tensors = [torch.tensor([1.0, 2.0]), torch.tensor([[3.0]])]
    average_over_ranks(fake_trainer(1, []), tensors)
    assert [t.tolist() for t in tensors] == [[1.0, 2.0], [[3.0]]]
    average_over_ranks(fake_trainer(2, [3.0, 4.0, 5.0]), tensors)
    assert [t.tolist() for t in tensors] == [[2.0, 3.0], [[4.0]]]


@pytest.mark.parametrize("finished", [[], [(4.0, 2), (1.0, 7)]])
def test_the_mean_return_is_over_the_episodes_of_all_processes_and_all_log_it(
    finished, monkeypatch
):
    model, logged = DQN(), {}
    monkeypatch.setattr(DQN, "trainer", fake_trainer(2, [1.0, 10.0, 30.0]))
    model.log = lambda name, value, **_: logged.update({name: value})
    model._finished = finished
    model._log_episodes()
    count = len(finished) + 1
    assert logged["train/episode_return"] == pytest.approx((10 + 5 * (count > 1)) / count)
    assert logged["train/episode_length"] == pytest.approx((30 + 9 * (count > 1)) / count)


def test_no_episode_that_ended_is_no_return(monkeypatch):
    model, logged = DQN(), {}
    monkeypatch.setattr(DQN, "trainer", fake_trainer(2, [0.0, 0.0, 0.0]))
    model.log = lambda name, value, **_: logged.update({name: value})
    model._log_episodes()
    assert logged == {}


@pytest.mark.parametrize(
    ("max_epochs", "max_steps", "expected"),
    [(3, -1, 30_000), (-1, 25_000, 25_000), (None, 25_000, 25_000), (2, 25_000, 20_000)],
)
def test_the_run_is_as_long_as_its_nearer_limit(max_epochs, max_steps, expected, monkeypatch):
    limits = SimpleNamespace(max_epochs=max_epochs, max_steps=max_steps)
    monkeypatch.setattr(DQN, "trainer", limits)
    assert DQN().num_schedule_steps() == expected


def test_only_schedules_of_the_interval_move():
    parameter = torch.nn.Parameter(torch.zeros(1))
    made = {i: StepLR(torch.optim.SGD([parameter], 1.0), 10, 0.5) for i in ("step", "epoch")}
    configs = [SimpleNamespace(scheduler=s, interval=i) for i, s in made.items()]
    move_schedules(SimpleNamespace(lr_scheduler_configs=configs), 10, "step")
    assert {i: s.last_epoch for i, s in made.items()} == {"step": 10, "epoch": 0}
    assert made["step"].get_last_lr() == [0.5]


@pytest.mark.parametrize("recipe", ["dqn-cartpole", "reinforce-cartpole"])
def test_a_run_may_end_before_its_first_evaluation(recipe: str, paceline_home: Path):
    result = paceline.fit(recipe, seed=1, config={"trainer.max_steps": 300})
    assert result.status == "finished"
    assert "train/episode_return" in result.metrics
    assert "eval/return" not in result.metrics

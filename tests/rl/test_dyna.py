from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from paceline.rl.dyna import DynaQ
from paceline.rl.values.dyna_model import Outcomes, q_learning_step
from pytorch_lightning.callbacks import ModelCheckpoint

pytestmark = [
    # The loaders' workers would only cost time here; Lightning advises them all the same.
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    # A run that is resumed here keeps no checkpoint of its own.
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
]

BOOK = {"step_reward": 0.0, "goal_reward": 1.0}  # rewards of Sutton and Barto's maze


def trained(seed: int, max_steps: int, ckpt_path: str | None = None, **arguments: Any) -> DynaQ:
    pl.seed_everything(seed, verbose=False)
    callbacks = arguments.pop("callbacks", [])
    model = DynaQ(environment_options=BOOK, **arguments)
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
    )
    trainer.fit(model, ckpt_path=ckpt_path, weights_only=True)
    return model


def first_good(lengths: list[int]) -> int:
    """Number of the first of five episodes in a row that take at most 20 steps on average."""
    means = np.convolve(lengths, np.ones(5) / 5, "valid")
    return int(np.argmax(means <= 20)) if (means <= 20).any() else len(lengths)


def test_more_planning_needs_fewer_episodes():
    # Fixed seeds, so the outcome is always the same; over seeds 1 to 20 the order never changed.
    needed = {}
    for planning_steps, num_steps in ((0, 10_000), (5, 4000), (50, 2500)):
        lengths = trained(1, num_steps, planning_steps=planning_steps).episode_lengths
        needed[planning_steps] = first_good(lengths)
    assert needed[50] < needed[5] < needed[0]
    assert needed[50] <= 5


def test_the_step_is_q_learnings():
    q = [[0.0, 1.0], [2.0, 3.0]]
    q_learning_step(q, 0, 1, (0.5, 1, False), 0.1, 0.9)
    assert q == [[0.0, pytest.approx(1.0 + 0.1 * (0.5 + 0.9 * 3.0 - 1.0))], [2.0, 3.0]]
    q_learning_step(q, 1, 0, (0.5, 1, True), 0.1, 0.9)
    assert q[1][0] == pytest.approx(2.0 + 0.1 * (0.5 - 2.0))


def test_the_model_tells_the_latest_outcome_of_pairs_that_were_tried():
    model, later = Outcomes(5, 2), Outcomes(5, 2)
    model.learn(3, 1, (0.0, 2, False))
    model.learn(3, 1, (1.0, 4, True))
    model.learn(2, 0, (0.25, 3, False))
    later.load_state_dict(model.state_dict())
    for known in (model, later):
        drawn = list(known.draw(1000, np.random.default_rng(0)))
        assert set(drawn) == {(3, 1, (1.0, 4, True)), (2, 0, (0.25, 3, False))}
        assert 400 < drawn.count((2, 0, (0.25, 3, False))) < 600  # odds of a false alarm: 3e-10
        assert list(known.draw(0, np.random.default_rng(0))) == []


def test_planning_finds_the_shortest_way_and_the_value_of_the_start():
    model = trained(1, 10_000, planning_steps=20)
    told = model.trainer.callback_metrics
    assert (told["eval/return"], told["eval/episode_length"]) == (1, 14)
    assert model.truth[18] == pytest.approx(0.95**13)
    assert model.q.max(1).values[18] == pytest.approx(0.95**13, abs=0.02)


# A checkpoint between two batches holds what came after the update, as it should here.
@pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")
@pytest.mark.filterwarnings("ignore:Checkpoint directory")  # both runs keep theirs in one folder
@pytest.mark.parametrize("at", ["between-step=500", "within-step=700"])
def test_a_resumed_run_equals_the_uninterrupted_one(at, tmp_path):
    within = ModelCheckpoint(tmp_path, "within-{step}", every_n_train_steps=1, save_top_k=-1)
    between = ModelCheckpoint(tmp_path, "between-{step}", save_top_k=-1)  # after each validation
    whole = trained(3, 1500, callbacks=[within, between])
    resumed = trained(3, 1500, str(tmp_path / f"{at}.ckpt"))
    assert resumed.trainer.global_step == whole.trainer.global_step == 1500
    assert torch.equal(whole.q, resumed.q)
    assert whole.model.outcomes == resumed.model.outcomes
    assert whole.episode_lengths == resumed.episode_lengths
    assert whole.history == resumed.history


def test_pictures_show_the_values_and_the_episodes():
    model = DynaQ()
    model.episode_lengths = [100, 50, 20]
    assert set(model.figures()) == {"values", "steps_per_episode"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"planning_steps": -1}, "`planning_steps` must be at least 0"),
        ({"learning_rate": 0.0}, r"`learning_rate` must be in \(0, 1\]"),
        ({"epsilon": 2.0}, r"`epsilon` must be in \[0, 1\]"),
        ({"discount": 2.0}, r"`discount` must be in \[0, 1\]"),
        ({"environment": "CartPole-v1"}, "`environment` must be one whose probabilities"),
    ],
)
def test_what_is_wrong_is_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        DynaQ(**arguments)

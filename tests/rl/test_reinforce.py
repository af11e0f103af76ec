from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from paceline.lightning_modules.blocks.schedules import CosineDecay
from paceline.rl.playing.acting import Environments, Steps
from paceline.rl.playing.making import Maker
from paceline.rl.playing.rollout import play_rollout
from paceline.rl.reinforce import REINFORCE
from pytorch_lightning.callbacks import ModelCheckpoint

pytestmark = [
    # The loaders' workers would only cost time here; Lightning advises them all the same.
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    # A checkpoint between two rollouts is what is wanted.
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
    # A run that is resumed here keeps none of its own.
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
]

SMALL = {"num_environments": 4, "rollout_steps": 120, "epoch_steps": 240, "eval_episodes": 2}
IDENTITY = {"environment": "paceline.rl.environments:Identity-v0", "discount": 0.0}


def trained(
    model: REINFORCE,
    max_steps: int,
    optimizer: Any = None,
    ckpt_path: str | None = None,
    **more: Any,
) -> REINFORCE:
    """Train a model; `optimizer` makes one of its parameters."""
    make = optimizer or (lambda parameters: torch.optim.Adam(parameters, lr=0.02))
    model.configure_optimizers = lambda: make(list(model.parameters()))
    callbacks = more.pop("callbacks", [])
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=max_steps,
        max_epochs=-1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
        callbacks=callbacks,
        num_sanity_val_steps=0,
        **more,
    )
    trainer.fit(model, ckpt_path=ckpt_path, weights_only=True)
    return model


class Noting(REINFORCE):
    """Keeps each rollout, and the weights before the first, in files of its process."""

    folder: Path

    def _learn(self, rollout: Steps) -> None:
        place = self.folder / f"rank{self.global_rank}.pt"
        if not place.exists():
            torch.save([self.state_dict(), rollout._asdict()], place)
        super()._learn(rollout)


def after_one_update(model: REINFORCE, rollout: Steps, lr: float) -> dict[str, torch.Tensor]:
    """Weights after one update by SGD with standardised advantages, step by step in the test."""
    model = copy.deepcopy(model)
    settings, values = model.hparams, model.values
    chosen, returns = [], []
    for n in range(rollout.rewards.shape[1]):
        for start in np.flatnonzero(rollout.is_real[:, n]):
            total, weight = 0.0, 1.0
            for step in range(start, len(rollout.rewards)):
                total += weight * rollout.rewards[step, n]
                weight *= settings["discount"]
                if rollout.terminated[step, n]:
                    break
                if rollout.truncated[step, n] or step == len(rollout.rewards) - 1:
                    if values is not None:
                        next_one = torch.tensor(rollout.next_observations[step, n][None])
                        total += weight * float(values(next_one).detach())
                    break
            chosen.append((start, n))
            returns.append(total)
    places = tuple(np.array(chosen).T)
    observations = torch.tensor(rollout.observations[places])
    actions, returns = torch.tensor(rollout.actions[places]), torch.tensor(returns).float()
    expected = returns.mean() if settings["baseline"] == "mean" else 0.0
    if values is not None:
        expected = values(observations).detach()
        values.mean, values.deviation = returns.mean(), returns.std(correction=0)
        for _ in range(model.value_updates):
            guess = values.network(observations)[:, 0]
            error = (guess - (returns - returns.mean()) / returns.std(correction=0)).square().mean()
            take_step(values, error, lr, settings["gradient_clip_val"])
    advantages = returns - expected
    advantages = (advantages - advantages.mean()) / advantages.std(correction=0)
    policy = torch.distributions.Categorical(logits=model.policy(observations))
    loss = -(policy.log_prob(actions) * advantages).mean()
    loss = loss - settings["entropy_bonus"] * policy.entropy().mean()
    take_step(model.policy, loss, lr, settings["gradient_clip_val"])
    return model.state_dict()


def take_step(network: torch.nn.Module, loss: torch.Tensor, lr: float, clip: float | None) -> None:
    weights = list(network.parameters())
    gradients = torch.autograd.grad(loss, weights)
    norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
    factor = 1.0 if clip is None else min(1.0, clip / float(norm))
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            weight -= lr * factor * gradient


SETTINGS = [
    {"baseline": "none", "entropy_bonus": 0.1},
    {"baseline": "mean", "whole_episodes": True, "activation": "tanh"},
    {"baseline": "value", "value_updates": 3, "gradient_clip_val": 0.01},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_an_update_is_that_of_the_formulas_over_the_real_steps(settings, tmp_path):
    pl.seed_everything(2, verbose=False)
    model = Noting(**SMALL, **settings)
    model.folder = tmp_path
    sgd = lambda parameters: torch.optim.SGD(parameters, lr=0.5)  # noqa: E731
    trained(model, 1, sgd, limit_val_batches=0, limit_train_batches=1)
    before, noted = torch.load(tmp_path / "rank0.pt", weights_only=False)
    rollout = Steps(**noted)
    assert not rollout.is_real.all()  # CartPole begins anew in steps of their own
    start = REINFORCE(**SMALL, **settings)
    start.load_state_dict(before)
    for name, weight in after_one_update(start, rollout, 0.5).items():
        torch.testing.assert_close(model.state_dict()[name], weight, rtol=1e-4, atol=1e-5)
        assert not torch.equal(weight, before[name])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_two_processes_learn_as_one_would_from_both_rollouts(tmp_path):
    pl.seed_everything(2, verbose=False)
    model = Noting(**SMALL, **SETTINGS[2])
    model.folder = tmp_path
    sgd = lambda parameters: torch.optim.SGD(parameters, lr=0.5)  # noqa: E731
    two = {"strategy": "ddp_fork", "devices": 2}
    trained(model, 1, sgd, limit_val_batches=0, limit_train_batches=1, **two)
    (before, ours), (same, theirs) = (
        torch.load(tmp_path / f"rank{rank}.pt", weights_only=False) for rank in (0, 1)
    )
    assert all(torch.equal(before[name], same[name]) for name in before)
    assert not np.array_equal(ours["observations"], theirs["observations"])
    joined = Steps(**{name: np.concatenate((ours[name], theirs[name]), 1) for name in ours})
    assert joined.rewards.size == 120  # over all processes
    start = REINFORCE(**SMALL, **SETTINGS[2])
    start.load_state_dict(before)
    for name, weight in after_one_update(start, joined, 0.5).items():
        torch.testing.assert_close(model.state_dict()[name], weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("baseline", ["none", "mean", "value"])
def test_the_identity_is_learned(baseline):
    # A fixed seed, so the outcome is always the same. Guessing gets 25, the best policy 100.
    pl.seed_everything(1, verbose=False)
    small = {"num_environments": 16, "rollout_steps": 160, "epoch_steps": 1600, "eval_episodes": 5}
    model = trained(REINFORCE(**IDENTITY, **small, baseline=baseline, hidden_sizes=[16]), 4800)
    assert model.history[-1][0] == model.trainer.global_step == 4800
    assert model.trainer.callback_metrics["eval/return"] == 100


def test_the_pole_stays_upright_for_longer():
    pl.seed_everything(1, verbose=False)
    small = {"num_environments": 32, "rollout_steps": 4096, "epoch_steps": 20_480}
    model = trained(REINFORCE(**small), 40_960)
    assert model.history[-1][1] > 100  # who guesses falls after 22 steps, who leans after 9


def test_actions_are_drawn_from_the_soft_max():
    model = REINFORCE(**IDENTITY, hidden_sizes=[8])
    observations = np.eye(4, dtype=np.float32)
    shares = np.zeros((4, 4))
    for _ in range(20_000):
        shares[np.arange(4), model.act_by_chance(observations)] += 1 / 20_000
    expected = model(torch.tensor(observations)).softmax(1).detach().numpy()
    # Standard deviations are at most 0.0036: a false alarm has odds of about 1e-5.
    np.testing.assert_allclose(shares, expected, atol=0.018)
    best = model.act_greedily(observations)
    np.testing.assert_array_equal(best, expected.argmax(1))


def test_whole_episodes_are_cut_nowhere_and_the_long_ones_are_among_them():
    environments = Environments(Maker("paceline.rl.environments:RandomWalk-v0").several(200), 1)
    chance, lengths = np.random.default_rng(0), []
    for _ in range(10):
        rollout = play_rollout(
            environments, lambda seen: chance.integers(2, size=len(seen)), 1, whole_episodes=True
        )
        told = [length for _, length in environments.episodes]
        environments.episodes = []
        real = rollout.is_real  # (T, N)
        assert real[0].all()
        assert (rollout.ended & real).sum(0).tolist() == [1] * 200
        last = real.sum(0) - 1
        assert rollout.ended[last, np.arange(200)].all()
        assert sorted(told) == sorted(real.sum(0))
        lengths += told
    # From the middle of 19 states a walk takes 100 steps on average (Sutton and Barto 2018,
    # example 6.2 made longer); their standard deviation is 82: odds of a false alarm 1e-4.
    assert np.mean(lengths) == pytest.approx(100, abs=8)


def test_whole_episodes_play_on_where_the_least_steps_hold_several():
    environments = Environments(Maker("CartPole-v1").several(5), 1)
    rollout = play_rollout(environments, lambda seen: np.ones(5, int), 50, whole_episodes=True)
    assert len(rollout.rewards) > 50
    assert (rollout.ended & rollout.is_real).sum() == len(environments.episodes) >= 20
    for n in range(5):
        last = np.flatnonzero(rollout.is_real[:, n])[-1]
        assert rollout.ended[last, n]
        assert last >= 49


def test_a_rollout_goes_on_where_the_last_one_was_cut():
    environments = Environments(Maker("CartPole-v1").several(3), 1)
    first, second = (play_rollout(environments, lambda seen: np.ones(3, int), 4) for _ in range(2))
    np.testing.assert_array_equal(first.next_observations[-1], second.observations[0])
    np.testing.assert_array_equal(first.next_observations[0], first.observations[1])


@pytest.mark.filterwarnings("ignore:Checkpoint directory")  # all runs keep theirs in one folder
@pytest.mark.parametrize("at", ["between-step=240", "within-step=360"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"environment": "FrozenLake-v1", "baseline": "mean"}],
)
def test_a_resumed_run_equals_the_uninterrupted_one_at_and_between_the_ends_of_epochs(
    settings, at, tmp_path
):
    def run(ckpt_path: str | None = None, callbacks: Any = ()) -> REINFORCE:
        pl.seed_everything(3, verbose=False)
        model = REINFORCE(**SMALL, **settings)
        return trained(model, 480, ckpt_path=ckpt_path, callbacks=list(callbacks))

    within = ModelCheckpoint(tmp_path, "within-{step}", every_n_train_steps=1, save_top_k=-1)
    between = ModelCheckpoint(tmp_path, "between-{step}", save_top_k=-1)  # after each validation
    whole = run(callbacks=[within, between])
    resumed = run(str(tmp_path / f"{at}.ckpt"))
    assert resumed.env_steps == resumed.trainer.global_step == whole.env_steps == 480
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
    assert whole.history == resumed.history
    told = whole.trainer.callback_metrics
    assert told == resumed.trainer.callback_metrics
    assert {"train/loss", "train/entropy", "eval/return"} < set(told)
    assert ("train/value_loss" in told) == (not settings)


def test_a_resumed_run_of_whole_episodes_equals_the_uninterrupted_one(tmp_path):
    def run(ckpt_path: str | None = None, callbacks: Any = ()) -> REINFORCE:
        pl.seed_everything(3, verbose=False)
        model = REINFORCE(**SMALL, whole_episodes=True, baseline="mean")
        return trained(model, 1000, ckpt_path=ckpt_path, callbacks=list(callbacks))

    kept = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    whole = run(callbacks=[kept])
    first = min(tmp_path.glob("*.ckpt"), key=lambda path: int(path.stem.partition("=")[2]))
    resumed = run(str(first))
    assert resumed.env_steps == resumed.trainer.global_step == whole.env_steps >= 1000
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
    assert whole.history == resumed.history


def test_schedules_count_environment_steps():
    pl.seed_everything(1, verbose=False)
    rates = []

    class Watch(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def make(parameters: Any) -> Any:
        optimizer = torch.optim.Adam(parameters, lr=1.0)
        schedule = {"scheduler": CosineDecay(optimizer, total_steps=480), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    trained(REINFORCE(**SMALL), 480, make, callbacks=[Watch()])
    assert rates == pytest.approx([(1 + np.cos(np.pi * t)) / 2 for t in (0, 0.25, 0.5, 0.75)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"baseline": "critic"}, "`baseline` must be one of none, mean, value"),
        ({"value_updates": 0}, "`value_updates` must be at least 1"),
        ({"value_updates": 2, "baseline": "mean"}, "`value_updates` must be left out unless"),
        ({"entropy_bonus": -0.1}, "`entropy_bonus` must be 0 or more"),
        ({"discount": 1.1}, r"`discount` must be in \[0, 1\]"),
        ({"gradient_clip_val": 0.0}, "`gradient_clip_val` must be above 0"),
        ({"num_environments": 0}, "`num_environments` must be at least 1"),
        ({"rollout_steps": 100}, r"`rollout_steps` must be a multiple of num_environments \(32\)"),
        ({"rollout_steps": 32}, r"`rollout_steps` must be .* at least 2 of each"),
        ({"epoch_steps": 17_000}, r"`epoch_steps` must be a multiple of rollout_steps \(16000\)"),
        ({"environment": "Pendulum-v1"}, "`environment` must be an environment with numbered"),
    ],
)
def test_what_is_wrong_is_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        REINFORCE(**arguments)

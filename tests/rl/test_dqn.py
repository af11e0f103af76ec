"""DQN: its update beside stable-baselines3's, its schedules, what it refuses, what it learns."""

from __future__ import annotations

import copy
import importlib.util
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from paceline.platform.training.optimization import set_optimizer
from paceline.rl.dqn import DQN
from paceline.rl.learning.td_gradient import set_gradient
from paceline.rl.networks import make_network
from paceline.rl.replay.ring import Transitions
from torch import Tensor, nn

pytestmark = pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")

ADAM = {"class_path": "torch.optim.Adam", "init_args": {"lr": 2e-3}}
QUICK = {
    "num_environments": 2,
    "chunk_steps": 20,
    "epoch_steps": 60,
    "eval_episodes": 1,
    "batch_size": 8,
    "learning_starts": 8,
    "hidden_sizes": [8],
}


def quiet(**arguments: Any) -> pl.Trainer:
    settings = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    settings |= {"accelerator": "cpu", "enable_checkpointing": False, "num_sanity_val_steps": 0}
    return pl.Trainer(**{**settings, **arguments})


def model_of(schedule: dict[str, Any] | None = None, seed: int = 1, **arguments: Any) -> DQN:
    pl.seed_everything(seed, verbose=False)
    model = DQN(**{**QUICK, **arguments})
    set_optimizer(model, ADAM, schedule)
    return model


def batch_of(size: int, num_actions: int, seed: int = 0) -> Transitions:
    rng = torch.Generator().manual_seed(seed)
    return Transitions(
        torch.randn(size, 4, generator=rng),
        torch.randint(num_actions, (size,), generator=rng),
        3 * torch.randn(size, generator=rng),
        torch.randn(size, 4, generator=rng),
        torch.randint(2, (size,), generator=rng) * 0.99,
    )


def test_the_update_is_that_of_stable_baselines3():
    if importlib.util.find_spec("stable_baselines3") is None:
        pytest.skip('stable-baselines3 is not installed: pip install "paceline[bench]"')
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from stable_baselines3 import DQN as Theirs
        from stable_baselines3.common.logger import Logger

    theirs = Theirs("MlpPolicy", "CartPole-v1", max_grad_norm=1e9, seed=3, device="cpu")
    theirs.set_logger(Logger(None, []))
    batch = batch_of(64, 2)
    columns = SimpleNamespace(
        observations=batch.observations,
        actions=batch.actions.unsqueeze(1),
        rewards=batch.rewards.unsqueeze(1),
        next_observations=batch.next_observations,
        dones=(batch.discounts == 0).float().unsqueeze(1),
        discounts=None,
    )
    theirs.replay_buffer = SimpleNamespace(sample=lambda *_, **__: columns)
    with torch.no_grad():
        for parameter in theirs.q_net_target.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))

    def flat(network: Any) -> Tensor:
        return torch.cat([p.detach().flatten() for p in network.q_net.parameters()])

    ours, target = DQN().network, DQN().target_network
    ours.load_state_dict({"theta": flat(theirs.q_net)})
    target.load_state_dict({"theta": flat(theirs.q_net_target)})
    theirs.train(1, batch_size=64)

    values, targets = set_gradient(ours, target, batch, None, "huber", double=False)
    loss = nn.functional.smooth_l1_loss(values, targets).item()
    assert loss == pytest.approx(theirs.logger.name_to_value["train/loss"], abs=1e-6)
    gradient = torch.cat([p.grad.flatten() for p in theirs.q_net.q_net.parameters()])
    torch.testing.assert_close(ours.theta.grad, gradient, rtol=0, atol=1e-6)


@pytest.mark.parametrize("loss", ["huber", "squared"])
@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_by_hand_and_by_autograd_are_that_of_the_formula(loss, double, weighted):
    torch.manual_seed(0)
    space = DQN().observation_space
    by_hand, target = (make_network(space, 3, hidden_sizes=[16, 16]) for _ in range(2))
    batch, weights = batch_of(32, 3), torch.rand(32) if weighted else None

    def twin(network: Any) -> nn.Sequential:
        parts, layers = network.parts(network.theta.detach()), []
        for weight, bias in zip(parts[::2], parts[1::2], strict=True):
            layer = nn.Linear(weight.shape[1], weight.shape[0])
            layer.load_state_dict({"weight": weight, "bias": bias})
            layers += [layer, nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    by_autograd, written = twin(by_hand), twin(by_hand)
    target_twin = twin(target)
    q, after = written(batch.observations), target_twin(batch.next_observations).detach()
    best = (written(batch.next_observations) if double else after).argmax(1)
    y = batch.rewards + batch.discounts * after[torch.arange(32), best]
    distance = q[torch.arange(32), batch.actions] - y
    each = distance**2
    if loss == "huber":
        each = torch.where(distance.abs() < 1, each / 2, distance.abs() - 0.5)
    ((1.0 if weights is None else weights) * each).mean().backward()
    expected = torch.cat([p.grad.flatten() for p in written.parameters()])

    found = set_gradient(by_hand, target, batch, weights, loss, double)
    torch.testing.assert_close(by_hand.theta.grad, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(found[1], y.detach(), rtol=0, atol=1e-6)
    set_gradient(by_autograd, target_twin, batch, weights, loss, double)
    gradient = torch.cat([p.grad.flatten() for p in by_autograd.parameters()])
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-6)


def test_the_target_network_follows_once_for_each_time_that_was_due():
    model = model_of(tau=0.1, target_update_every=1)
    before = model.target_network.theta.clone()
    with torch.no_grad():
        model.network.theta.add_(1)
    model._learn = lambda *_: None
    quiet(max_steps=20, max_epochs=-1, limit_val_batches=0).fit(model)
    expected = before + (1 - 0.9**20) * (model.network.theta - before)
    torch.testing.assert_close(model.target_network.theta, expected, rtol=0, atol=1e-5)


def test_as_many_updates_are_made_as_the_settings_say():
    model, updates = model_of(train_every=4, gradient_steps=3, learning_starts=20), []
    update = model._update
    model._update = lambda *given: updates.append(model.env_steps) or update(*given)
    quiet(max_steps=60, max_epochs=-1).fit(model)
    assert len(updates) == (60 - 20) // 4 * 3
    assert model.trainer.global_step == model.env_steps == 60


class Rates(pl.Callback):
    """Notes the learning rate after each chunk, and at each epoch's start and the run's end."""

    def __init__(self):
        self.chunks: list[float] = []
        self.epochs: list[float] = []

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.chunks.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_start(self, trainer: Any, *_: Any) -> None:
        self.epochs.append(trainer.optimizers[0].param_groups[0]["lr"])

    on_train_end = on_train_epoch_start


def rates(schedule: dict[str, Any], **arguments: Any) -> Rates:
    found = Rates()
    trainer = quiet(callbacks=[found], limit_val_batches=0, **arguments)
    trainer.fit(model_of(schedule))
    return found


def test_schedules_of_epochs_move_once_an_epoch():
    step = {"class_path": "torch.optim.lr_scheduler.StepLR", "init_args": {"step_size": 1}}
    found = rates(step, max_steps=180, max_epochs=-1)
    assert found.epochs == pytest.approx([2e-3, 2e-4, 2e-5, 2e-6])


@pytest.mark.parametrize("limit", [{"max_steps": 120, "max_epochs": -1}, {"max_epochs": 2}])
def test_schedules_of_steps_count_environment_steps_to_the_end_of_the_run(limit):
    cosine = {"class_path": "paceline.lightning_modules.blocks.schedules.CosineDecay"}
    expected = [1e-3 * (1 + np.cos(np.pi * chunk / 6)) for chunk in range(1, 7)]
    assert rates(cosine, **limit).chunks == pytest.approx(expected, abs=1e-9)


def test_a_run_that_ends_within_a_chunk_takes_no_schedule_beyond_its_end():
    one = {
        "class_path": "torch.optim.lr_scheduler.OneCycleLR",
        "init_args": {"max_lr": 0.1},
    }
    found = rates(one, max_steps=110, max_epochs=-1)  # torch refuses a step beyond the last
    assert len(found.chunks) == 6
    assert max(found.chunks) > 0.09
    assert found.chunks[-1] < 1e-4


@pytest.mark.parametrize("settings", [{}, {"prioritised": True, "n_step": 3, "double": True}])
def test_dqn_learns_which_state_is_shown(settings):
    model = model_of(
        environment="Identity-v0",
        discount=0.0,
        num_environments=8,
        chunk_steps=200,
        epoch_steps=2000,
        learning_starts=200,
        batch_size=32,
        hidden_sizes=[32],
        exploration_steps=1500,
        **settings,
    )
    quiet(max_steps=2000, max_epochs=-1).fit(model)
    # 100 is the highest return, 25 what guessing gets; the seed is fixed.
    assert model.trainer.callback_metrics["eval/return"] >= 99


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"environment": "CartPol-v1"}, "the id of a known environment"),
    ({"environment": "Pendulum-v1"}, "numbered actions"),
    ({"environment": "Blackjack-v1"}, "one array"),
    ({"network": "cnn"}, "`network` must be mlp"),
    ({"buffer_size": 4}, r"`buffer_size` must be at least batch_size \(8\)"),
    (
        {"buffer_size": 8, "n_step": 5, "learning_starts": 99},
        r"n_step times num_environments \(10\)",
    ),
    ({"learning_starts": 7}, "`learning_starts` must be at least 8"),
    ({"epoch_steps": 50}, r"`epoch_steps` must be a multiple of chunk_steps \(20\)"),
    ({"chunk_steps": 21}, r"`chunk_steps` must be a multiple of num_environments \(2\)"),
    (
        {"environment_options": {"gravity": 1}},
        "`environment_options` must be what CartPole-v1 takes",
    ),
    ({"tau": 0.0}, r"`tau` must be in \(0, 1\]"),
    ({"discount": float("nan")}, r"`discount` must be in \[0, 1\]"),
    ({"gradient_clip_val": 0.0}, "`gradient_clip_val` must be above 0"),
    ({"train_every": 0}, "`train_every` must be at least 1"),
    ({"loss": "hinge"}, "`loss` must be one of huber, squared"),
    ({"exploration_start": 2.0}, "`exploration_start`"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_what_does_not_fit_is_named_before_anything_begins(arguments, message):
    with pytest.raises(ValueError, match=message):
        DQN(**{**QUICK, **arguments})


def test_a_precision_in_which_the_gradient_is_not_computed_is_refused():
    with pytest.raises(ValueError, match=r"`trainer.precision` must be 32-true"):
        quiet(max_steps=20, max_epochs=-1, precision="bf16-mixed").fit(model_of())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pygame's and the emulator's own
def test_dqn_plays_atari():
    if importlib.util.find_spec("ale_py") is None:
        pytest.skip('ale-py is not installed: pip install "paceline[atari]"')
    model = model_of(
        environment="ALE/Pong-v5",
        preprocessing="atari",
        frame_stack=4,
        network="cnn",
        num_environments=1,
        chunk_steps=12,
        epoch_steps=12,
        learning_starts=8,
        batch_size=4,
        train_every=4,
        buffer_size=40,
        n_step=3,
    )
    before, spaces = copy.deepcopy(model.network.state_dict()), model.observation_space
    assert spaces.shape == (4, 84, 84)
    assert model.example_input_array.dtype == torch.uint8
    trainer = quiet(max_steps=12, max_epochs=-1, limit_val_batches=0)
    trainer.fit(model)
    assert any(not torch.equal(v, before[n]) for n, v in model.network.state_dict().items())
    assert trainer.callback_metrics["train/loss"].isfinite()


def test_each_process_call_of_the_command_tells_one_message(run_command: Callable[..., Any]):
    cases = {
        ("--model.environment", "CartPol-v1"): ("CartPol-v1", "CartPole-v1"),
        ("--model.environment", "Pendulum-v1"): ("numbered actions", ""),
        ("--model.buffer_size", "10"): ("`buffer_size`", ""),
        ("--model.network", "cnn"): ("`network` must be mlp", ""),
        ("--model.environment_options", "{gravity: 1}"): ("`environment_options`", ""),
    }
    for flags, (what, remedy) in cases.items():
        answer = run_command("fit", "dqn-cartpole", *flags, "--json")
        error = answer.json["error"]
        assert answer.code == 2, answer
        assert what in error["what"]
        assert remedy in (error["remedy"] or "")
        assert "Traceback" not in answer.err


TRAPS = """
import gymnasium, numpy as np
from gymnasium import spaces

class Trap(gymnasium.Env):
    observation_space, action_space = spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(2)
    def __init__(self, how="raise"):
        self.how, self.time = how, 0
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}
    def step(self, action):
        self.time += 1
        if self.time == 30 and self.how == "raise":
            raise OSError("the emulator is gone")
        reward = float("nan") if self.time == 30 else 0.0
        return np.zeros(2, np.float32), reward, self.time % 7 == 0, False, {}

gymnasium.register("Trap-v0", entry_point=Trap)
"""


@pytest.mark.filterwarnings("ignore:.*environment.*:UserWarning")
@pytest.mark.parametrize(
    ("how", "what"), [("raise", "OSError: the emulator"), ("nan", "reward nan")]
)
def test_an_environment_that_fails_in_the_middle_marks_the_run(run_command, tmp_path, how, what):
    (tmp_path / "work" / f"traps_{how}.py").write_text(TRAPS)
    flags = ["--model.environment", f"traps_{how}:Trap-v0"]
    flags += ["--model.environment_options", f"{{how: {how}}}", "--trainer.max_steps", "2048"]
    answer = run_command("fit", "dqn-cartpole", *flags, "--name", "bad", "--json")
    assert answer.code == 1, answer
    told = answer.json["error"]["what"]
    assert what in told
    assert "seed" in told
    assert "step 30" in told
    assert run_command("show", "bad", "--json").json["status"] == "failed"

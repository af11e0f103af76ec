"""A run that goes on from a checkpoint is the uninterrupted one to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from paceline.platform.training.optimization import set_optimizer
from paceline.rl.dqn import DQN
from pytorch_lightning.callbacks import ModelCheckpoint

pytestmark = [
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory"),
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
]

ADAM = {"class_path": "torch.optim.Adam", "init_args": {"lr": 2e-3}}
COSINE = {"class_path": "paceline.lightning_modules.blocks.schedules.CosineDecay"}
CARTPOLE = {"environment": "CartPole-v1"}
CASES = {
    "cartpole": CARTPOLE,
    "cartpole-rainbow": CARTPOLE | {"prioritised": True, "n_step": 3, "buffer_size": 150},
    "frozen-lake": {"environment": "FrozenLake-v1", "prioritised": True, "n_step": 3},
    "boltzmann": CARTPOLE | {"exploration": "boltzmann", "dueling": True, "double": True},
}


def run(
    folder: Path,
    case: str,
    ckpt_path: str | None = None,
    seed: int = 4,
    schedule: dict[str, Any] = COSINE,
    kind: type[DQN] = DQN,
    **arguments: Any,
) -> tuple[DQN, dict[str, float]]:
    """Two epochs of four chunks, with a checkpoint after each chunk."""
    pl.seed_everything(seed, verbose=False)
    model = kind(
        **CASES[case],
        num_environments=4,
        chunk_steps=40,
        epoch_steps=160,
        eval_episodes=2,
        batch_size=16,
        learning_starts=40,
        target_update_every=60,
        exploration_steps=200,
        hidden_sizes=[16],
        **arguments,
    )
    set_optimizer(model, ADAM, schedule)
    keep = ModelCheckpoint(folder, filename="{step}", save_top_k=-1, every_n_train_steps=40)
    ends = ModelCheckpoint(
        folder, filename="end-{step}", save_top_k=-1, save_on_train_epoch_end=True
    )
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=320,
        max_epochs=-1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[keep, ends],
        num_sanity_val_steps=0,
    )
    trainer.fit(model, ckpt_path=ckpt_path, weights_only=True)
    return model, {n: float(v) for n, v in trainer.callback_metrics.items()}


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_is_the_uninterrupted_one(case, tmp_path):
    whole, metrics = run(tmp_path, case)
    assert metrics["train/loss"] > 0
    _, repeated = run(tmp_path / "again", case)
    assert repeated == metrics
    for step in ("step=80", "step=200", "step=280", "end-step=160"):
        resumed, later = run(tmp_path, case, str(tmp_path / f"{step}.ckpt"), seed=4)
        for name, weight in whole.state_dict().items():
            assert torch.equal(weight, resumed.state_dict()[name]), (step, name)
        assert later == metrics, step
        assert resumed.history == whole.history


def test_a_schedule_of_epochs_goes_on_where_it_was(tmp_path):
    halving = {
        "class_path": "torch.optim.lr_scheduler.StepLR",
        "init_args": {"step_size": 1, "gamma": 0.5},
    }
    whole, _ = run(tmp_path, "cartpole", schedule=halving)
    for step in ("step=120", "end-step=160"):
        path = str(tmp_path / f"{step}.ckpt")
        resumed, _ = run(tmp_path, "cartpole", path, schedule=halving)
        assert torch.equal(whole.network.theta, resumed.network.theta), step


def test_another_seed_is_another_run(tmp_path):
    one, other = (run(tmp_path / str(seed), "cartpole", seed=seed)[1] for seed in (4, 5))
    assert one != other


@pytest.mark.parametrize("n_step", [1, 3])
def test_a_run_resumed_without_its_memory_fills_it_before_it_learns(n_step, tmp_path):
    settings = {"save_replay": False, "n_step": n_step}
    run(tmp_path, "cartpole", **settings)
    path = tmp_path / "step=200.ckpt"
    content = torch.load(path, weights_only=True)
    assert "replay" not in content["acting"]["memory"]
    saved = content["state_dict"]["network.theta"]
    seen = []

    class Watch(DQN):
        def _update(self, batch, weights):
            seen.append(len(self.memory.replay))
            return super()._update(batch, weights)

    resumed, _ = run(tmp_path, "cartpole", str(path), kind=Watch, **settings)
    assert min(seen) >= 40 - 4 * n_step
    assert not torch.equal(saved, resumed.network.theta)

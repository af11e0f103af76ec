"""Two processes that act apart and learn together."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from paceline.platform.training.optimization import set_optimizer
from paceline.rl.dqn import DQN
from pytorch_lightning.callbacks import ModelCheckpoint

ADAM = {"class_path": "torch.optim.Adam", "init_args": {"lr": 2e-3}}
STEPS, HALF = 2400, 1200


class Recorder(DQN):
    """Notes what each process does."""

    def on_train_start(self) -> None:
        super().on_train_start()
        self.notes: dict[str, Any] = {"seed": self.environments.seed, "least": 1 << 30}
        self.notes["actions"], self.notes["evaluations"] = [], 0

    def _act(self, step: int) -> None:
        remember = self.memory.remember
        self.memory.remember = lambda s: (
            self.notes["actions"].append(s.actions.tolist()) or remember(s)
        )
        super()._act(step)
        self.memory.remember = remember

    def _update(self, *given: Any) -> Any:
        self.notes["least"] = min(self.notes["least"], len(self.memory.replay))
        return super()._update(*given)

    def act_greedily(self, observations: Any) -> Any:
        self.notes["evaluations"] += 1
        return super().act_greedily(observations)


def _fit(folder: str, rank: int, max_steps: int, ckpt_path: str | None) -> dict[str, Any]:
    """One of the two processes: trains and tells what it saw."""
    pl.seed_everything(3, verbose=False)
    model = Recorder(
        environment="Identity-v0",
        discount=0.0,
        num_environments=4,
        chunk_steps=200,
        epoch_steps=600,
        learning_starts=200,
        eval_episodes=4,
        batch_size=16,
        hidden_sizes=[32],
        exploration_steps=1000,
    )
    set_optimizer(model, ADAM, None)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=2,
        strategy=pl.strategies.DDPStrategy(process_group_backend="gloo"),
        max_steps=max_steps,
        max_epochs=-1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            ModelCheckpoint(folder, filename="{step}", every_n_train_steps=HALF, save_top_k=-1)
        ],
        num_sanity_val_steps=0,
    )
    trainer.fit(model, ckpt_path=ckpt_path, weights_only=True)
    metrics = {n: float(v) for n, v in trainer.callback_metrics.items()}
    told = {"metrics": metrics, "env_steps": model.env_steps, "weights": model.state_dict()}
    return told | model.notes | {"global_step": trainer.global_step, "history": model.history}


def _rank(folder: str, rank: str, port: str) -> None:
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": "2",
        "LOCAL_RANK": rank,
        "NODE_RANK": "0",
        "OMP_NUM_THREADS": "1",
    }
    torch.set_num_threads(1)
    first = _fit(folder, int(rank), STEPS, None)
    again = _fit(folder + "/resumed", int(rank), STEPS, f"{folder}/step={HALF}.ckpt")
    torch.save({"first": first, "again": again}, f"{folder}/{rank}.pt")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What both processes say of a run and of one that was resumed in its middle."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-W", "ignore", __file__, str(folder)]
    running = [subprocess.Popen([*command, rank, port]) for rank in "01"]
    try:
        assert [process.wait(timeout=150) for process in running] == [0, 0]
    finally:
        for process in running:
            process.kill()
            process.wait()
    return [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in "01"]


@pytest.mark.parametrize("run", ["first", "again"])
def test_two_processes_act_apart_and_keep_the_same_weights(ranks, run):
    one, other = (rank[run] for rank in ranks)
    assert one["seed"] != other["seed"]
    assert one["actions"] != other["actions"]
    for name, weight in one["weights"].items():
        assert torch.equal(weight, other["weights"][name]), name


def test_steps_are_those_of_both(ranks):
    for rank in ranks:
        for run in ("first", "again"):
            assert rank[run]["env_steps"] == rank[run]["global_step"] == STEPS
        assert np.size(rank["first"]["actions"]) == STEPS // 2
        assert np.size(rank["again"]["actions"]) == (STEPS - HALF) // 2


def test_one_process_evaluates_and_both_are_told(ranks):
    one, other = (rank["first"] for rank in ranks)
    assert one["evaluations"] > 0
    assert other["evaluations"] == 0
    assert one["history"] == other["history"]
    for name in one["metrics"]:
        assert one["metrics"][name] == pytest.approx(other["metrics"][name], nan_ok=True), name
    assert {"eval/return", "train/episode_return", "train/loss"} <= set(other["metrics"])


def test_two_processes_with_half_the_environments_each_learn_the_task(ranks):
    # 100 is the highest return, 25 what guessing gets; the seed is fixed.
    assert ranks[1]["first"]["metrics"]["eval/return"] >= 98
    assert ranks[1]["again"]["metrics"]["eval/return"] >= 98


def test_after_a_resume_no_process_learns_from_an_empty_memory(ranks):
    # The first process alone has its memory back: both wait until each has its share again.
    assert ranks[1]["again"]["least"] >= 100
    assert ranks[1]["again"]["seed"] != ranks[1]["first"]["seed"]


if __name__ == "__main__":
    _rank(*sys.argv[1:])

"""Two real processes: how often they speak to each other, and how they leave together.

The file is also the program of one of the two.
"""

from __future__ import annotations

import collections
import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from paceline.platform.training.agreement import (
    MOST_BATCHES,
    batches_until_next,
    leaving_together,
    stop,
    told_to_leave,
)
from paceline.platform.training.checkpoints import Checkpoints
from paceline.platform.training.many_processes import GivenDeviceDDP, GivenRanks
from paceline.tests.two_ranks import one_of_two, run_two
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch.utils.data import DataLoader, TensorDataset

NUM_BATCHES, TOLD_AT = 600, 50
SPOKEN = ("broadcast", "all_reduce", "barrier", "all_gather", "broadcast_object_list")


@pytest.mark.parametrize(
    ("seconds_per_batch", "expected"),
    [(0.0, MOST_BATCHES), (0.0001, MOST_BATCHES), (0.005, 100), (0.3, 1), (30.0, 1)],
)
def test_processes_ask_each_other_about_twice_a_second(seconds_per_batch: float, expected: int):
    assert batches_until_next(seconds_per_batch) == expected


class Line(LightningModule):
    """y = w x, its gradients counted bucket by bucket."""

    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return (self.line(batch[0]) - batch[1]).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Counts(Callback):
    """Counts what is said between the first batch's end and the last one's."""

    def __init__(self):
        self.counts = collections.Counter[str]()
        self.left_at = -1

    def on_train_start(self, trainer, pl_module):
        def average(_, bucket):
            self.counts["buckets"] += 1
            future = dist.all_reduce(bucket.buffer(), async_op=True).get_future()  # pyright: ignore
            return future.then(lambda f: f.value()[0] / dist.get_world_size())

        trainer.strategy.model.register_comm_hook(None, average)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == 0:
            self.counts.clear()
        if batch_idx == TOLD_AT and trainer.global_rank == 1 and "told" in sys.argv:
            told_to_leave.set()
        if batch_idx == TOLD_AT and trainer.global_rank == 1 and "stop" in sys.argv:
            stop(trainer)
        self.left_at = batch_idx


def counted(counts: collections.Counter[str]) -> None:
    """Count the calls of torch.distributed from now on."""
    for name in SPOKEN:
        plain = getattr(dist, name)

        def call(*args, _plain=plain, _name=name, **kwargs):
            counts[_name] += 1
            return _plain(*args, **kwargs)

        setattr(dist, name, call)


def train(folder: Path, rank: int, mode: str) -> None:
    """Train along, and write down what was said."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": "2"}
    with one_of_two(folder, rank):
        x = torch.linspace(-1, 1, 2 * NUM_BATCHES)[:, None]
        loader = DataLoader(TensorDataset(x, 2 * x), batch_size=1)
        counts, saver = Counts(), Checkpoints(folder, None)
        counted(counts.counts)
        trainer = Trainer(
            accelerator="cpu",
            devices=1,
            strategy=GivenDeviceDDP(torch.device("cpu")),
            plugins=[GivenRanks()],
            max_epochs=1,
            logger=False,
            callbacks=[counts, saver],
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        has_left = False
        with nullcontext() if mode == "lightning" else leaving_together():
            try:
                trainer.fit(Line(), loader)
            except SIGTERMException:
                has_left = True
        told = {"counts": counts.counts, "left_at": counts.left_at, "has_left": has_left}
        Path(folder, f"{rank}.json").write_text(json.dumps(told))


def trained(folder: Path, mode: str) -> list[dict]:
    run_two(__file__, folder, mode)
    return [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in "01"]


def test_a_step_is_one_all_reduce_for_each_bucket_and_no_broadcast(tmp_path: Path):
    steps = NUM_BATCHES - 1
    for told in trained(tmp_path, "ours"):
        counts = told["counts"]
        assert counts["buckets"] == steps
        # Beside the buckets: a question twice a second, and Lightning's own at the epoch's end.
        assert counts["all_reduce"] - steps <= 10, counts
        assert counts.get("broadcast", 0) <= 2, counts


@pytest.mark.slow
def test_lightning_alone_broadcasts_at_each_step(tmp_path: Path):
    assert all(t["counts"]["broadcast"] >= NUM_BATCHES - 1 for t in trained(tmp_path, "lightning"))


def test_all_leave_at_the_same_batch_whichever_was_told(tmp_path: Path):
    first, second = trained(tmp_path, "told")
    assert first["has_left"]
    assert second["has_left"]
    assert first["left_at"] == second["left_at"] >= TOLD_AT
    saved = torch.load(tmp_path / "latest.ckpt", weights_only=True)
    assert saved["global_step"] == first["left_at"] + 1


def test_all_stop_at_the_same_batch_where_one_of_them_wants_to(tmp_path: Path):
    first, second = trained(tmp_path, "stop")
    assert not first["has_left"]
    assert TOLD_AT <= first["left_at"] == second["left_at"] < NUM_BATCHES - 1


if __name__ == "__main__":
    train(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])

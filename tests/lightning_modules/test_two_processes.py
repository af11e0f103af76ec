"""Two processes under DDP step as one on the joined batch, for each classifier of the catalog.

Batch norm's statistics and dropout's masks are each process's own, so they are held still here; a
batch is noise, in float64, so no recipe needs its data.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from paceline.lightning_modules.classifier import Classifier
from paceline.platform import config
from paceline.platform.building import build as build_all
from paceline.platform.catalog import entries
from torch import Tensor, nn

EXAMPLES = 8
PROMISE = "two_processes_step_as_one_does_on_the_joined_batch"


class Objective(nn.Module):
    """A model's loss as a forward pass, which is what DDP wraps."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return self.model.training_loss(x, labels)


def classifier(recipe: str) -> tuple[Any, Tensor, Tensor] | None:
    """A recipe's model with a batch of noise, or None where it is no classifier with weights."""
    pl.seed_everything(1, verbose=False)
    model = build_all(config.load(recipe)).model
    x = model.example_input_array
    if not isinstance(model, Classifier) or not isinstance(x, Tensor) or not x.is_floating_point():
        return None
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(EXAMPLES, *x.shape[1:], generator=rng, dtype=torch.float64)
    labels = torch.randint(model.num_classes, (EXAMPLES,), generator=rng)
    return model.double().eval(), x, labels


def stepped(objective: nn.Module, model: nn.Module, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The weights after one step of gradient descent."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    objective(x, labels).backward()
    optimizer.step()
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def half(folder: str, rank: int) -> None:
    """One of the two processes: a step on its half of each recipe's batch."""
    # They meet in a file: a port that was free a moment ago may be taken.
    place = f"file://{folder}/meeting"
    dist.init_process_group("gloo", place, timedelta(seconds=300), world_size=2, rank=rank)
    part = slice(0, EXAMPLES // 2) if rank == 0 else slice(EXAMPLES // 2, EXAMPLES)
    for recipe in sorted(entries("recipes")):
        if (found := classifier(recipe)) is not None:
            model, x, labels = found
            wrapped = nn.parallel.DistributedDataParallel(
                Objective(model), find_unused_parameters=True
            )
            weights = stepped(wrapped, model, x[part], labels[part])
            if rank == 1:
                torch.save(weights, f"{folder}/{recipe}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the weights after the step of two processes, a file for each recipe."""
    folder = tmp_path_factory.mktemp("halves")
    command = [sys.executable, "-W", "ignore", __file__, str(folder)]
    ranks = [subprocess.Popen([*command, rank]) for rank in "01"]
    try:
        assert [process.wait(timeout=500) for process in ranks] == [0, 0]
    finally:
        for process in ranks:
            process.kill()
            process.wait()
    return folder


@pytest.mark.parametrize("recipe", sorted(entries("recipes")))
def test_two_processes_step_as_one_does_on_the_joined_batch(recipe: str, halves: Path):
    found = classifier(recipe)
    if found is None:
        pytest.skip(f"{recipe} is no classifier of numbers; its family has a test of its own")
    model, x, labels = found
    reason = model.conformance_exceptions.get(PROMISE)
    if reason:
        pytest.skip(f"{type(model).__name__} declares: {reason}")
    joined = stepped(Objective(model), model, x, labels)
    weights = torch.load(halves / f"{recipe}.pt", weights_only=True)
    assert weights.keys() == joined.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(weight, joined[name], rtol=0, atol=1e-9, msg=name)


if __name__ == "__main__":
    half(sys.argv[1], int(sys.argv[2]))

"""Side by side: steps of LeNet-5 and ResNet-20 through `fit` against a plain tuned loop.

Both sides train the same network from the same weights on the same pictures with the same batch
size, optimizer (momentum, fused) and threads:

- `ours`: `paceline.platform.launch.train`, as `paceline fit` calls it: every Lightning hook, the
  record in MLflow on SQLite, system metrics, checkpoints; pictures are kept as bytes;
- `tuned`: a loop over normalised float pictures in memory, channels last, with `index_select`.

Measured is the training part of the second epoch; the first warms up. Rounds alternate the order,
and each round trains anew. That the work is equal is checked: both losses must have fallen, and end
within a tenth of the first loss of each other.

    python tests/benchmarks/cnn.py [--rounds 3] [--threads 2]

Takes about 4 minutes on two cores.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import statistics
import time
from typing import Any, NamedTuple

import torch
from measuring.ours import fit_seconds
from paceline.platform.configuration.config import Config, load
from paceline.platform.training.building import Built
from paceline.platform.training.fitting import prepare
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

BATCH_SIZE, LR, MOMENTUM = 128, 0.02, 0.9


class Case(NamedTuple):
    """One network: the recipe that has it, and the batches of an epoch."""

    recipe: str
    batches: int


CASES = {"lenet5": Case("lenet-mnist", 300), "resnet20": Case("resnet20-fashion-mnist", 60)}


class Measured(NamedTuple):
    """Milliseconds a step, and the loss of one fixed batch before and after the training."""

    ms: float
    before: float
    after: float


def config_of(case: Case) -> Config:
    changes: dict[str, Any] = {
        "model.label_smoothing": 0.0,
        "data.batch_size": BATCH_SIZE,
        "data.augmentation": "none",
        "data.drop_last": True,
        "optimizer.class_path": "SGD",
        "optimizer.lr": LR,
        "optimizer.momentum": MOMENTUM,
        "optimizer.weight_decay": 0.0,
        "lr_scheduler": None,
        "trainer.max_epochs": 2,
        "trainer.limit_train_batches": case.batches,
        "trainer.limit_val_batches": 1,
        "trainer.gradient_clip_val": None,
        "seed_everything": 1,
    }
    return load(case.recipe, {key: (value, "benchmark") for key, value in changes.items()})


def ours(case: Case, config: Config, built: Built, probe: tuple[Tensor, Tensor]) -> Measured:
    network = built.model.network
    before = loss_of(network, probe)
    seconds = fit_seconds(config, built, "cnn")
    return Measured(1000 * seconds[-1] / case.batches, before, loss_of(network, probe))


def tuned(
    case: Case, network: nn.Module, inputs: Tensor, labels: Tensor, probe: tuple[Tensor, Tensor]
) -> Measured:
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    network.train()
    sgd = torch.optim.SGD(network.parameters(), LR, MOMENTUM, fused=True)
    before, seconds = loss_of(network, probe), 0.0
    for _ in range(2):
        order = torch.randperm(len(inputs))
        began = time.perf_counter()
        for number in range(case.batches):
            index = order[number * BATCH_SIZE : (number + 1) * BATCH_SIZE]
            x = inputs.index_select(0, index)
            loss = cross_entropy(network(x), labels.index_select(0, index))
            sgd.zero_grad()
            loss.backward()
            sgd.step()
        seconds = time.perf_counter() - began
    return Measured(1000 * seconds / case.batches, before, loss_of(network, probe))


@torch.no_grad()
def loss_of(network: nn.Module, probe: tuple[Tensor, Tensor]) -> float:
    """The loss of a batch that both sides are asked about; batch norm as in training."""
    asked = copy.deepcopy(network).train()
    return cross_entropy(asked(probe[0]), probe[1]).item()


def one_round(case: Case, ours_first: bool) -> dict[str, Measured]:
    config = config_of(case)
    built = prepare(config)
    data: Any = built.data
    split = data.splits.train
    std = torch.tensor(data.splits.std).view(1, -1, 1, 1)
    mean = torch.tensor(data.splits.mean).view(1, -1, 1, 1)
    inputs = ((split.inputs.float() - mean) / std).contiguous(memory_format=torch.channels_last)
    probe = inputs[:1000], split.targets[:1000]
    twin = copy.deepcopy(built.model.network)
    sides = {
        "ours": lambda: ours(case, config, built, probe),
        "tuned": lambda: tuned(case, twin, inputs, split.targets, probe),
    }
    names = list(sides) if ours_first else list(sides)[::-1]
    found = {name: sides[name]() for name in names}
    assert math.isclose(found["ours"].before, found["tuned"].before, rel_tol=1e-5), found
    first, ends = found["ours"].before, [side.after for side in found.values()]
    assert max(ends) < first, found
    assert abs(ends[0] - ends[1]) < 0.1 * first, found
    return found


def measure(name: str, rounds: int) -> dict[str, Any]:
    """Alternate the two sides and give the ratio of their speeds, round by round."""
    found = [one_round(CASES[name], number % 2 == 0) for number in range(rounds)]
    ratios = [side["tuned"].ms / side["ours"].ms for side in found]
    return {
        "benchmark": "cnn",
        "network": name,
        "batch_size": BATCH_SIZE,
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "ms_per_step": {
            side: round(statistics.median(one[side].ms for one in found), 2)
            for side in ("ours", "tuned")
        },
        "ratio": round(statistics.median(ratios), 3),
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "loss": {side: round(found[-1][side].after, 4) for side in ("ours", "tuned")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    torch.set_num_threads(options.threads)
    for name in CASES:
        print(json.dumps(measure(name, options.rounds)), flush=True)


if __name__ == "__main__":
    main()

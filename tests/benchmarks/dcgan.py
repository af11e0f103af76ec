"""Side by side: pictures per second of DCGAN through `fit` against a plain tuned loop.

Both sides train the same two networks from the same weights on Fashion-MNIST with the same batch
size, optimizers (Adam, fused) and threads, and make each generated batch once:

- `ours`: `paceline.platform.launch.train`, as `paceline fit` calls it: every Lightning hook, the
  record in MLflow on SQLite, system metrics, checkpoints; pictures are kept as bytes;
- `tuned`: a loop over float pictures in memory with `index_select`; no gradient of the
  discriminator is computed for the generator's loss.

Measured is the training part of the second epoch; the first warms up. Rounds alternate the order,
and each round trains anew. That the work is equal is checked: the discriminator's losses on one
fixed batch start equal and end within a quarter of the first one of each other.

    python tests/benchmarks/dcgan.py [--rounds 3] [--threads 1] [--batches 60]

Takes about 3 minutes on one core.
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
from torch.nn.functional import softplus

BATCH_SIZE, LR, BETAS, NOISE = 128, 2e-4, (0.5, 0.999), 64


class Measured(NamedTuple):
    """Pictures per second, and the discriminator's loss of a fixed batch before and after."""

    rate: float
    before: float
    after: float


def config_of(batches: int) -> Config:
    changes: dict[str, Any] = {
        "model.noise_size": NOISE,
        "data.batch_size": BATCH_SIZE,
        "data.augmentation": "none",
        "data.drop_last": True,
        "optimizer.class_path": "Adam",
        "optimizer.lr": LR,
        "optimizer.betas": list(BETAS),
        "trainer.max_epochs": 2,
        "trainer.limit_train_batches": batches,
        "trainer.limit_val_batches": 1,
        "seed_everything": 1,
    }
    return load(
        "dcgan-fashion-mnist", {key: (value, "benchmark") for key, value in changes.items()}
    )


def ours(config: Config, built: Built, batches: int, probe: Tensor) -> Measured:
    model = built.model
    before = loss_of(model.generator, model.discriminator, probe)
    seconds = fit_seconds(config, built, "dcgan")
    after = loss_of(model.generator, model.discriminator, probe)
    return Measured(batches * BATCH_SIZE / seconds[-1], before, after)


def tuned(
    generator: nn.Module, discriminator: nn.Module, inputs: Tensor, batches: int, probe: Tensor
) -> Measured:
    players = [generator.train(), discriminator.train()]
    adams = [torch.optim.Adam(p.parameters(), LR, BETAS, fused=True) for p in players]
    before, seconds = loss_of(generator, discriminator, probe), 0.0
    weights = list(discriminator.parameters())
    for _ in range(2):
        order = torch.randperm(len(inputs))
        began = time.perf_counter()
        for number in range(batches):
            real = inputs.index_select(0, order[number * BATCH_SIZE : (number + 1) * BATCH_SIZE])
            fake = generator(torch.randn(BATCH_SIZE, NOISE)).tanh()
            scores, others = discriminator(real), discriminator(fake.detach())
            adams[1].zero_grad()
            (softplus(-scores).mean() + softplus(others).mean()).backward()
            adams[1].step()
            for weight in weights:
                weight.requires_grad_(False)
            adams[0].zero_grad()
            softplus(-discriminator(fake)).mean().backward()
            adams[0].step()
            for weight in weights:
                weight.requires_grad_(True)
        seconds = time.perf_counter() - began
    after = loss_of(generator, discriminator, probe)
    return Measured(batches * BATCH_SIZE / seconds, before, after)


@torch.no_grad()
def loss_of(generator: nn.Module, discriminator: nn.Module, real: Tensor) -> float:
    """The discriminator's loss of a batch that both sides are asked about, as in training."""
    players = [copy.deepcopy(player).train() for player in (generator, discriminator)]
    noise = torch.randn(len(real), NOISE, generator=torch.Generator().manual_seed(0))
    fake = players[0](noise).tanh()
    return (softplus(-players[1](real)).mean() + softplus(players[1](fake)).mean()).item()


def one_round(batches: int, ours_first: bool) -> dict[str, Measured]:
    config = config_of(batches)
    built = prepare(config)
    data: Any = built.data
    inputs = data.splits.train.inputs.float() / 127.5 - 1
    probe = inputs[:1000]
    twins = copy.deepcopy((built.model.generator, built.model.discriminator))
    sides = {
        "ours": lambda: ours(config, built, batches, probe),
        "tuned": lambda: tuned(*twins, inputs, batches, probe),
    }
    names = list(sides) if ours_first else list(sides)[::-1]
    found = {name: sides[name]() for name in names}
    assert math.isclose(found["ours"].before, found["tuned"].before, rel_tol=1e-3), found
    first, ends = found["ours"].before, [side.after for side in found.values()]
    assert abs(ends[0] - ends[1]) < first / 4, found
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batches", type=int, default=60)
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    torch.set_num_threads(options.threads)
    found = [one_round(options.batches, n % 2 == 0) for n in range(options.rounds)]
    ratios = [side["ours"].rate / side["tuned"].rate for side in found]
    answer = {
        "benchmark": "dcgan",
        "batch_size": BATCH_SIZE,
        "threads": torch.get_num_threads(),
        "rounds": options.rounds,
        "pictures_per_s": {
            side: round(statistics.median(one[side].rate for one in found))
            for side in ("ours", "tuned")
        },
        "ratio": round(statistics.median(ratios), 3),
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "loss": {side: round(found[-1][side].after, 4) for side in ("ours", "tuned")},
    }
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

"""K-FAC against gradient descent with momentum: updates and seconds to the same training loss.

The problem is the deep autoencoder of the recipe `autoencoder-mnist` (784-1000-500-250-30 and its
mirror, logistic units) on all 60,000 pictures of MNIST, without weight decay. Both sides start from
the same weights and see the same batches in the same order. Large batches favour K-FAC (Martens and
Grosse 2015, section 13); both sides have them.

Gradient descent comes first: each pair of rate and momentum of a grid runs for a fifth of the
updates, and the one with the lowest loss runs to the end. What it reaches there is the aim. Its
momentum is Nesterov's, as in the paper. Then K-FAC, with the settings of the recipe, runs until it
reaches the aim.
The loss is the mean of the training loss of the last ten batches, so both sides count what they are
trained on, and neither pays for an evaluation. Seconds are those of the updates alone, without
the making of the batches, and of the run of the best pair alone, not of the search for it.

    python tests/benchmarks/kfac.py [--updates 3000] [--batch-size 1000] [--grid 3e-3,0.9 1e-3,0.99]

One JSON line. The ratio of updates does not depend on the machine; that of seconds does, the more
so where others work on it. There the seconds of the processor, of all threads, say more.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from paceline.lightning_modules.autoencoder import Autoencoder
from paceline.lightning_modules.blocks.kfac import KFAC
from paceline.lightning_modules.blocks.optimizers import Nesterov
from paceline.lightning_modules.data.mnist import MNIST
from paceline.platform.configuration.config import load
from torch import Tensor
from torch.optim import Optimizer

WINDOW = 10  # batches whose mean loss is compared


@dataclass
class Run:
    """One side's training: the loss before each update, and the seconds of all updates."""

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def loss(self) -> float:
        """Mean of the last losses; infinite for a run that diverged."""
        last = self.losses[-WINDOW:]
        mean = sum(last) / len(last)
        return mean if math.isfinite(mean) else math.inf


def batches(pictures: Tensor, size: int, seed: int) -> Iterator[Tensor]:
    """Pixels (B, D) from 0 to 1, epoch after epoch, for ever."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(pictures), generator=generator)
        for start in range(0, len(order) - size + 1, size):
            yield pictures[order[start : start + size]].float().div_(255)


def train(
    pictures: Tensor,
    make: Callable[[Autoencoder], Optimizer],
    arguments: argparse.Namespace,
    updates: int,
    aim: float = -math.inf,
) -> Run:
    """Update until the loss is at the aim, but not more often than told."""
    torch.manual_seed(arguments.seed)
    model = Autoencoder(in_features=pictures.shape[1])
    optimizer = make(model)
    run, recent = Run(), deque[float](maxlen=WINDOW)
    for number, pixels in enumerate(batches(pictures, arguments.batch_size, arguments.seed)):
        if number == updates:
            break
        began, cpu_began = time.perf_counter(), time.process_time()
        optimizer.zero_grad()
        said, _ = model.network(pixels)
        loss = model.reconstruction_loss(said, pixels)
        loss.backward()
        optimizer.step()
        run.seconds += time.perf_counter() - began
        run.cpu_seconds += time.process_time() - cpu_began
        run.losses.append(loss.item())
        recent.append(run.losses[-1])
        if not math.isfinite(run.losses[-1]) or (
            len(recent) == WINDOW and sum(recent) / WINDOW <= aim
        ):
            break
    return run


def kfac(model: Autoencoder) -> KFAC:
    """The recipe's optimizer."""
    spec = load("autoencoder-mnist").resolved["optimizer"]
    assert spec["class_path"].endswith("KFAC"), spec
    optimizer = KFAC(model.parameters(), **spec["init_args"])
    optimizer.attach(model)
    return optimizer


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Tune and run gradient descent, then run K-FAC to the same loss."""
    pictures = MNIST(val_size=0).load().train.inputs.flatten(1)  # bytes (N, D)
    search: dict[str, float] = {}
    for pair in arguments.grid:
        run = train(pictures, nesterov(pair), arguments, arguments.updates // 5)
        search[pair] = run.loss
    best = min(search, key=search.__getitem__)
    sgd = train(pictures, nesterov(best), arguments, arguments.updates)
    own = train(pictures, kfac, arguments, arguments.updates, sgd.loss)
    reached = own.loss <= sgd.loss
    return {
        "benchmark": "kfac",
        "seed": arguments.seed,
        "batch_size": arguments.batch_size,
        "threads": torch.get_num_threads(),
        "search": {pair: round(loss, 2) for pair, loss in search.items()},
        "sgd": _summary(sgd) | {"rate_and_momentum": best},
        "kfac": _summary(own) | {"reached": reached},
        "ratio_of_updates": round(len(sgd.losses) / len(own.losses), 2) if reached else None,
        "ratio_of_seconds": round(sgd.seconds / own.seconds, 2) if reached else None,
        "ratio_of_cpu_seconds": round(sgd.cpu_seconds / own.cpu_seconds, 2) if reached else None,
    }


def nesterov(pair: str) -> Callable[[Autoencoder], Optimizer]:
    """What makes gradient descent with a rate and a momentum, `3e-3,0.9`."""
    rate, momentum = map(float, pair.split(","))
    return lambda model: Nesterov(model.parameters(), rate, momentum)


def _summary(run: Run) -> dict[str, float]:
    return {
        "loss": round(run.loss, 2),
        "updates": len(run.losses),
        "seconds": round(run.seconds, 1),
        "cpu_seconds": round(run.cpu_seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--updates", type=int, default=3000)
    parser.add_argument("--batch-size", type=int, default=1000)
    grid = ["1e-3,0.9", "3e-3,0.9", "3e-4,0.99", "1e-3,0.99"]
    parser.add_argument("--grid", nargs="+", default=grid, help="pairs of rate,momentum")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    print(json.dumps(measure(arguments)), flush=True)


if __name__ == "__main__":
    main()

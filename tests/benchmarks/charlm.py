"""Side by side: the character model through `fit` against plain loops, in characters per second.

All sides train the network of the recipe `charlm` from the same weights on the same windows of tiny
Shakespeare, the state carried, with the same optimizer (AdamW, fused), clipping and threads:

- `ours`: `paceline.platform.launch.train`, as `paceline fit` calls it: every Lightning hook, the
  record in MLflow on SQLite, system metrics, checkpoints;
- `tuned`: a loop around `nn.Embedding`, `nn.LSTM` and `nn.Linear`;
- `cells`: the same loop with an `nn.LSTMCell` called for each character of a window.

Measured is the training part of the second epoch; the first warms up. Rounds alternate the order,
and each round trains anew. That the work is equal is checked: the losses of a window that all sides
are asked about must agree before and after the training.

    python tests/benchmarks/charlm.py [--rounds 3] [--threads 2] [--batches 40]
        [--hidden-size 256] [--batch-size 32]

What `cells` loses is the calls, not the arithmetic: the smaller a step, the more it loses. So the
matrix products of a window are timed alone as well, `products`: no side can pass them by much.
Takes about 3 minutes on two cores.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from measuring.ours import fit_seconds
from measuring.products import linear_products, products_seconds
from paceline.lightning_modules.data.sequences.streams import TrainingStreams
from paceline.platform.configuration.config import Config, load
from paceline.platform.training.building import Built
from paceline.platform.training.fitting import prepare
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

LR, DECAY, CLIP, SEED = 2e-3, 1e-2, 1.0, 1
State = tuple[Tensor, Tensor]
Window = tuple[Tensor, Tensor]


class Measured(NamedTuple):
    """Seconds of an epoch, and the loss of one fixed window before and after the training."""

    seconds: float
    before: float
    after: float


class Fused(nn.Module):
    """The network as torch's own layers."""

    def __init__(self, network: Any):
        super().__init__()
        twin = copy.deepcopy(network)
        self.embedding, self.lstm, self.output = twin.embedding, twin.layers.layers, twin.output

    def forward(self, characters: Tensor, state: State | None) -> tuple[Tensor, State]:
        outputs, state = self.lstm(self.embedding(characters), state)
        return self.output(outputs), state


class Cells(nn.Module):
    """The network as a tutorial writes it: a cell, called once a character."""

    def __init__(self, network: Any):
        super().__init__()
        twin = copy.deepcopy(network)
        self.embedding, self.output = twin.embedding, twin.output
        lstm = twin.layers.layers
        assert lstm.num_layers == 1
        self.cell = nn.LSTMCell(lstm.input_size, lstm.hidden_size)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            setattr(self.cell, name, getattr(lstm, f"{name}_l0"))

    def forward(self, characters: Tensor, state: State | None) -> tuple[Tensor, State]:
        outputs = []
        for vectors in self.embedding(characters).unbind(1):
            state = self.cell(vectors, state)
            assert state is not None
            outputs.append(state[0])
        assert state is not None
        return self.output(torch.stack(outputs, 1)), state


def products(network: Any, batches: int, batch_size: int, window: int) -> float:
    """Seconds of an epoch's: one a character with the state, one a window without it."""
    lstm, rows = network.layers.layers, batch_size * window
    hidden, gates = lstm.hidden_size, 4 * lstm.hidden_size
    shapes = linear_products(rows, lstm.input_size, gates)
    shapes += linear_products(rows, hidden, network.vocab_size)
    shapes += [(batch_size, hidden, gates, window), (batch_size, gates, hidden, window)]
    return products_seconds([*shapes, (gates, rows, hidden, 1)], batches)


def config_of(batches: int, sizes: tuple[int, int]) -> Config:
    changes: dict[str, Any] = {
        "optimizer.class_path": "AdamW",
        "optimizer.lr": LR,
        "optimizer.weight_decay": DECAY,
        "lr_scheduler": None,
        "model.hidden_size": sizes[0],
        "data.batch_size": sizes[1],
        "model.num_layers": 1,
        "model.cell": "lstm",
        "model.dropout": 0.0,
        "trainer.max_epochs": 2,
        "trainer.limit_train_batches": batches,
        "trainer.limit_val_batches": 1,
        "trainer.gradient_clip_val": CLIP,
        "seed_everything": SEED,
    }
    return load("charlm", {key: (value, "benchmark") for key, value in changes.items()})


def ours(config: Config, built: Built, probe: Window) -> Measured:
    network = built.model.network
    before = loss_of(network, probe)
    seconds = fit_seconds(config, built, "charlm")
    return Measured(seconds[-1], before, loss_of(network, probe))


def plain(network: nn.Module, windows: list[list[Window]], probe: Window) -> Measured:
    """The loop that both peers share; `windows` are those of each epoch."""
    adamw = torch.optim.AdamW(network.parameters(), LR, weight_decay=DECAY, fused=True)
    before, seconds = loss_of(network, probe), 0.0
    for epoch in windows:
        began, state = time.perf_counter(), None
        for characters, targets in epoch:
            scores, (h, c) = network(characters, state)
            state = h.detach(), c.detach()
            loss = cross_entropy(scores.flatten(0, 1), targets.flatten())
            adamw.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            adamw.step()
        seconds = time.perf_counter() - began
    return Measured(seconds, before, loss_of(network, probe))


@torch.no_grad()
def loss_of(network: nn.Module, probe: Window) -> float:
    scores = network(probe[0], None)[0]
    return cross_entropy(scores.flatten(0, 1), probe[1].flatten()).item()


def windows_of(data: Any, batches: int) -> list[list[Window]]:
    """The first windows of two epochs, as the loader of the same seed has them."""
    sequence = data.encoded["train"].long()
    streams = TrainingStreams(len(sequence), data.batch_size, data.window, seed=SEED)
    epochs = []
    for streams.epoch in range(2):
        rows = streams.rows(sequence)
        parts = (part[:, : batches * data.window].split(data.window, 1) for part in rows)
        epochs.append(list(zip(*parts, strict=True)))
    return epochs


def one_round(batches: int, sizes: tuple[int, int], ours_first: bool) -> dict[str, Measured]:
    config = config_of(batches, sizes)
    built = prepare(config)
    data: Any = built.data
    windows = windows_of(data, batches)
    probe = windows[0][0]
    fused, cells = Fused(built.model.network), Cells(built.model.network)
    sides: dict[str, Callable[[], Measured]] = {
        "ours": lambda: ours(config, built, probe),
        "tuned": lambda: plain(fused, windows, probe),
        "cells": lambda: plain(cells, windows, probe),
    }
    names = list(sides) if ours_first else list(sides)[::-1]
    found = {name: sides[name]() for name in names}
    mine = found["ours"]
    assert mine.after < mine.before - 0.5, found
    for side in found.values():
        assert math.isclose(mine.before, side.before, rel_tol=1e-4), found
        assert math.isclose(mine.after, side.after, rel_tol=1e-2), found
    return found


def measure(rounds: int, batches: int, sizes: tuple[int, int]) -> dict[str, Any]:
    """Alternate the sides and give the ratios of their speeds, round by round."""
    found = [one_round(batches, sizes, number % 2 == 0) for number in range(rounds)]
    built = prepare(config_of(batches, sizes))
    data: Any = built.data
    characters = batches * data.batch_size * data.window
    bare = products(built.model.network, batches, data.batch_size, data.window)
    answer: dict[str, Any] = {
        "benchmark": "charlm",
        "hidden_size": sizes[0],
        "batch_size": data.batch_size,
        "window": data.window,
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "characters_per_second": {
            side: round(characters / statistics.median(one[side].seconds for one in found))
            for side in ("ours", "tuned", "cells")
        }
        | {"products": round(characters / bare)},
        "loss": {side: round(measured.after, 4) for side, measured in found[-1].items()},
    }
    for peer in ("tuned", "cells"):
        ratios = [one[peer].seconds / one["ours"].seconds for one in found]
        answer[f"ratio_to_{peer}"] = round(statistics.median(ratios), 3)
        answer[f"spread_to_{peer}"] = [round(min(ratios), 3), round(max(ratios), 3)]
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--hidden-size", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=32)
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    torch.set_num_threads(options.threads)
    sizes = options.hidden_size, options.batch_size
    print(json.dumps(measure(options.rounds, options.batches, sizes)))


if __name__ == "__main__":
    main()

"""Where the plain RNN stops learning: the three cells on the adding problem at growing lengths.

Each cell is trained as the recipe `lstm-adding` trains it, with equally many steps of equally many
sequences at each length, from the same seed; what counts is its mean squared error on sequences
that it has not seen. Each step has new sequences, so that nothing can be learned by heart.

    python tests/benchmarks/long_term.py [--lengths 10 25 50 100 200] [--steps 1000]
                                         [--learning-rate 1e-2] [--seed 1]
                                         [--picture docs/long_term_dependencies.png]

One JSON line, and the picture. Both are what a single seed gives; the step at which a cell leaves
the guess moves with the seed. All cells have one rate, of 3e-3 and 1e-2 the one with the lower mean
log error of the three at length 25; the plain cell alone would have taken the other.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from paceline.lightning_modules.blocks.recurrent import CELLS
from paceline.lightning_modules.blocks.schedules import OneCycle
from paceline.lightning_modules.data.sequences.adding import GUESS_ERROR, adding_samples
from paceline.lightning_modules.pictures.long_term import error_over_length
from paceline.lightning_modules.sequence_regressor import SequenceRegressor
from torch.nn import functional as F

BATCH_SIZE, HIDDEN_SIZE, CLIP = 100, 64, 1.0
NUM_TEST = 1000


def train(cell: str, length: int, steps: int, rate: float, seed: int) -> float:
    """Mean squared error of a cell after its training."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    test = adding_samples(rng, NUM_TEST, length)
    model = SequenceRegressor([length, 2], HIDDEN_SIZE, cell)  # pyright: ignore[reportArgumentType]
    optimizer = torch.optim.Adam(model.parameters(), rate)
    schedule = OneCycle(optimizer, total_steps=steps)
    for _ in range(steps):
        batch = adding_samples(rng, BATCH_SIZE, length)
        loss = F.mse_loss(model(batch.inputs), batch.targets)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return F.mse_loss(model(test.inputs), test.targets).item()


def measure(lengths: list[int], steps: int, rate: float, seed: int) -> dict[str, dict[int, float]]:
    """Cell -> length -> error."""
    return {cell: {n: train(cell, n, steps, rate, seed) for n in lengths} for cell in CELLS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[10, 25, 50, 100, 200])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--learning-rate", type=float, default=1e-2)
    parser.add_argument("--seed", type=int, default=1)
    docs = Path(__file__).parents[2] / "docs"
    parser.add_argument("--picture", type=Path, default=docs / "long_term_dependencies.png")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    began = time.perf_counter()
    rate = arguments.learning_rate
    results = measure(arguments.lengths, arguments.steps, rate, arguments.seed)
    error_over_length(results, GUESS_ERROR).savefig(arguments.picture, dpi=120)
    answer = {
        "benchmark": "long_term",
        "steps": arguments.steps,
        "batch_size": BATCH_SIZE,
        "hidden_size": HIDDEN_SIZE,
        "learning_rate": rate,
        "seed": arguments.seed,
        "guess": round(GUESS_ERROR, 4),
        "error": {c: {n: float(f"{e:.3g}") for n, e in at.items()} for c, at in results.items()},
        "seconds": round(time.perf_counter() - began),
    }
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

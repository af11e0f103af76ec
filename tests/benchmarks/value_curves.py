"""How fast value functions come to the truth, and how much planning spares; two pictures.

Values: the random walk of 19 states under the random policy. Monte Carlo, TD(0) and 4-step TD with
one number per state, and 4-step TD with a network, each as its own runs with equally many steps in
one environment. Each learning rate is, of those in `RATES`, the one with the lowest error on
average over half such a run with another seed than those that are shown. Dyna-Q: the maze of Sutton
and Barto 2018, example 8.1, with the settings of figure 8.2 (alpha and epsilon 0.1, gamma 0.95).

    python tests/benchmarks/value_curves.py [--seeds 3] [--steps 10000]
                                            [--pictures docs]

One JSON line, and the pictures value_curves.png and value_dyna.png.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from paceline.rl.dyna import DynaQ
from paceline.rl.pictures.values import episode_curves, error_curves
from paceline.rl.value import ValueFunction

NETWORK = {"features": "polynomial", "feature_size": 1, "hidden_sizes": [32]}
LEARNERS: dict[str, dict[str, Any]] = {
    "Monte Carlo, one number per state": {"method": "monte_carlo"},
    "TD(0), one number per state": {"n_step": 1},
    "4-step TD, one number per state": {"n_step": 4},
    "4-step TD, network": {"n_step": 4, **NETWORK},
}
RATES = (0.003, 0.01, 0.03, 0.1, 0.3)
PLANNING = (0, 5, 50)
MOST_EPISODES = 50
MAZE = {"step_reward": 0.0, "goal_reward": 1.0}


def fit(model: Any, seed: int, num_steps: int, rate: float | None = None) -> Any:
    """Train; the seed is set before, the weights are made under it."""
    if rate is not None:
        model.configure_optimizers = lambda: torch.optim.SGD(model.parameters(), rate)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=num_steps,
        max_epochs=-1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(model)
    return model


def curve(settings: dict[str, Any], rate: float, seeds: range, num_steps: int) -> np.ndarray:
    """Environment steps and error, mean over the seeds, (validations, 2)."""
    rows = []
    for seed in seeds:
        pl.seed_everything(seed, verbose=False)
        model = ValueFunction(epoch_steps=500, chunk_steps=500, **settings)
        rows.append(np.array(fit(model, seed, num_steps, rate).history))
    return np.nan_to_num(np.mean(rows, 0), nan=np.inf)


def best_rate(settings: dict[str, Any], num_steps: int) -> float:
    """The rate with the lowest mean error over a shorter run of another seed."""
    errors = {r: curve(settings, r, range(101, 102), num_steps // 2)[:, 1].mean() for r in RATES}
    return min(errors, key=errors.__getitem__)


def episodes(planning_steps: int, seeds: range) -> list[float]:
    """Steps of the first episodes, mean over the seeds."""
    rows = []
    for seed in seeds:
        pl.seed_everything(seed, verbose=False)
        num_steps = 12_000 if planning_steps == 0 else 4000
        settings = {"epoch_steps": num_steps, "environment_options": MAZE}
        model = DynaQ(planning_steps=planning_steps, **settings)
        rows.append(fit(model, seed, num_steps).episode_lengths)
    shown = min(MOST_EPISODES, *(len(lengths) for lengths in rows))
    return np.mean([lengths[:shown] for lengths in rows], 0).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--pictures", type=Path, default=Path(__file__).parents[2] / "docs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "The '.*_dataloader' does not have many workers")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    began, seeds = time.perf_counter(), range(1, arguments.seeds + 1)
    rates = {label: best_rate(settings, arguments.steps) for label, settings in LEARNERS.items()}
    curves = {n: curve(s, rates[n], seeds, arguments.steps) for n, s in LEARNERS.items()}
    error_curves({f"{n} ({rates[n]:g})": rows.tolist() for n, rows in curves.items()}).savefig(
        arguments.pictures / "value_curves.png", dpi=120
    )
    lengths = {planning_steps: episodes(planning_steps, seeds) for planning_steps in PLANNING}
    labels = {f"{count} planning steps": steps for count, steps in lengths.items()}
    episode_curves(labels).savefig(arguments.pictures / "value_dyna.png", dpi=120)
    answer = {
        "benchmark": "value_curves",
        "seeds": len(seeds),
        "steps": arguments.steps,
        "learning_rate": rates,
        "mean_error": {n: float(f"{rows[:, 1].mean():.3g}") for n, rows in curves.items()},
        "last_error": {n: float(f"{rows[-1, 1]:.3g}") for n, rows in curves.items()},
        "steps_of_episodes_2_to_10": {n: round(np.mean(x[1:10]), 1) for n, x in lengths.items()},
        "seconds": round(time.perf_counter() - began),
    }
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

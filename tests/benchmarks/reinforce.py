"""Side by side: REINFORCE on CartPole-v1 against a plain loop, and where our time goes.

- `learning`: seconds from the start of training until a greedy evaluation of 25 episodes, one every
  so many steps as in the recipe, has a mean of 475, and of 500; imports left out, evaluations
  counted on both sides. stable-baselines3 has no REINFORCE; the peer is the loop that most people
  write, as in PyTorch's example: one environment, one update after each episode, returns
  standardised, Adam at 1e-2, 128 units with dropout of 0.6. It is evaluated as ours is;
- `profile`: share of our time in each part.

Ours is `paceline.platform.launch.train`, as `paceline fit reinforce-cartpole` calls it: Lightning,
the record in MLflow, checkpoints. Seeds alternate the order; threads are equal.

    python tests/benchmarks/reinforce.py [--parts learning profile] [--seeds 5]
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from measuring.ours import fit_seconds
from numpy.typing import NDArray
from paceline.platform.configuration.config import load
from paceline.platform.training.fitting import prepare
from paceline.rl.playing.acting import Environments
from paceline.rl.playing.making import Maker
from paceline.rl.playing.played_episodes import play
from paceline.rl.reinforce import REINFORCE
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

GOALS = (475.0, 500.0)
RECIPE = "reinforce-cartpole"
EPISODES = 25
MOST_STEPS = 400_000  # of the peer, after which it is given up


class Goals:
    """When the mean return of an evaluation first reached each goal, in seconds."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self.seconds: dict[float, float] = {}

    def tell(self, mean: float) -> bool:
        """Note an evaluation; whether all goals are reached."""
        for goal in GOALS:
            if mean >= goal:
                self.seconds.setdefault(goal, time.perf_counter() - self._began)
        return len(self.seconds) == len(GOALS)


class StopAtGoals(Callback):
    """Ends the training when all goals are reached."""

    goals: Goals

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.goals = Goals()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            mean = float(trainer.callback_metrics["eval/return"])
            trainer.should_stop = self.goals.tell(mean)


def our_seconds(seed: int) -> dict[float, float]:
    callback = StopAtGoals()
    our_run({"seed_everything": seed, "model.eval_episodes": EPISODES}, [callback])
    return callback.goals.seconds


def our_run(changes: dict[str, Any], callbacks: list[Callback]) -> float:
    config = load(RECIPE, {name: (value, "benchmark") for name, value in changes.items()})
    return sum(fit_seconds(config, prepare(config), "reinforce", callbacks))


def plain_network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 128), nn.Dropout(0.6), nn.ReLU(), nn.Linear(128, 2))


def plain_seconds(seed: int, eval_every: int) -> dict[float, float]:
    """The loop that most people write."""
    torch.manual_seed(seed)
    environment = gymnasium.make("CartPole-v1")
    environment.reset(seed=seed)
    network = plain_network()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    maker, goals, num_steps = Maker("CartPole-v1"), Goals(), 0
    while num_steps < MOST_STEPS:
        evaluated = num_steps // eval_every
        while num_steps // eval_every == evaluated:
            log_probabilities, rewards = plain_episode(environment, network)
            plain_update(optimizer, log_probabilities, rewards)
            num_steps += len(rewards)
        network.eval()
        mean = play(maker, functools.partial(greedily, network), EPISODES, seed + num_steps).mean
        network.train()
        if goals.tell(mean):
            break
    return goals.seconds


def plain_episode(environment: Any, network: nn.Module) -> tuple[list[Tensor], list[float]]:
    log_probabilities, rewards = [], []
    observation, _ = environment.reset()
    ended = False
    while not ended:
        policy = torch.distributions.Categorical(
            logits=network(torch.from_numpy(observation).unsqueeze(0))
        )
        action = policy.sample()
        observation, reward, terminated, truncated, _ = environment.step(int(action))
        log_probabilities.append(policy.log_prob(action))
        rewards.append(float(reward))
        ended = terminated or truncated
    return log_probabilities, rewards


def plain_update(
    optimizer: torch.optim.Optimizer, log_probabilities: list[Tensor], rewards: list[float]
) -> None:
    later, returns = 0.0, []
    for reward in reversed(rewards):
        later = reward + 0.99 * later
        returns.insert(0, later)
    weights = torch.tensor(returns)
    weights = (weights - weights.mean()) / (weights.std() + 1e-8)
    optimizer.zero_grad()
    (-torch.cat(log_probabilities) * weights).sum().backward()
    optimizer.step()


@torch.no_grad()
def greedily(network: nn.Module, observations: NDArray) -> NDArray:
    return np.asarray(network(torch.from_numpy(observations)).argmax(1))


def learning(num_seeds: int) -> list[dict[str, Any]]:
    """A line for each goal: seconds of each seed, their medians, and the ratio with its spread."""
    every = load(RECIPE).get("model.init_args.epoch_steps")
    sides = {"ours": our_seconds, "plain": functools.partial(plain_seconds, eval_every=every)}
    told: dict[str, list[dict[float, float]]] = {side: [] for side in sides}
    for seed in range(1, num_seeds + 1):
        for side in sorted(sides, reverse=seed % 2 == 0):
            told[side].append(sides[side](seed))
    return [compared(goal, told) for goal in GOALS]


def compared(goal: float, told: dict[str, list[dict[float, float]]]) -> dict[str, Any]:
    # A run that never got there took longer than any that did.
    seconds = {side: [run.get(goal, float("inf")) for run in runs] for side, runs in told.items()}
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["plain"], strict=True)]
    median = {side: statistics.median(each) for side, each in seconds.items()}
    return {
        "benchmark": f"reinforce-{goal:.0f}",
        "seconds": {side: [shown(s) for s in each] for side, each in seconds.items()},
        "median": {side: shown(number) for side, number in median.items()},
        "ratio": shown(statistics.median(ratios)),
        "spread": [shown(min(ratios)), shown(max(ratios))],
    }


def shown(number: float) -> float | None:
    """JSON knows no infinity."""
    return round(number, 2) if number < float("inf") else None


def profile(epochs: int = 8) -> dict[str, Any]:
    """Share of our time in each part, from one run with a clock around each of them."""
    spent: dict[str, float] = {}
    parts = {
        "environment": (Environments, "step"),
        "acting": (REINFORCE, "act_by_chance"),
        "update": (REINFORCE, "_learn"),
    }
    kept = {part: getattr(*place) for part, place in parts.items()}
    every = load(RECIPE).get("model.init_args.epoch_steps")
    for part, (owner, name) in parts.items():
        setattr(owner, name, timed(kept[part], part, spent))
    try:
        with_evaluations = {"model.eval_episodes": 1, "trainer.max_steps": epochs * every}
        whole = our_run(with_evaluations, [ForgetEvaluations(spent)])
    finally:
        for part, (owner, name) in parts.items():
            setattr(owner, name, kept[part])
    shares = {part: round(seconds / whole, 3) for part, seconds in spent.items()}
    shares["rest"] = round(1 - sum(shares.values()), 3)
    speed = epochs * every / whole
    return {"benchmark": "reinforce-profile", "steps_per_second": round(speed), "share": shares}


class ForgetEvaluations(Callback):
    """What an evaluation spends in the environments is none of the training's time."""

    def __init__(self, spent: dict[str, float]):
        self.spent = spent

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._before = dict(self.spent)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.spent.update({part: self._before.get(part, 0.0) for part in self.spent})


def timed(call: Callable[..., Any], part: str, spent: dict[str, float]) -> Callable[..., Any]:
    """The same function with its time added up."""

    @functools.wraps(call)
    def run(*args: Any, **options: Any) -> Any:
        began = time.perf_counter()
        answer = call(*args, **options)
        spent[part] = spent.get(part, 0.0) + time.perf_counter() - began
        return answer

    return run


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--parts", nargs="+", default=["learning", "profile"])
    options.add_argument("--seeds", type=int, default=5)
    given = options.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if "learning" in given.parts:
        for line in learning(given.seeds):
            print(json.dumps(line), flush=True)
    if "profile" in given.parts:
        print(json.dumps(profile()), flush=True)


if __name__ == "__main__":
    main()

"""Side by side: DQN on CartPole-v1 against stable-baselines3, and where our time goes.

- `small`: environment steps per second; network 64-64, batches of 64, one update per 4 steps;
- `zoo`: the same with the network (256-256), batch and rhythm that RL Zoo publishes for
  stable-baselines3: 128 updates after every 256 steps;
- `learning`: seconds from the start of training until a greedy evaluation of 20 episodes, one every
  2,048 steps, has a mean of 475, imports left out; each side with its own best published settings:
  ours the recipe `dqn-cartpole`, theirs RL Zoo's.

Ours is `paceline.platform.launch.train`, as `paceline fit` calls it: Lightning, the record in
MLflow, checkpoints. Rounds alternate the order; threads are equal.

    python tests/benchmarks/dqn.py [--parts small zoo learning profile] [--rounds 3] [--seeds 5]
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

import torch
from measuring.ours import fit_seconds
from paceline.platform.configuration.config import load
from paceline.platform.training.fitting import prepare
from paceline.rl.dqn import DQN
from paceline.rl.playing.acting import Environments
from paceline.rl.replay.memory import Memory
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

SOLVED = 475.0
EVAL_EVERY = 2048  # steps, as the recipe has it
SMALL = {"hidden_sizes": [64, 64], "train_every": 4, "gradient_steps": 1}
ZOO = {"hidden_sizes": [256, 256], "train_every": 256, "gradient_steps": 128}
EQUAL = {"batch_size": 64, "buffer_size": 100_000, "learning_starts": 1_000, "n_step": 1}


class StopWhenSolved(Callback):
    """Ends the training at the first evaluation with a mean of 475; says after how long."""

    seconds: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._began = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        solved = float(trainer.callback_metrics["eval/return"]) >= SOLVED
        if solved and self.seconds is None and not trainer.sanity_checking:
            self.seconds = time.perf_counter() - self._began
            trainer.should_stop = True


def our_run(changes: dict[str, Any], callback: Callback | None = None) -> list[float]:
    config = load("dqn-cartpole", {k: (v, "benchmark") for k, v in changes.items()})
    callbacks = [] if callback is None else [callback]
    return fit_seconds(config, prepare(config), "dqn", callbacks)


def our_speed(settings: dict[str, Any], steps: int) -> float:
    """Environment steps per second, over all of a run of so many steps."""
    model = {f"model.{name}": value for name, value in (EQUAL | settings).items()}
    model |= {"model.epoch_steps": steps, "model.eval_episodes": 1}
    return steps / sum(our_run(model | {"trainer.max_steps": steps, "seed_everything": 1}))


def our_seconds(seed: int) -> float | None:
    callback = StopWhenSolved()
    our_run({"seed_everything": seed}, callback)
    return callback.seconds


def their_model(settings: dict[str, Any], seed: int, **more: Any) -> Any:
    from stable_baselines3 import DQN as Theirs

    return Theirs(
        "MlpPolicy",
        "CartPole-v1",
        learning_rate=2.3e-3,
        buffer_size=EQUAL["buffer_size"],
        learning_starts=EQUAL["learning_starts"],
        batch_size=EQUAL["batch_size"],
        train_freq=settings["train_every"],
        gradient_steps=settings["gradient_steps"],
        target_update_interval=10,
        exploration_fraction=0.16,
        exploration_final_eps=0.04,
        policy_kwargs={"net_arch": settings["hidden_sizes"]},
        seed=seed,
        device="cpu",
        **more,
    )


def their_speed(settings: dict[str, Any], steps: int) -> float:
    model = their_model(settings, seed=1)
    began = time.perf_counter()
    model.learn(steps)
    return steps / (time.perf_counter() - began)


def their_seconds(seed: int) -> float | None:
    from stable_baselines3.common.callbacks import EvalCallback, StopTrainingOnRewardThreshold
    from stable_baselines3.common.env_util import make_vec_env

    stop = StopTrainingOnRewardThreshold(SOLVED)
    rooms = make_vec_env("CartPole-v1", 1, seed=1000 + seed)
    evaluation = EvalCallback(
        rooms, callback_on_new_best=stop, eval_freq=EVAL_EVERY, n_eval_episodes=20, verbose=0
    )
    model = their_model(ZOO, seed)
    began = time.perf_counter()
    model.learn(50_000, callback=evaluation)  # what RL Zoo trains for
    seconds = time.perf_counter() - began
    return seconds if evaluation.best_mean_reward >= SOLVED else None


def compare(name: str, settings: dict[str, Any], rounds: int, steps: int) -> dict[str, Any]:
    sides: dict[str, Callable[[dict[str, Any], int], float]]
    sides = {"ours": our_speed, "sb3": their_speed}
    speeds: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(rounds):
        for side in sorted(sides, reverse=bool(number % 2)):
            speeds[side].append(sides[side](settings, steps))
    ratios = [a / b for a, b in zip(speeds["ours"], speeds["sb3"], strict=True)]
    return {
        "benchmark": f"dqn-{name}",
        "steps": steps,
        "steps_per_second": {side: round(statistics.median(v)) for side, v in speeds.items()},
        "ratio": round(statistics.median(ratios), 2),
        "spread": [round(min(ratios), 2), round(max(ratios), 2)],
    }


def learning(num_seeds: int) -> dict[str, Any]:
    ours: list[float | None] = []
    theirs: list[float | None] = []
    for seed in range(1, num_seeds + 1):
        order = [(ours, our_seconds), (theirs, their_seconds)]
        for kept, run in order if seed % 2 else order[::-1]:
            kept.append(run(seed))
    told = {"ours": ours, "sb3": theirs}
    # A run that never got there took longer than any that did.
    median = {n: statistics.median(s or float("inf") for s in v) for n, v in told.items()}
    return {
        "benchmark": "dqn-learning",
        "seconds_to_475": {n: [s and round(s, 1) for s in v] for n, v in told.items()},
        "median": {n: round(m, 1) for n, m in median.items()},
        "ratio": round(median["sb3"] / median["ours"], 2),
    }


def profile(steps: int) -> dict[str, Any]:
    """Share of our time in each part, from one run with a clock around each of them."""
    spent: dict[str, float] = {}
    parts = {
        "environment": (Environments, "step"),
        "acting": (DQN, "action_values"),
        "storing": (Memory, "remember"),
        "sampling": (Memory, "draw"),
        "update": (DQN, "_update"),
    }
    kept = {part: getattr(*place) for part, place in parts.items()}
    for part, (owner, name) in parts.items():
        setattr(owner, name, timed(kept[part], part, spent))
    try:
        speed = our_speed(SMALL, steps)
    finally:
        for part, (owner, name) in parts.items():
            setattr(owner, name, kept[part])
    whole = steps / speed
    shares = {part: round(seconds / whole, 3) for part, seconds in spent.items()}
    shares["rest"] = round(1 - sum(shares.values()), 3)
    return {"benchmark": "dqn-profile", "microseconds_a_step": round(1e6 / speed), "share": shares}


def timed(call: Callable[..., Any], part: str, spent: dict[str, float]) -> Callable[..., Any]:
    """The same function, or generator, with its time added up."""

    @functools.wraps(call)
    def run(*args: Any, **options: Any) -> Any:
        began = time.perf_counter()
        answer = call(*args, **options)
        if part == "sampling":
            answer = list(answer)
        spent[part] = spent.get(part, 0.0) + time.perf_counter() - began
        return answer

    return run


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--parts", nargs="+", default=["small", "zoo", "learning", "profile"])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--steps", type=int, default=20_480)
    given = options.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if "small" in given.parts:
        print(json.dumps(compare("small", SMALL, given.rounds, given.steps)), flush=True)
    if "zoo" in given.parts:
        print(json.dumps(compare("zoo", ZOO, given.rounds, given.steps)), flush=True)
    if "learning" in given.parts:
        print(json.dumps(learning(given.seeds)), flush=True)
    if "profile" in given.parts:
        print(json.dumps(profile(given.steps)), flush=True)


if __name__ == "__main__":
    main()

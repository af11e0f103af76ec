"""Ray Tune by hand: many trials of one step each, in actors that are reused, without any record.

Tune's own CSV, JSON and TensorBoard files are off too, and its status tables. The driver notes when
each trial starts and ends, which is all that its callback does.

    python tune_plain.py FOLDER '{"trials": 200}'

The answer is one JSON object on standard output: the Unix times of starts and ends, in seconds.
"""

from __future__ import annotations

import json
import os
import sys
import time

os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"

from one_step import one_step
from ray import tune


class Clock(tune.Callback):
    """Notes starts and ends."""

    def __init__(self) -> None:
        self.starts: list[float] = []
        self.ends: list[float] = []

    def on_trial_start(self, iteration: int, trials: list, trial: object, **info: object) -> None:
        self.starts.append(time.time())

    def on_trial_complete(
        self, iteration: int, trials: list, trial: object, **info: object
    ) -> None:
        self.ends.append(time.time())


def trial(config: dict[str, float]) -> None:
    tune.report({"loss": one_step(config["lr"])})


def main() -> None:
    folder, plan = sys.argv[1], json.loads(sys.argv[2])
    clock = Clock()
    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": 1}),
        param_space={"lr": tune.loguniform(1e-4, 1e-2)},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=plan["trials"],
            max_concurrent_trials=2,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="by-hand", storage_path=folder, callbacks=[clock], verbose=0
        ),
    )
    results = tuner.fit()
    losses = [float(result.metrics["loss"]) for result in results if result.metrics]
    answer = {"losses": losses, "starts": clock.starts, "ends": clock.ends}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

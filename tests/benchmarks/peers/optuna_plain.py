"""Optuna alone: the same trials one after another in one process, the study in memory.

    python optuna_plain.py FOLDER '{"trials": 200}'

The answer is one JSON object on standard output: the Unix times of starts and ends, in seconds.
"""

from __future__ import annotations

import json
import sys
import time

import optuna
from one_step import one_step

STARTS: list[float] = []


def objective(trial: optuna.Trial) -> float:
    STARTS.append(time.time())
    return one_step(trial.suggest_float("lr", 1e-4, 1e-2, log=True))


def main() -> None:
    plan = json.loads(sys.argv[2])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(objective, n_trials=plan["trials"], n_jobs=1)
    ends = [
        trial.datetime_complete.timestamp() for trial in study.trials if trial.datetime_complete
    ]
    losses = [trial.value for trial in study.trials]
    print(json.dumps({"losses": losses, "starts": STARTS, "ends": ends}))


if __name__ == "__main__":
    main()

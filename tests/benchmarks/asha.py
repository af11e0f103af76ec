"""Side by side: epochs until a sweep has found what a random sweep finds, with early stopping.

The same 48 configurations of the recipe `mlp`, over its own space and at most 27 epochs each, are
trained three times:

- `random`: `paceline sweep --scheduler none`, every trial to its end; its best validation loss is
  the reference;
- `asha`: `paceline sweep --scheduler asha` with the same seed;
- `hyperband`: Optuna in this process with its `HyperbandPruner`, the configurations enqueued in
  the same order, each read from the record of its trial in the random sweep.

Counted are the epochs that all trials together have reported when the first loss within 0.2 % of
the reference comes in, and in total. Time plays no part, so the sides need not alternate. One round
is one seed of the sweep. That the work is equal is checked: the configurations are the same, and
each epoch that a trial reaches has the validation loss that it has in the random sweep.

`ratio` compares with what random search spends until it has its best, which depends on where in the
order that trial stands; `ratio_to_total` with all that it spends, which it must before it can know.
A side that stopped the best trial too early has no number of epochs, and its best loss is given in
percent above the reference; the ratios are over the seeds where it got there.

    python tests/benchmarks/asha.py [--rounds 3] [--trials 48] [--epochs 27]

Takes about 8 minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import torch
from measuring.journal import Trial, read_losses, read_trials
from measuring.process import PACELINE, fresh_folder, run, two_at_a_time
from measuring.record import check_record, make_store
from mlflow.tracking import MlflowClient
from paceline.platform.configuration.config import load
from paceline.platform.training.fitting import fit
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback

EXPERIMENT, SLACK = "mlp", 0.002
SIDES = ("random", "asha", "hyperband")
SAME = 1e-4  # relative, of two losses of the same epoch of the same training
REDUCTION_FACTOR = 3


class Sweep(NamedTuple):
    """Trials, and the losses of all epochs in the order in which they ended."""

    trials: list[Trial]
    losses: list[float]


class Spent(NamedTuple):
    """What one side of one round spent and found.

    Args:
        until: Epochs until the reference was reached; None when it was not.
        total: Epochs in total.
        best: Its best validation loss.
    """

    until: int | None
    total: int
    best: float


def sweep(
    seed: int, scheduler: str, options: argparse.Namespace, configs: Path | None = None
) -> Sweep:
    """Our sweep; the configs of its trials are copied into a folder, by number."""
    words = f"sweep mlp --trials {options.trials} --seed {seed} --scheduler {scheduler} --json"
    words += f" --trainer.max_epochs {options.epochs}"
    with fresh_folder() as home:
        uri = make_store(home, EXPERIMENT)
        done = run([PACELINE, *words.split(), *two_at_a_time()], home)
        trials = read_trials(home)
        assert done.answer["finished"] == len(trials) == options.trials, done.answer
        epochs = [len(trial.losses) for trial in trials]
        check_record(uri, EXPERIMENT, epochs, {"val/loss": 0, "train/loss": 0})
        if configs is not None:
            copy_configs(uri, trials, configs)
        return Sweep(trials, read_losses(home))


def copy_configs(uri: str, trials: Sequence[Trial], folder: Path) -> None:
    """Take the config of each trial from its record, which `load` reads like a recipe."""
    client = MlflowClient(uri)
    for trial in trials:
        file = client.download_artifacts(trial.run_id, "config.yaml")
        shutil.copy(file, folder / f"{trial.number:03d}.yaml")


class Pruning(Callback):
    """Reports each epoch to Optuna, and ends the training when the pruner says so."""

    def __init__(self, trial: optuna.Trial):
        self.trial, self.losses, self.is_pruned = trial, [], False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        self.losses.append(trainer.callback_metrics["val/loss"].item())
        self.trial.report(self.losses[-1], trainer.current_epoch + 1)
        if self.trial.should_prune():
            self.is_pruned = trainer.should_stop = True


def hyperband(seed: int, options: argparse.Namespace, configs: Path) -> Sweep:
    """Optuna over the same configurations, one after another."""
    files = sorted(configs.glob("*.yaml"))
    trials: list[Trial] = []
    study = optuna.create_study(
        study_name=f"hyperband-{seed}",  # the brackets follow from it
        pruner=optuna.pruners.HyperbandPruner(1, options.epochs, REDUCTION_FACTOR),
    )
    for number in range(len(files)):
        study.enqueue_trial({"number": number})

    def objective(trial: optuna.Trial) -> float:
        number = trial.suggest_int("number", 0, len(files) - 1)
        pruning = Pruning(trial)
        with tempfile.TemporaryDirectory() as folder:
            fit(load(str(files[number])), folder=Path(folder), callbacks=[pruning])
        trials.append(Trial(number, {}, losses=pruning.losses))
        if pruning.is_pruned:
            raise optuna.TrialPruned
        return min(pruning.losses)

    study.optimize(objective, n_trials=len(files), n_jobs=1)
    assert [trial.number for trial in trials] == list(range(len(files)))
    return Sweep(trials, [loss for trial in trials for loss in trial.losses])


def spent(losses: Sequence[float], reference: float) -> Spent:
    """Count the epochs of a side."""
    good = (n for n, loss in enumerate(losses, 1) if loss <= reference * (1 + SLACK))
    return Spent(next(good, None), len(losses), min(finite(losses)))


def finite(losses: Sequence[float]) -> Iterator[float]:
    return (loss for loss in losses if math.isfinite(loss))


def check_same(whole: Sweep, part: Sweep) -> None:
    """Fail unless each epoch of a part has the loss that it has in the whole."""
    for all_of_it, some in zip(whole.trials, part.trials, strict=True):
        assert len(some.losses) <= len(all_of_it.losses), some.number
        for epoch, (a, b) in enumerate(zip(all_of_it.losses, some.losses, strict=False), 1):
            same = math.isclose(a, b, rel_tol=SAME) or (math.isnan(a) and math.isnan(b))
            assert same, f"trial {some.number}, epoch {epoch}: {a} and {b}"


def measure(seed: int, options: argparse.Namespace) -> dict[str, Spent]:
    """One seed of the sweep."""
    with fresh_folder() as configs:
        whole = sweep(seed, "none", options, configs)
        assert len(whole.losses) == options.trials * options.epochs, len(whole.losses)
        asha = sweep(seed, "asha", options)
        assert [t.values for t in asha.trials] == [t.values for t in whole.trials]
        optunas = hyperband(seed, options, configs)
    check_same(whole, asha)
    check_same(whole, optunas)
    reference = min(finite(whole.losses))
    sides = zip(SIDES, (whole, asha, optunas), strict=True)
    return {side: spent(found.losses, reference) for side, found in sides}


def compare(rounds: list[dict[str, Spent]], side: str) -> dict[str, Any]:
    """One side against the random sweep, over the seeds where it reached the reference."""
    pairs = [(found[side], found["random"]) for found in rounds]
    reached = [(mine, theirs) for mine, theirs in pairs if mine.until is not None]
    answer: dict[str, Any] = {
        "epochs_until": [mine.until for mine, _ in pairs],
        "epochs_total": [mine.total for mine, _ in pairs],
        "percent_above": [round(100 * (m.best / r.best - 1), 2) for m, r in pairs],
    }
    if reached:
        cost = sum(mine.until or 0 for mine, _ in reached)
        for name, field in (("ratio", "until"), ("ratio_to_total", "total")):
            each = [getattr(theirs, field) / (mine.until or 1) for mine, theirs in reached]
            whole = sum(getattr(theirs, field) for _, theirs in reached)
            answer[name] = round(whole / cost, 2)
            answer[f"spread_of_{name}"] = [round(min(each), 2), round(max(each), 2)]
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=48)
    parser.add_argument("--epochs", type=int, default=27)
    options = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rounds = []
    for seed in range(1, options.rounds + 1):
        rounds.append(measure(seed, options))
        print(f"seed {seed}: {rounds[-1]}", file=sys.stderr, flush=True)
    line = {
        "benchmark": "asha",
        "rounds": options.rounds,
        "trials": options.trials,
        "epochs": options.epochs,
        "best_val_loss": [round(found["random"].best, 5) for found in rounds],
        **{side: compare(rounds, side) for side in SIDES},
        "every_metric_reads_back": True,
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()

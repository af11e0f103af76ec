"""Side by side: a sweep from the command to its end, against the script one writes by hand.

Both sides train the same 32 configurations of an MLP 64-256-128-10 on scikit-learn's digits, two
at a time, one thread each, 10 epochs, batch 64, the recipe's noise left out, and record every epoch
of every trial in MLflow:

- `ours`: `paceline sweep mlp --vary learning_rate,dropout --scheduler none`;
- `peer`: `peers/tune_lightning.py`, a Tune function around a Lightning Trainer. Three documented
  ways to record in MLflow are tried with a few trials first, and the fastest is the peer.

Each side is a fresh process with an empty home and a store that was made before: measured is the
wall time from the start of the process to its end, cold start and best trial's pictures included.
Rounds alternate the order; the first begins with ours, whose draws the other side takes over.

Ours is also taken apart, from its journal, in milliseconds a trial (medians leave out what only the
first trial of an actor pays):

- `in_actor`: from its start to its end;
- `between`: two actors' wall time from the first start to the last end, less the time in trials,
  over the trials;
- `overhead`: both of these, less the training's own time. That is taken by `peers/bare_training.py`
  with two processes at once, as in the sweep: `loop` is a bare loop over our data and model,
  `lightning` a plain `Trainer.fit` without any record.

    python tests/benchmarks/sweep.py [--rounds 3] [--trials 32] [--epochs 10]
                                     [--record logger callback autolog] [--reuse-actors]

Takes about 20 minutes on two cores, most of them the peer's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from measuring.journal import Trial, read_trials
from measuring.process import PACELINE, Finished, fresh_folder, run, run_peer, two_at_a_time
from measuring.record import check_record, make_store

EXPERIMENT, BATCH_SIZE, SEED, ACTORS = "mlp", 64, 1, 2
VALIDATION, TRAINING = ("val/loss", "val/accuracy"), "train/loss"
HEAT_TRIALS = 4  # of each way to record, to find the fastest
MAX_LOSS_RATIO = 1.5  # of the best validation losses: the seeds of the trainings differ


class Sweep(NamedTuple):
    """One side of one round."""

    seconds: float
    best: float
    trials: list[Trial]


def ours(options: argparse.Namespace) -> Sweep:
    words = f"sweep mlp --trials {options.trials} --seed {SEED} --scheduler none --json"
    words += f" --trainer.max_epochs {options.epochs} --data.batch_size {BATCH_SIZE}"
    words += " --data.augmentation none --vary learning_rate,dropout"
    with fresh_folder() as home:
        uri = make_store(home, EXPERIMENT)
        done = run([PACELINE, *words.split(), *two_at_a_time()], home)
        trials = read_trials(home)
        assert done.answer["finished"] == len(trials) == options.trials, done.answer
        epochs = [len(trial.losses) for trial in trials]
        assert epochs == [options.epochs] * options.trials, epochs
        check_record(uri, EXPERIMENT, epochs, dict.fromkeys([*VALIDATION, TRAINING], 0))
    return Sweep(done.seconds, done.answer["best"]["metrics"]["val/loss"], trials)


def peer(options: argparse.Namespace, record: str, points: list[dict[str, Any]]) -> Sweep:
    plan = {
        "record": record,
        "epochs": options.epochs,
        "batch_size": BATCH_SIZE,
        "seed": SEED,
        "experiment": EXPERIMENT,
        "reuse_actors": options.reuse_actors,
        "points": points,
    }
    with fresh_folder() as folder:
        uri = make_store(folder, EXPERIMENT)
        (folder / "split.json").write_text(json.dumps(split()))
        done = run_peer("tune_lightning.py", plan, folder)
        answer = done.answer
        assert answer["epochs"] == [options.epochs] * len(points), answer
        assert sorted(answer["lr"]) == sorted(point["lr"] for point in points), "other draws"
        # Tune's callback reports at validation, when the first epoch's training loss is not known.
        missing = dict.fromkeys(VALIDATION, 0) | {TRAINING: int(record == "callback")}
        check_record(uri, EXPERIMENT, answer["epochs"], missing)
    return Sweep(done.seconds, answer["best_val_loss"], [])


def split() -> dict[str, list[int]]:
    """The indices of our training and validation samples among scikit-learn's."""
    from paceline.lightning_modules.data.digits import SPLIT_SEED, stratified_split
    from sklearn.datasets import load_digits

    labels = np.asarray(load_digits(return_X_y=True)[1])
    parts = stratified_split(labels, (0.1, 0.2), SPLIT_SEED)
    val, _, train = (part.tolist() for part in parts)
    return {"train": train, "val": val}


def points_of(trials: list[Trial]) -> list[dict[str, Any]]:
    """What ours drew, by the peer's names."""
    names = {"learning_rate": "lr", "dropout": "dropout"}
    return [{name: trial.values[knob] for knob, name in names.items()} for trial in trials]


def fastest(options: argparse.Namespace, points: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds that a few trials take with each way to record, the fastest first."""
    if len(options.record) == 1:
        return {options.record[0]: 0.0}
    few = points[:HEAT_TRIALS]
    heats = {record: peer(options, record, few).seconds for record in options.record}
    return dict(sorted(heats.items(), key=lambda heat: heat[1]))


def training_ms(options: argparse.Namespace) -> dict[str, float]:
    """Median milliseconds of one training, two processes at once, by `peers/bare_training.py`."""
    changes = {
        "trainer.max_epochs": options.epochs,
        "data.batch_size": BATCH_SIZE,
        "data.augmentation": "none",
    }
    plan = {"repeats": max(2, options.trials // ACTORS), "changes": changes}

    def one(_: int) -> Finished:
        with fresh_folder() as folder:
            return run_peer("bare_training.py", plan, folder)

    with ThreadPoolExecutor(ACTORS) as pool:
        answers = [done.answer for done in pool.map(one, range(ACTORS))]
    return {
        kind: 1000 * statistics.median(s for answer in answers for s in answer[kind])
        for kind in ("loop", "lightning")
    }


def parts_ms(trials: list[Trial], training: dict[str, float]) -> dict[str, float]:
    """Where a trial's time goes, in milliseconds."""
    actors = min(ACTORS, len(trials))
    window = max(t.ended for t in trials) - min(t.began for t in trials)
    inside = 1000 * statistics.median(t.seconds for t in trials)
    idle = actors * window - sum(t.seconds for t in trials)
    between = 1000 * max(0.0, idle) / len(trials)
    overhead = {f"overhead_beyond_{kind}": inside + between - ms for kind, ms in training.items()}
    first = 1000 * statistics.fmean(sorted(t.seconds for t in trials)[-actors:])
    return {"in_actor": inside, "in_actor_slowest": first, "between": between, **overhead}


def report(
    rounds: dict[str, list[Sweep]],
    heats: dict[str, float],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """The JSON line."""
    wall = {side: [sweep.seconds for sweep in sweeps] for side, sweeps in rounds.items()}
    best = {side: min(sweep.best for sweep in sweeps) for side, sweeps in rounds.items()}
    assert max(best.values()) < MAX_LOSS_RATIO * min(best.values()), f"unequal quality: {best}"
    ratios = [theirs / mine for theirs, mine in zip(wall["peer"], wall["ours"], strict=True)]
    training = training_ms(options)
    parts = [parts_ms(sweep.trials, training) for sweep in rounds["ours"]]
    return {
        "benchmark": "sweep",
        "ratio": round(sum(wall["peer"]) / sum(wall["ours"]), 2),
        "spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "rounds": options.rounds,
        "trials": options.trials,
        "epochs": options.epochs,
        "batch_size": BATCH_SIZE,
        "wall_s": {side: [round(s, 1) for s in seconds] for side, seconds in wall.items()},
        "peer_record": next(iter(heats)),
        "peer_heats_s": {record: round(seconds, 1) for record, seconds in heats.items()},
        "peer_reuses_actors": options.reuse_actors,
        "best_val_loss": {side: round(loss, 4) for side, loss in best.items()},
        "ms_per_trial": {
            name: round(statistics.median(part[name] for part in parts)) for name in parts[0]
        },
        "training_ms": {kind: round(ms) for kind, ms in training.items()},
        "every_metric_reads_back": True,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--record", nargs="+", default=["logger", "callback", "autolog"])
    parser.add_argument("--reuse-actors", action="store_true", help="in the peer as well")
    options = parser.parse_args()
    rounds: dict[str, list[Sweep]] = {"ours": [ours(options)], "peer": []}
    points = points_of(rounds["ours"][0].trials)
    heats = fastest(options, points)
    record = next(iter(heats))
    for number in range(options.rounds):
        if number % 2:
            rounds["peer"].append(peer(options, record, points))
        if number:
            rounds["ours"].append(ours(options))
        if number % 2 == 0:
            rounds["peer"].append(peer(options, record, points))
        walls = {side: round(sweeps[-1].seconds, 1) for side, sweeps in rounds.items()}
        print(f"round {number + 1}: {walls}", file=sys.stderr, flush=True)
    print(json.dumps(report(rounds, heats, options)))


if __name__ == "__main__":
    main()

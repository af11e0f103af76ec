"""Side by side: what a trial costs when its training costs nothing.

A sweep of 200 trials, each one step of a linear layer and one validation, two at a time:

- `ours`: `paceline sweep` over `trivial/trivial.yaml`, with everything that a trial leaves behind:
  its MLflow run, config, pictures, checkpoints, journal;
- `tune`: Ray Tune by hand in actors that are reused, the step in plain torch, no record at all;
- `optuna`: Optuna alone, the same step in one process, one after another, the study in memory.

Neither peer leaves a record, so they are floors and no equals: what lies between them and ours is
what the platform costs. Rounds alternate the order; each side is a fresh process.

`ms_per_trial` is the time from the first start of a trial to the last end, over the trials;
`cold_start_s` the time from the process's start to that first start. `warm_ms_per_trial` begins
when two trials have ended, and so leaves out what the first of each actor still loads; the ratios
are of these.

One more sweep of ours, whose time is not counted, says where the rest goes: `measuring/stacks.py`
looks at the stacks of actors and driver. An actor's milliseconds a trial are about twice the warm
ones above, because two work side by side; `where_ms` splits them by the innermost file of ours and
the package that it called, and `no trial` is an actor's time between two trials. Beside the
driver's loop, threads that do nothing but wait are left out.

    python tests/benchmarks/trials.py [--rounds 3] [--trials 200]

Takes about 8 minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any, NamedTuple

from measuring import stacks
from measuring.journal import read_trials
from measuring.process import PACELINE, Finished, fresh_folder, run, run_peer, two_at_a_time
from measuring.record import check_record, make_store

TRIVIAL = Path(__file__).parent / "trivial"
EXPERIMENT, ACTORS, PLACES = "trivial", 2, 14


class Sweep(NamedTuple):
    """One side of one round: seconds before the first trial and of all, milliseconds a trial."""

    cold_start_s: float
    wall_s: float
    ms_per_trial: float
    warm_ms_per_trial: float


def ours(trials: int, where: dict[str, Any] | None = None) -> Sweep:
    """Our sweep; `where` asks for its stacks, and is filled."""
    with fresh_folder() as home:
        for name in ("trivial.py", "trivial.yaml"):
            shutil.copy(TRIVIAL / name, home)
        uri = make_store(home, EXPERIMENT)
        words = f"sweep trivial.yaml --trials {trials} --seed 1 --experiment {EXPERIMENT} --json"
        variables = {}
        if where is not None:
            shutil.copy(stacks.__file__, home)
            (home / "stacks").mkdir()
            variables["PACELINE_BENCH_STACKS"] = str(home / "stacks")
        done = run([PACELINE, *words.split(), *two_at_a_time()], home, **variables)
        rows = read_trials(home)
        assert done.answer["finished"] == len(rows) == trials, done.answer
        check_record(uri, EXPERIMENT, [1] * trials, {"val/loss": 0})
        began, ended = [row.began for row in rows], [row.ended for row in rows]
        if where is not None:
            warm = sorted(ended)[ACTORS - 1]
            where |= split(home / "stacks", warm, max(ended), trials - ACTORS)
    return timed(done, began, ended, trials)


def split(folder: Path, began: float, ended: float, trials: int) -> dict[str, Any]:
    """Milliseconds a trial by place, the largest first."""
    seconds, window = stacks.read(folder, began, ended), ended - began
    inside = seconds["trial"]
    inside["no trial"] = max(0.0, ACTORS * window - sum(inside.values()))
    beside = {place: s for place, s in seconds["beside"].items() if s < 0.9 * window}
    return {
        "actor": largest(inside, trials),
        "driver": largest(seconds["driver"], trials),
        "driver_beside": largest(beside, trials),
    }


def largest(seconds: stacks.Seconds, trials: int) -> dict[str, float]:
    """The largest places in milliseconds a trial, the others summed up."""
    places = sorted(seconds, key=seconds.__getitem__, reverse=True)
    ms = {place: round(1000 * seconds[place] / trials, 1) for place in places[:PLACES]}
    ms["other places"] = round(1000 * sum(seconds[p] for p in places[PLACES:]) / trials, 1)
    return {place: value for place, value in ms.items() if value > 0}


def peer(script: str, trials: int) -> Sweep:
    with fresh_folder() as folder:
        done = run_peer(script, {"trials": trials}, folder)
    losses, starts, ends = (done.answer[name] for name in ("losses", "starts", "ends"))
    assert len(losses) == len(starts) == len(ends) == trials, done.answer
    assert all(math.isfinite(loss) for loss in losses)
    return timed(done, starts, ends, trials)


def timed(done: Finished, starts: list[float], ends: list[float], trials: int) -> Sweep:
    first, warm, last = min(starts), sorted(ends)[ACTORS - 1], max(ends)
    return Sweep(
        cold_start_s=first - done.began,
        wall_s=done.seconds,
        ms_per_trial=1000 * (last - first) / trials,
        warm_ms_per_trial=1000 * (last - warm) / (trials - ACTORS),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=200)
    options = parser.parse_args()
    if options.trials <= ACTORS:
        parser.error(f"--trials must be above {ACTORS}: the first of each actor is warm-up")
    sides = {
        "ours": lambda: ours(options.trials),
        "tune": lambda: peer("tune_plain.py", options.trials),
        "optuna": lambda: peer("optuna_plain.py", options.trials),
    }
    rounds: dict[str, list[Sweep]] = {name: [] for name in sides}
    for number in range(options.rounds):
        for name in list(sides) if number % 2 == 0 else list(sides)[::-1]:
            rounds[name].append(sides[name]())
            print(f"round {number + 1}: {name} {rounds[name][-1]}", file=sys.stderr, flush=True)
    where: dict[str, Any] = {}
    ours(options.trials, where)

    def median(field: str, digits: int) -> dict[str, float]:
        return {
            name: round(statistics.median(getattr(sweep, field) for sweep in sweeps), digits)
            for name, sweeps in rounds.items()
        }

    line: dict[str, Any] = {
        "benchmark": "trials",
        "rounds": options.rounds,
        "trials": options.trials,
        "ms_per_trial": median("ms_per_trial", 2),
        "warm_ms_per_trial": median("warm_ms_per_trial", 2),
        "cold_start_s": median("cold_start_s", 1),
        "wall_s": median("wall_s", 1),
    }
    mine = [sweep.warm_ms_per_trial for sweep in rounds["ours"]]
    for name in ("tune", "optuna"):
        theirs = [sweep.warm_ms_per_trial for sweep in rounds[name]]
        ratios = [a / b for a, b in zip(theirs, mine, strict=True)]
        line[f"ratio_to_{name}"] = round(sum(theirs) / sum(mine), 4)
        line[f"spread_to_{name}"] = [round(min(ratios), 4), round(max(ratios), 4)]
    print(json.dumps(line | {"where_ms": where, "every_metric_reads_back": True}))


if __name__ == "__main__":
    main()

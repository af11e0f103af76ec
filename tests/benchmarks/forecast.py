"""How near `paceline plan` comes: its time for a sweep over the time that the sweep then takes.

Each round plans a sweep and runs it, both as fresh processes in one home:

- `mlp`: 16 trials of the multilayer perceptron, ASHA over 30 epochs; many short trials;
- `cnn`: 4 trials of the small convolutional network, none stopped; few long ones.

The sweep runs a second time and is planned a third time by `--like` the first, whose times are then
known. `ratio` is the estimate over the wall time of the whole command, from its start to its end;
1 is right, 2 is twice too long. `within` says how often the time lay between `least` and `most`.

    python tests/benchmarks/forecast.py [--rounds 3]

Takes about 4 minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from typing import Any

from measuring.process import PACELINE, fresh_folder, run, two_at_a_time

SWEEPS = {
    "mlp": "mlp --trials 16 --trainer.max_epochs 30",
    "cnn": "cnn1d-mnist1d --trials 4 --scheduler none --trainer.max_epochs 6",
}


def one_round(words: str, seed: int) -> dict[str, Any]:
    """Estimate, real time and what an estimate from the record comes to."""
    flags = [*words.split(), "--seed", str(seed), "--json", *two_at_a_time()]
    with fresh_folder() as home:
        plan = run([PACELINE, "plan", *flags], home)
        real = run([PACELINE, "sweep", *flags, "--name", "first"], home)
        like = run([PACELINE, "plan", *flags, "--like", "first"], home)
    time, known = plan.answer["seconds"], like.answer["seconds"]
    parts = {
        name: [answer["seconds"]["around"], answer["trial_seconds"]["median"]]
        for name, answer in (("plan", plan.answer), ("like", like.answer))
    }
    return {
        "around_and_trial_s": parts,
        "plan_s": plan.seconds,
        "real_s": real.seconds,
        "estimate_s": time["estimate"],
        "like_s": known["estimate"],
        "ratio": time["estimate"] / real.seconds,
        "ratio_like": known["estimate"] / real.seconds,
        "within": time["least"] <= real.seconds <= time["most"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=SWEEPS, help="one of the sweeps")
    options = parser.parse_args()
    line: dict[str, Any] = {"benchmark": "forecast", "rounds": options.rounds}
    for name, words in SWEEPS.items():
        if options.only not in (None, name):
            continue
        found = []
        for number in range(options.rounds):
            found.append(one_round(words, number + 1))
            print(f"{name} {number + 1}: {found[-1]}", file=sys.stderr, flush=True)
        line[name] = {
            key: round(statistics.median(one[key] for one in found), 2)
            for key in ("plan_s", "real_s", "estimate_s", "like_s", "ratio", "ratio_like")
        }
        for key in ("ratio", "ratio_like"):
            values = [one[key] for one in found]
            line[name][f"{key}_spread"] = [round(min(values), 2), round(max(values), 2)]
        line[name]["within"] = sum(one["within"] for one in found)
    print(json.dumps(line))


if __name__ == "__main__":
    main()

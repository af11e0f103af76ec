"""Side by side: two workers on Ray Train against `torchrun`, against one process, and warm.

- `steady`: the time of a training step of `paceline fit --workers 2`, with its record, its reports
  and its heartbeat, against a plain DDP loop over float pictures in memory that `torchrun` starts:
  the same network and weights, batch size, optimizer (momentum, fused), one thread a process, gloo.
  Measured is the fastest epoch but the first on each side, which a neighbour disturbs least. The
  same `fit` in ranks that `torchrun` starts (`launch`) tells Ray's share of the difference.
- `split`: pictures a second of two processes of one thread, against one process of two threads with
  the joined batch.
- `warm`: seconds from a trial's start to its first report in a sweep of trials of two workers: the
  first, which starts them, against the median of the others.

Rounds alternate the order. That the work is equal is checked: both losses fell below the first's
half.

    python tests/benchmarks/workers.py [--rounds 3]

Takes about 12 minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any, NamedTuple

from measuring.journal import read_events
from measuring.process import PACELINE, PEERS, fresh_folder, run

BATCH_SIZE, LR, MOMENTUM, EPOCHS = 128, 0.02, 0.9, 4
HERE = str(Path(__file__).parent)
HIGHEST_LOSS = 1.15  # half of what ten classes begin with
MAX_RATIO, MIN_WARM = 1.05, 3.0
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


class Case(NamedTuple):
    """One network: the recipe that has it, what is changed of it, and the batches of an epoch."""

    recipe: str
    changes: dict[str, Any]
    batches: int


CASES = {
    "lenet5": Case("lenet-mnist", {"model.label_smoothing": 0.0}, 150),
    "mlp": Case("mlp-fashion-mnist", {"model.dropout": 0.0}, 200),
}


def changes_of(case: Case, batch_size: int) -> dict[str, Any]:
    """What both sides change of the recipe."""
    return {
        **case.changes,
        "data.batch_size": batch_size,
        "data.augmentation": "none",
        "data.drop_last": True,
        "optimizer.class_path": "SGD",
        "optimizer.lr": LR,
        "optimizer.momentum": MOMENTUM,
        "optimizer.weight_decay": 0.0,
        "lr_scheduler.class_path": "ConstantLR",
        "lr_scheduler.factor": 1.0,
        "trainer.accelerator": "cpu",
        "trainer.max_epochs": EPOCHS,
        "trainer.limit_train_batches": case.batches,
        "trainer.limit_val_batches": 1,
        "trainer.gradient_clip_val": None,
        "seed_everything": 1,
    }


def ours(case: Case, how: str) -> float:
    """Milliseconds of a step; one process has the batches of two workers, and two threads.

    Args:
        case: The network.
        how: `ray`, `torchrun` or `one_process`.
    """
    batch_size = BATCH_SIZE * (2 if how == "one_process" else 1)
    with fresh_folder() as folder:
        told = folder / "clock.json"
        clock = {"class_path": "measuring.written_clock.WrittenClock"}
        changes = changes_of(case, batch_size)
        changes["trainer.callbacks"] = [{**clock, "init_args": {"path": str(told)}}]
        words = [w for k, v in changes.items() for w in (f"--{k}", _word(v))]
        words += ["--tracking.log_model", "false", "--json"]
        words += ["--workers", "2"] if how == "ray" else []
        path = os.pathsep.join([HERE, os.environ.get("PYTHONPATH", "")])
        threads = "2" if how == "one_process" else "1"
        program = [*TORCHRUN, "-m", "paceline"] if how == "torchrun" else [PACELINE]
        command = [*program, "fit", case.recipe, *words]
        run(command, folder, PYTHONPATH=path, OMP_NUM_THREADS=threads)
        found = json.loads(told.read_text())
    assert found["loss"] < HIGHEST_LOSS, found
    return 1000 * min(found["seconds"][1:]) / case.batches


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def plain(case: Case) -> float:
    """Milliseconds of a step of the plain loop."""
    plan = {"recipe": case.recipe, "changes": changes_of(case, BATCH_SIZE), "lr": LR}
    plan |= {"momentum": MOMENTUM, "batch_size": BATCH_SIZE, "batches": case.batches}
    plan |= {"epochs": EPOCHS}
    command = [*TORCHRUN, str(PEERS / "torchrun_ddp.py"), json.dumps(plan)]
    with fresh_folder() as folder:
        answer = run(command, folder).answer
    assert answer["loss"] < HIGHEST_LOSS, answer
    return min(answer["ms"][1:])


def rounds_of(case: Case, rounds: int) -> dict[str, list[float]]:
    """Milliseconds a step of each side, round by round."""
    sides = {
        "ours": lambda: ours(case, "ray"),
        "torchrun": lambda: plain(case),
        "ours_by_torchrun": lambda: ours(case, "torchrun"),
        "one_process": lambda: ours(case, "one_process"),
    }
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in sides if number % 2 == 0 else reversed(sides):
            found[name].append(sides[name]())
    return found


def compared(over: list[float], under: list[float]) -> dict[str, Any]:
    """The median ratio of two sides' rounds, and the spread."""
    ratios = [a / b for a, b in zip(over, under, strict=True)]
    spread = [round(min(ratios), 3), round(max(ratios), 3)]
    return {"ratio": round(statistics.median(ratios), 3), "spread": spread}


def warm(rounds: int, trials: int = 4) -> dict[str, Any]:
    """How much sooner a trial trains that finds the workers of another."""
    firsts, others = [], []
    for _ in range(rounds):
        with fresh_folder() as folder:
            words = ["--workers", "2", "--trials", str(trials), "--scheduler", "none"]
            words += ["--trainer.max_epochs", "2", "--vary", "learning_rate", "--json"]
            run([PACELINE, "sweep", "mlp", *words], folder)
            first, *rest = starts(folder)
        firsts.append(first)
        others.append(statistics.median(rest))
    return {
        "benchmark": "workers",
        "what": "warm",
        "rounds": rounds,
        **compared(firsts, others),
        "asked": MIN_WARM,
        "seconds": {
            "first": round(statistics.median(firsts), 2),
            "others": round(statistics.median(others), 2),
        },
    }


def starts(home: Path) -> list[float]:
    """Seconds from each trial's start to the end of its first epoch."""
    began: dict[int, float] = {}
    seconds: dict[int, float] = {}
    for event in read_events(home):
        if event["event"] == "start":
            began[event["number"]] = event["time"]
        elif event["event"] == "report" and event["number"] not in seconds:
            seconds[event["number"]] = event["time"] - began[event["number"]]
    return [seconds[number] for number in sorted(seconds)]


def main() -> None:
    """Run the rounds and print a JSON line for each comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    for network, case in CASES.items():
        found = rounds_of(case, rounds)
        line = {"benchmark": "workers", "network": network, "rounds": rounds}
        line["ms_per_step"] = {n: round(statistics.median(ms), 3) for n, ms in found.items()}
        steady = compared(found["ours"], found["torchrun"])
        print(json.dumps(line | {"what": "steady", **steady, "asked": MAX_RATIO}), flush=True)
        launch = compared(found["ours"], found["ours_by_torchrun"])
        print(json.dumps(line | {"what": "launch", **launch}), flush=True)
        split = compared(found["one_process"], found["ours"])
        print(json.dumps(line | {"what": "split", **split}), flush=True)
    print(json.dumps(warm(rounds)), flush=True)


if __name__ == "__main__":
    main()

"""Sweeps as reports meet them: learning curves under halving, failures, knobs with conditions.

The trials are drawn from a real space; how good a configuration is, is known: `learning_rate` has
its optimum beyond the upper end of its range, `optimizer` and `dropout` matter some, the others
do not.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from paceline.tuning.report.sweep_report import SweepReport
from paceline.tuning.rows import Rows
from paceline.tuning.search.space import Space, read_space

METRIC = "val/loss"
BASE = {
    "optimizer": {"class_path": "Adam", "init_args": {"lr": 0.002}},
    "model": {"init_args": {"hidden_sizes": [256, 128], "dropout": 0.2}},
    "data": {"init_args": {"batch_size": 32, "augmentation": "none"}},
}
KNOBS: dict[str, Any] = {
    "optimizer": {"to": ["optimizer.class_path"], "choice": ["Adam", "AdamW", "SGD", "RMSprop"]},
    "learning_rate": {"to": ["optimizer.lr"], "loguniform": [3.0e-5, 3.0e-3]},
    "layer_size": {
        "to": ["model.hidden_sizes"],
        "choice": [[32], [128], [128, 64], [256, 128], [128, 128, 128]],
    },
    "batch_size": {"to": ["data.batch_size"], "choice": [16, 32, 64, 128]},
    "dropout": {"to": ["model.dropout"], "uniform": [0.0, 0.5]},
    "augmentation": {
        "to": ["data.augmentation"],
        "choice": ["none", {"noise": 0.3}, [{"noise": 0.3}, {"rotation": 10}]],
    },
    "momentum": {
        "to": ["optimizer.momentum"],
        "uniform": [0, 0.99],
        "when": {"optimizer": ["SGD", "RMSprop"]},
    },
}


def make_space(knobs: dict[str, Any] | None = None) -> Space:
    return read_space(KNOBS if knobs is None else knobs, BASE)


def final_loss(values: dict[str, Any]) -> float:
    """What a configuration comes to after endless training."""
    rate = math.log10(values.get("learning_rate", 1e-2)) + 2.0
    cost = 0.05 + 0.25 * rate**2
    cost += {"Adam": 0.0, "AdamW": 0.02, "RMSprop": 0.15, "SGD": 0.6}[
        values.get("optimizer", "Adam")
    ]
    cost += 0.8 * (values.get("dropout", 0.2) - 0.2) ** 2
    return cost + 0.1 * (0.9 - values.get("momentum", 0.9)) ** 2


def make_events(
    space: Space,
    num_trials: int,
    num_epochs: int,
    *,
    seed: int = 0,
    factor: int = 3,
    workers: int = 4,
    halving: bool = True,
    broken: float = 0.05,
    upto: int | None = None,
) -> list[dict[str, Any]]:
    """The events of a sweep whose trials run side by side; `upto` cuts it off while it runs."""
    draw = random.Random(seed)
    free = [1.8e9] * workers
    seen: dict[int, list[float]] = {}
    events: list[dict[str, Any]] = []

    def add(kind: str, time: float, **details: Any) -> None:
        events.append({"event": kind, "number": number, "time": round(time, 3), **details})

    for number in range(num_trials):
        worker = free.index(min(free))
        now = free[worker] + 0.5
        values = space.sample(seed, number)
        add("begin", now, values=values, seed=draw.randrange(2**31), origin="random")
        add("run", now, run_id=f"{seed:04x}{number:028x}")
        add("start", now)
        loss, fate = final_loss(values), draw.random()
        fails_at = draw.randint(1, num_epochs) if fate < broken else None
        diverges_at = draw.randint(1, num_epochs) if fate > 1 - broken else None
        size = sum(values.get("layer_size", [64]))
        pace, speed = 2.0 + size / 100, 0.15 + 0.2 * draw.random()
        for epoch in range(1, num_epochs + 1):
            now += pace * draw.uniform(0.95, 1.1)
            if epoch == fails_at:
                error = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
                add("end", now, status="failed", error=error)
                break
            value = loss + (2.4 - 0.2 * loss) * math.exp(-speed * epoch * 10 / num_epochs * 2)
            value *= math.exp(0.03 * draw.gauss(0, 1))
            value = math.nan if epoch == diverges_at else value
            metrics = {METRIC: value, "val/accuracy": math.exp(-value), "train/loss": value * 0.9}
            add("report", now, epoch=epoch, step=epoch * 45, metrics=metrics)
            if epoch == diverges_at:
                add("end", now, status="finished", stop_reason="early_stopped")
                break
            stops = False
            if halving and epoch < num_epochs and _is_rung(epoch, factor):
                others = sorted(seen.setdefault(epoch, []))
                keep = max(1, (len(others) + 1) // factor)
                rank = 1 + sum(other < value for other in others)
                stops = rank > keep
                cutoff = others[keep - 1] if len(others) >= keep else None
                verdict = {"rung": epoch, "value": value, "cutoff": cutoff, "rank": rank}
                add("verdict", now, rule="asha", of=len(others) + 1, stops=stops, **verdict)
                seen[epoch].append(value)
            if stops or epoch == num_epochs:
                reason = "early_stopped" if stops else "completed"
                facts = {"num_parameters": 650 * size + 10}
                add("end", now, status="finished", stop_reason=reason, facts=facts)
                break
        free[worker] = now
    events.sort(key=lambda event: event["time"])
    return events if upto is None else events[:upto]


def _is_rung(epoch: int, factor: int) -> bool:
    return epoch in [factor**k for k in range(10)]


def make_report(num_trials: int = 32, num_epochs: int = 27, **options: Any) -> SweepReport:
    """A sweep of the space above, as a report is made from it."""
    fields = {key: options.pop(key) for key in list(options) if key in FIELDS}
    space = options.pop("space", None) or make_space(options.pop("knobs", None))
    rows = Rows(METRIC, "min")
    for event in make_events(space, num_trials, num_epochs, **options):
        rows.apply(event)
    times = [report.time for row in rows for report in row.history]
    defaults = {
        "horizon": float(num_epochs),
        "seconds": max(times) - min(times) if times else 0.0,
        "recipe": "mlp",
        "links": {row.run_id: f"http://127.0.0.1:5000/#/runs/{row.run_id}" for row in rows},
        "parent_link": "http://127.0.0.1:5000/#/runs/parent",
        "planned": num_trials,
    }
    return SweepReport("digits-try", rows, space, **{**defaults, **fields})


FIELDS = set(SweepReport.__dataclass_fields__) - {"name", "rows", "space"}
ReportMaker = Callable[..., SweepReport]


@pytest.fixture
def report_of() -> ReportMaker:
    """Makes a report of so many trials and epochs."""
    return make_report


@pytest.fixture
def space_of() -> Callable[..., Space]:
    """Makes a space of knobs as data."""
    return make_space

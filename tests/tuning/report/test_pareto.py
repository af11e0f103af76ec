from __future__ import annotations

import math
import random

from paceline.tuning.report.pareto import on_front, pareto
from paceline.tuning.rows import Rows


def dominates(a: tuple[float, ...], b: tuple[float, ...], modes: list[str]) -> bool:
    pairs = [(x, y) if mode == "min" else (-x, -y) for x, y, mode in zip(a, b, modes, strict=True)]
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


def test_the_front_is_what_no_other_point_dominates():
    random.seed(1)
    for modes in (["min", "min"], ["min", "max"], ["max", "min", "min"]):
        points = [tuple(float(random.randint(0, 9)) for _ in modes) for _ in range(60)]
        expected = [not any(dominates(other, p, modes) for other in points) for p in points]
        assert on_front(points, modes) == expected


def test_equal_points_stand_together():
    assert on_front([(1, 2), (1, 2), (2, 1), (2, 2)], ["min", "min"]) == [True, True, True, False]


def rows_of(*facts: dict[str, float]) -> Rows:
    rows = Rows("val/loss", "min")
    for number, known in enumerate(facts):
        rows.apply({"event": "begin", "number": number, "values": {}})
        metrics = {"val/loss": known.pop("loss")}
        rows.apply({"event": "report", "number": number, "epoch": 1, "metrics": metrics})
        end = {"status": "finished", "stop_reason": "completed", "time": 1.0, "facts": known}
        rows.apply({"event": "end", "number": number, **end})
    return rows


def test_a_trial_without_a_value_for_an_objective_is_left_out():
    rows = rows_of({"loss": 0.5, "size": 9}, {"loss": 0.1}, {"loss": math.nan, "size": 1})
    assert [p.number for p in pareto(rows, {"val/loss": "min", "size": "min"})] == [0]


def test_small_and_good_trials_share_the_front():
    rows = rows_of({"loss": 0.5, "size": 1}, {"loss": 0.1, "size": 9}, {"loss": 0.6, "size": 9})
    points = pareto(rows, {"val/loss": "min", "size": "min"})
    assert [(p.number, p.is_on_front) for p in points] == [(0, True), (1, True), (2, False)]
    assert points[1].values == (0.1, 9.0)

from __future__ import annotations

from paceline.platform.configuration.options import Sweep
from paceline.tuning.budget import Budget, read_budget
from paceline.tuning.rows import Rows


def rows_at(*epochs: int, over: int = 0) -> Rows:
    """Trials after so many epochs each; the first `over` of them have ended."""
    rows = Rows("m", "min")
    for number, epoch in enumerate(epochs):
        rows.apply({"event": "begin", "number": number, "values": {}})
        rows.apply({"event": "start", "number": number, "time": 0})
        if epoch:
            rows.apply({"event": "report", "number": number, "epoch": epoch, "metrics": {}})
        if number < over:
            rows.apply({"event": "end", "number": number, "status": "finished", "time": 1})
    return rows


def test_no_more_trials_than_asked_for():
    budget = Budget(trials=2)
    assert budget.may_begin(rows_at(5), now=0)
    assert not budget.may_begin(rows_at(5, 5), now=0)


def test_nothing_begins_or_goes_on_after_the_deadline():
    budget = Budget(trials=9, deadline=100.0)
    assert budget.may_begin(rows_at(1), now=99.9)
    assert not budget.may_begin(rows_at(1), now=100.0)
    assert not budget.may_go_on(rows_at(1), now=100.0)


def test_the_epochs_of_all_trials_together_never_exceed_their_limit():
    """Two trials side by side, an epoch at a time, as the driver asks."""
    budget, done = Budget(trials=99, max_epochs=7), [0, 0]
    rows, stopped = rows_at(*done), [False, False]
    while not all(stopped):
        for number in (0, 1):
            if stopped[number]:
                continue
            done[number] += 1
            event = {"event": "report", "number": number, "epoch": done[number], "metrics": {}}
            rows.apply(event)
            stopped[number] = not budget.may_go_on(rows, now=0)
            if stopped[number]:
                rows.apply({"event": "end", "number": number, "status": "finished", "time": 1})
    assert sum(done) == 7


def test_a_trial_that_waits_has_its_first_epoch_set_aside():
    budget = Budget(trials=99, max_epochs=4)
    assert budget.may_begin(rows_at(2, 0), now=0) is False  # 2 done, 2 living, 4 in all
    assert budget.may_begin(rows_at(2, over=1), now=0)
    waiting = rows_at(3, over=1)
    waiting.apply({"event": "begin", "number": 1, "values": {}})
    assert budget.may_begin(waiting, now=0) is False  # 3 done, 1 waiting


def test_without_limits_only_trials_count():
    assert Budget(trials=9).may_go_on(rows_at(1000), now=1e12)


def test_the_budget_takes_the_smaller_number_of_trials_and_counts_time_from_now():
    budget = read_budget(Sweep(trials=8, max_epochs=5, max_time_s=60), trials=6, now=1000.0)
    assert budget == Budget(6, 5, 1060.0)
    assert read_budget(Sweep(trials=4), trials=6, now=0.0) == Budget(4, None, None)

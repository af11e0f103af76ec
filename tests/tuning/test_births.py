from __future__ import annotations

import threading
import time

import pytest
from paceline.platform.errors import RunError
from paceline.tuning.births import Births
from paceline.tuning.rows import TrialRow


class Away(Exception):
    error_code = "TEMPORARILY_UNAVAILABLE"


class Wrong(Exception):
    error_code = "INVALID_PARAMETER_VALUE"


def row(number: int) -> TrialRow:
    return TrialRow(number=number, values={}, seed=0, origin="random")


def failing(cause: Exception) -> RunError:
    error = RunError("the store says no")
    error.__cause__ = cause
    return error


def test_a_trial_gets_its_run_as_soon_as_the_store_is_back(caplog: pytest.LogCaptureFixture):
    answers: list[RunError | str] = [failing(Away()), failing(Away()), "abc"]

    def create(_: TrialRow) -> str:
        answer = answers.pop(0)
        if isinstance(answer, RunError):
            raise answer
        return answer

    births = Births(create)
    assert [births.run_of(row(3)) for _ in range(3)] == [None, None, "abc"]
    assert [r.message for r in caplog.records] == ["Trial 003 waits for its run: the store says no"]
    births.close()


def test_a_store_that_hangs_holds_nobody_up_and_gets_one_call(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("paceline.tuning.births.MOMENT_S", 0.05)
    gate, calls = threading.Event(), []

    def create(_: TrialRow) -> str:
        calls.append(1)
        gate.wait(10)
        return "abc"

    births = Births(create)
    start = time.monotonic()
    assert births.run_of(row(0)) is None
    assert births.run_of(row(0)) is None
    assert time.monotonic() - start < 1
    gate.set()
    deadline = time.monotonic() + 10
    while (found := births.run_of(row(0))) is None:
        assert time.monotonic() < deadline
    assert (found, len(calls)) == ("abc", 1)
    births.close()


def test_a_store_that_refuses_a_run_ends_the_sweep():
    def create(_: TrialRow) -> str:
        raise failing(Wrong())

    births = Births(create)
    with pytest.raises(RunError, match="says no"):
        births.run_of(row(0))
    births.close()

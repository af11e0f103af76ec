"""Who holds up a run that stands still, from what its workers tell; no process is started."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from paceline.platform.launch.standstill import SILENT_S, Beat, Standstill

LIMIT_S = 60.0
AT_12, AT_13 = Beat((1, 12, 0)), Beat((1, 13, 0))
WAITS = Beat((1, 12, 0), is_waiting=True)
OVER = Beat((2, 16, 0), is_over=True)
UNTRAINED = Beat((1, 12, 0), has_trained=False)


def play(
    beats: Callable[[float], Mapping[int, Beat]], seconds: float = 300, limit_s: float = LIMIT_S
) -> tuple[float, str, list[int]] | None:
    """Look once a second; when somebody was named, what was said, and who."""
    standstill = Standstill(limit_s)
    for second in range(int(seconds)):
        told = standstill.look(beats(second), second)
        if told:
            return second, told, standstill.late()
    return None


def test_the_worker_that_has_come_less_far_is_named_with_its_node_and_place():
    slow = Beat((1, 12, 0), where="model.py:7 in load", node="east")
    found = play(lambda second: {0: AT_13, 1: slow, 2: AT_13})
    assert found is not None
    second, told, late = found
    assert LIMIT_S < second < LIMIT_S + 3
    assert told == "worker 1 on east stands at model.py:7 in load"
    assert late == [1]


def test_counters_that_are_slower_weigh_more():
    # Worker 1 still validates behind epoch 1, worker 0 has begun epoch 2.
    found = play(lambda second: {0: Beat((5, 16, 0)), 1: Beat((4, 16, 9))})
    assert found is not None
    assert found[2] == [1]


def test_among_those_who_are_as_far_the_one_that_does_not_wait_is_named():
    found = play(lambda second: {0: WAITS, 1: AT_12, 2: WAITS})
    assert found is not None
    assert found[2] == [1]


def test_all_are_named_where_nothing_tells_them_apart():
    found = play(lambda second: {0: WAITS, 1: WAITS})
    assert found is not None
    assert found[2] == [0, 1]


def test_a_worker_that_has_stopped_telling_is_named_before_all_others():
    found = play(lambda second: {0: WAITS} if second else {0: WAITS, 1: WAITS})
    assert found is not None
    assert found[1] == f"worker 1 has told nothing for {LIMIT_S + 1:.0f} s"
    late_for_a_while = play(lambda s: {0: WAITS, 1: AT_12} if s % SILENT_S == 0 else {0: WAITS})
    assert late_for_a_while is not None
    assert late_for_a_while[1].startswith("worker 1 stands at")


@pytest.mark.parametrize(
    ("beats", "why"),
    [
        (lambda s: {0: WAITS, 1: Beat((1, s // 50, 0))}, "a batch is done every 50 s"),
        (lambda s: {0: WAITS, 1: Beat((1, 12, 0), num_moves=s // 50)}, "an epoch's end computes"),
        (lambda s: {0: UNTRAINED, 1: UNTRAINED}, "data is being prepared"),
        (lambda s: {0: OVER, 1: OVER}, "pictures are drawn"),
        (lambda s: {0: UNTRAINED, 1: OVER}, "one is already in the next run of these workers"),
        (lambda s: {}, "workers are starting"),
    ],
)
def test_what_takes_long_for_a_reason_is_no_standstill(beats, why: str):
    assert play(beats) is None, why


def test_one_that_hangs_while_the_others_have_ended_is_named():
    found = play(lambda second: {0: OVER, 1: AT_12})
    assert found is not None
    assert found[2] == [1]


def test_one_that_hangs_before_it_tells_of_its_first_batch_is_named():
    found = play(lambda second: {0: WAITS} if second else {0: UNTRAINED, 1: UNTRAINED})
    assert found is not None
    assert found[2] == [1]


def test_without_a_limit_nobody_is_named():
    assert play(lambda second: {0: WAITS, 1: AT_12}, 10_000, limit_s=0) is None


def test_seconds_that_the_driver_did_not_watch_do_not_count():
    standstill = Standstill(LIMIT_S)
    beats = {0: WAITS, 1: AT_12}
    assert standstill.look(beats, 0) == ""
    assert standstill.look(beats, 5000) == ""  # it waited for an answer itself
    assert standstill.look(beats, 5030) == ""

from __future__ import annotations

import pickle

import pytest
import torch.distributed as dist
from paceline.platform.errors import UserError
from paceline.platform.launch.failures import Failure, failure_of, is_tried_again
from paceline.platform.launch.worker import describe

LOST = RuntimeError("The actor died unexpectedly before finishing this task.\nmore of it")
ECHO = RuntimeError("[/pytorch/gloo/transport/tcp/pair.cc:534] Connection closed by peer [::1]:1")


def raised(error: Exception) -> Exception:
    """An error as a worker of a run raises it."""
    try:
        raise error
    except Exception as caught:
        return describe(caught)


def test_a_workers_own_exception_is_the_cause_even_where_others_were_lost():
    failure = failure_of({0: raised(ECHO), 1: raised(KeyError("the slip")), 2: LOST})
    assert failure.error.what == "The run failed: KeyError: 'the slip'"
    assert f"{__file__}:" in failure.error.where
    assert "Traceback" in failure.trace
    assert not failure.may_pass


def test_an_error_of_ours_is_told_as_it_is():
    failure = failure_of({0: raised(UserError("`x` must be 1, but is 2.", "--x", "--x 1"))})
    told = failure.error
    assert (told.what, told.where, told.remedy) == ("`x` must be 1, but is 2.", "--x", "--x 1")


@pytest.mark.parametrize("echo", [ECHO, dist.DistNetworkError("socket"), dist.DistBackendError()])
def test_a_dead_worker_may_pass_and_is_named(echo: Exception):
    failure = failure_of({0: raised(echo), 1: LOST})
    assert failure.error.what == "The run failed: worker 1 of it died or was cut off."
    assert failure.error.where == "The actor died unexpectedly before finishing this task."
    assert failure.may_pass


def test_workers_that_were_all_cut_off_may_pass():
    failure = failure_of({0: raised(ECHO), 1: raised(ECHO)})
    assert "worker 0, 1 of it" in failure.error.what
    assert failure.may_pass


def test_what_a_worker_raised_survives_the_trip_to_the_driver():
    sent = raised(ValueError("two\nlines"))
    came = pickle.loads(pickle.dumps(sent))
    assert vars(came) == vars(sent)
    assert came.what == "ValueError: two"


@pytest.mark.parametrize(
    ("may_pass", "before", "most", "again"),
    [
        (True, 0, 3, True),
        (True, 2, 3, True),
        (True, 3, 3, False),
        (True, 0, 0, False),
        (True, 99, -1, True),
        (False, 0, 3, False),
    ],
)
def test_a_failure_is_tried_again_as_often_as_it_may(may_pass, before, most, again):
    failure = Failure(UserError("x"), may_pass)
    assert is_tried_again(failure, before, most) is again

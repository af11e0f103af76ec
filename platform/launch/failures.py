"""What becomes of a run one of whose workers has failed: tried again, or told. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import PacelineError, RunError


class WorkerFailure(Exception):
    """What a worker's own code raised, told so that it survives the trip to any driver.

    Args:
        what: The exception's type and first line.
        where: `file:line` it came from.
        remedy: What to do, of its notes.
        trace: The traceback.
        is_echo: Whether it only tells that another worker has gone.
        is_ours: Whether it is a message for the user already, as ours are.
    """

    def __init__(
        self, what: str, where: str, remedy: str, trace: str, is_echo: bool, is_ours: bool
    ):
        super().__init__(what, where, remedy, trace, is_echo, is_ours)
        self.what, self.where, self.remedy, self.trace = what, where, remedy, trace
        self.is_echo, self.is_ours = is_echo, is_ours


class HungWorkers(Exception):
    """Some workers hold the others up, who cannot even leave in order; the message names them."""


@dataclass(frozen=True)
class Failure:
    """How an attempt failed.

    Args:
        error: What to tell the user when it is the last.
        may_pass: Whether another attempt may do better: a process or a node has died.
        trace: The traceback of the worker's own code; empty when there is none.
    """

    error: PacelineError
    may_pass: bool
    trace: str = ""


def is_tried_again(failure: Failure, num_before: int, max_failures: int) -> bool:
    """Whether the run starts again from its latest checkpoint.

    Args:
        failure: The failure.
        num_before: How many it had before.
        max_failures: How many it may have; -1: any number.
    """
    return failure.may_pass and (max_failures < 0 or num_before < max_failures)


def failure_of(workers: Mapping[int, BaseException]) -> Failure:
    """The failure behind those of all workers.

    One that raised is the cause, even where others were lost because of it; one that only noticed
    that another had gone never is.

    Args:
        workers: Rank -> what became of it: a `WorkerFailure`, or what Ray says of a process.
    """
    told = {rank: error for rank, error in workers.items() if isinstance(error, WorkerFailure)}
    causes = {rank: error for rank, error in told.items() if not error.is_echo}
    if causes:
        rank = min(causes)
        cause = causes[rank]
        what = cause.what if cause.is_ours else f"The run failed: {cause.what}"
        return Failure(RunError(what, cause.where, cause.remedy), False, cause.trace)
    lost = sorted(workers.keys() - told.keys())
    ranks = ", ".join(map(str, lost or sorted(told)))
    reason = _first_line(workers[lost[0]]) if lost else _first_line(told[min(told)])
    what = f"The run failed: worker {ranks} of it died or was cut off."
    remedy = "paceline resume NAME goes on from the latest checkpoint"
    return Failure(RunError(what, reason, remedy), True)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__

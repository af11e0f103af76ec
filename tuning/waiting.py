"""Trials that have begun and do not run: after an interruption, a crash, or at a rung.

Some may go on as soon as there is a place. The members of a population that wait at a rung may not,
before they have been judged there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .stopping.judge import Judge


class Waiting:
    """Who waits, and for what.

    Args:
        judge: Who is judged where.
        numbers: Trials that wait from the beginning, in the order in which they go on.
    """

    def __init__(self, judge: Judge, numbers: Iterable[int] = ()):
        self.judge = judge
        self._ready: list[int] = []
        self._at_rung: set[int] = set()
        for number in numbers:
            self.add(number)

    def __bool__(self) -> bool:
        """Whether one may go on."""
        return bool(self._ready)

    def add(self, number: int) -> None:
        """A trial waits from now on."""
        if self.judge.leaves_at_rungs and self.judge.open_rung(number) is not None:
            self._at_rung.add(number)
        else:
            self._ready.append(number)

    def take(self) -> int:
        """The trial that goes on next."""
        return self._ready.pop(0)

    def settle(self, judge_now: Callable[[int], bool]) -> bool:
        """Judge whoever can be judged by now.

        Args:
            judge_now: Judges a trial at its open rung and says whether it goes on.

        Returns:
            Whether anyone was.
        """
        before = len(self._at_rung)
        for number in sorted(self._at_rung):
            if self.judge.waits_for(number) is None:
                self._at_rung.discard(number)
                if judge_now(number):
                    self.add(number)
        return len(self._at_rung) < before

"""Does a run of several workers stand still, and because of whom? Pure.

In a collective call one late worker holds up all others, so it is not enough to know that nothing
advances: the one to name has come less far than the others, or has stopped telling, or stands in
its own code while they wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LONGEST_GAP_S = 2.0  # of what lies between two looks: who drives a run may have been busy itself
SILENT_S = 20.0  # several beats


@dataclass(frozen=True)
class Beat:
    """What one worker tells every few seconds.

    Args:
        passed: Counters of how far it is, the slowest first; the same in all workers.
        num_moves: How often its stack was seen to change outside of batches.
        is_waiting: Whether it stands in a collective call.
        where: Where its code stands, for a message.
        node: Its node, where there are several.
        has_trained: Whether this attempt has trained a batch in it.
        is_over: Whether its training has ended.
    """

    passed: tuple[int, ...]
    num_moves: int = 0
    is_waiting: bool = False
    where: str = ""
    node: str = ""
    has_trained: bool = True
    is_over: bool = False


class Standstill:
    """Counts the seconds during which no worker of an attempt has advanced.

    Args:
        timeout_s: How many are too many; 0: any number is borne.
    """

    def __init__(self, timeout_s: float):
        self.timeout_s = timeout_s
        self._looked_at: float | None = None
        self._still_s = 0.0
        self._beats: dict[int, Beat] = {}
        self._silent_s: dict[int, float] = {}

    def look(self, news: Mapping[int, Beat], now: float) -> str:
        """Take what was told since the last look.

        Args:
            news: Rank -> its latest beat, of those that have told one since.
            now: A monotonic clock, in seconds.

        Returns:
            Who holds the run up, once it has stood still too long; else nothing.
        """
        gap = 0.0 if self._looked_at is None else min(now - self._looked_at, LONGEST_GAP_S)
        self._looked_at = now
        self._still_s += gap
        for rank in self._silent_s:
            self._silent_s[rank] += gap
        for rank, beat in news.items():
            if rank not in self._beats or _advance(beat) != _advance(self._beats[rank]):
                self._still_s = 0.0
            self._beats[rank], self._silent_s[rank] = beat, 0.0
        beats = self._beats.values()
        # Until one has trained a batch, for which it needs all others, they may prepare their data;
        # at the end rank 0 draws pictures.
        if not any(beat.has_trained and not beat.is_over for beat in beats):
            self._still_s = 0.0
        if not self.timeout_s or self._still_s <= self.timeout_s:
            return ""
        return "; ".join(self._told(rank) for rank in self.late())

    def late(self) -> list[int]:
        """Ranks that the others wait for; all, where nothing tells them apart."""
        beats = {rank: beat for rank, beat in self._beats.items() if not beat.is_over}
        silent = [rank for rank in beats if self._is_silent(rank)]
        if silent:
            return sorted(silent)
        least = min(beat.passed for beat in beats.values())
        behind = {rank: beat for rank, beat in beats.items() if beat.passed == least}
        if len(behind) < len(beats):
            return sorted(behind)
        busy = [rank for rank, beat in beats.items() if not beat.is_waiting]
        return sorted(busy or beats)

    def _is_silent(self, rank: int) -> bool:
        return self._silent_s[rank] > SILENT_S

    def _told(self, rank: int) -> str:
        beat = self._beats[rank]
        name = f"worker {rank}" + (f" on {beat.node}" if beat.node else "")
        if self._is_silent(rank):
            return f"{name} has told nothing for {self._silent_s[rank]:.0f} s"
        return f"{name} stands at {beat.where}"


def _advance(beat: Beat) -> tuple[object, ...]:
    return beat.passed, beat.num_moves, beat.has_trained, beat.is_over

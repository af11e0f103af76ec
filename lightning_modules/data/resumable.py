"""Loaders that go on in the middle of an epoch, as the interrupted run would have."""

from __future__ import annotations

from typing import Any


class ResumableLoader:
    """Base of loaders whose `__iter__` begins at `_first_batch` and notes `_position`.

    Args:
        order: Has the `seed` and the `epoch` of what comes when.
    """

    def __init__(self, order: Any):
        self._order = order
        self._position = (0, 0)  # epoch, batches handed out in it
        self._resume: tuple[int, int] | None = None

    def _first_batch(self) -> int:
        """Where this epoch starts: after the batches that a resumed run has already seen of it."""
        resume, self._resume = self._resume, None
        return 0 if resume is None or resume[0] != self._order.epoch else resume[1]

    def state_dict(self) -> dict[str, int]:
        """Seed, epoch and batches handed out; Lightning keeps it in the checkpoint."""
        epoch, batches = self._position
        return {"seed": self._order.seed, "epoch": epoch, "batches": batches}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue as the interrupted run would have, whatever this run was seeded with."""
        self._order.seed = state_dict["seed"]
        self._position = self._resume = (state_dict["epoch"], state_dict["batches"])

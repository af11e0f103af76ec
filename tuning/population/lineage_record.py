"""Each copy of a population in MLflow, written beside the loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...platform.tracking.background import Background
from ...platform.tracking.client import told
from ...platform.tracking.store import Store
from ..rows import Rows, TrialRow
from ..stopping.judge import Judge
from ..trial_ends import knob_tags
from ..trial_folder import folder_of
from .judge import PopulationJudge
from .lineage import lineage
from .rung_files import disposable, remove

ARTIFACT = "lineage.json"
COPIED_FROM, NUM_COPIES = "paceline.copied_from", "paceline.copies"


class Lineage:
    """Writes each copy into MLflow beside the loop, and removes checkpoints that are done with.

    Args:
        folder: The sweep's folder.
        store: MLflow's store, open.
        run_id: The sweep's own run, which gets the artifact.
        rows: The sweep's trials.
        background: The thread that writes.
    """

    def __init__(self, folder: Path, store: Store, run_id: str, rows: Rows, background: Background):
        self.folder, self.store, self.run_id = folder, store, run_id
        self.rows, self.background = rows, background
        self._removed: set[float] = set()

    def tell(self, row: TrialRow) -> None:
        """A trial has become a copy: tags on its run."""
        last = row.copies[-1]
        tags = {
            COPIED_FROM: f"{last.donor:03d} at epoch {last.epoch}, step {last.step}",
            NUM_COPIES: str(len(row.copies)),
            **knob_tags(row),
        }
        self.background.post(lambda: self.store.set_tags(row.run_id, tags))

    def write(self, judge: Judge) -> None:
        """All copies so far as one artifact of the sweep's run; nothing without any."""
        found = lineage(self.rows)
        if found:
            self.background.post(lambda: self._write({"copies": found}))
        self._tidy(judge)

    def _tidy(self, judge: Judge) -> None:
        """Remove the checkpoints of rungs at which nobody can be judged or copied any more."""
        if not isinstance(judge, PopulationJudge):
            return
        judged = {verdict.rung for row in self.rows for verdict in row.verdicts}
        done = [rung for rung in judged - self._removed if disposable(self.rows, judge, rung)]
        if done:
            self._removed |= {*done}
            folders = [folder_of(self.folder, row.number) for row in self.rows]
            self.background.post(lambda: remove(folders, done))

    def _write(self, data: dict[str, Any]) -> None:
        with told(self.store.uri):
            self.store.client.log_dict(self.run_id, data, ARTIFACT)

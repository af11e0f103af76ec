"""The way a run's writes leave a process: through its writer, or straight to the store.

Who trains has a writer, whose threads send what is posted. Who drives, creates runs and ends them,
writes straight to the store and sees it done; when the store does not answer and the run has a
folder, the write is kept in a spool there and nothing is raised.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import RunError
from .client import reason, told
from .delivery import Refused, Target, deliver
from .drain import drain
from .redaction import redact, redact_all
from .spool import Spool, Write
from .spool_folder import spools
from .writer import MetricWriter

logger = logging.getLogger("paceline.tracking")

# After a call that failed nobody waits for another for so long: the ends of trials would add up.
_PAUSE_S = 15.0
_DRAIN_S = 30.0  # that the end of a run, or its next beginning, waits for what was left


class Outlet:
    """Takes the writes of runs to one store.

    Args:
        uri: What `resolve_uri` returned.
        folder: Where writes are kept that the store does not take; None: then they raise.
        writer: The writer of one run, which takes all writes of that run.
    """

    def __init__(self, uri: str, folder: Path | None = None, writer: MetricWriter | None = None):
        self.uri, self.folder, self.writer = uri, folder, writer
        self._away_until = 0.0

    def write(self, run_id: str, op: str, **content: Any) -> None:
        """Make a write, or keep it until it can be made.

        Args:
            run_id: The run.
            op: One of `spool.OPS`.
            content: What `delivery` needs to know; secrets in it are masked.

        Raises:
            RunError: The store does not answer, and there is no folder to keep the write in.
        """
        content = redact_all(content)
        if self.writer is not None and self.writer.run_id == run_id:
            self.writer.post(op, content)
        elif self.folder is None:
            with tempfile.TemporaryDirectory() as nowhere:
                self._write_or_raise(Target(self.uri, run_id, Path(nowhere)), Write(0, op, content))
        else:
            self._write_or_keep(run_id, op, content, self.folder)

    def drain(self, folder: Path, run_id: str = "") -> None:
        """Upload what waits in a run's folder since processes ended; what cannot be waits on.

        Args:
            folder: The run's folder.
            run_id: Only what waits of this run.

        Raises:
            UserError: What waits was changed.
        """
        if not (waiting := spools(folder, run_id)):
            return
        told = drain(self.uri, waiting, _DRAIN_S)
        if told.error:
            self._away_until = time.monotonic() + _PAUSE_S
            logger.info("%d writes wait in %s: %s", told.left, folder, told.error)

    def send_file(
        self, run_id: str, name: str, folder: str | None, fill: Callable[[Path], object]
    ) -> None:
        """Make a file and send it as an artifact, or a folder as the run's model.

        Args:
            run_id: The run.
            name: The file's name.
            folder: The folder of artifacts that it goes to; `model` with the name `model` is the
                run's model.
            fill: Writes the file at a path.

        Raises:
            RunError: As in `write`.
            Exception: What `fill` raises.
        """
        with tempfile.TemporaryDirectory() as passing:
            box = self._files(run_id, Path(passing)) / uuid.uuid4().hex
            box.mkdir()
            fill(box / name)
            if (box / name).is_dir():
                op, content = "model", {"file": f"{box.name}/{name}"}
            else:
                digest = hashlib.sha256((box / name).read_bytes()).hexdigest()
                content = {"file": f"{box.name}/{name}", "sha256": digest, "folder": folder}
                op = "artifact"
            if box.parent == Path(passing):
                self._write_or_raise(Target(self.uri, run_id, box.parent), Write(0, op, content))
            else:
                self.write(run_id, op, **content)

    def send_text(self, run_id: str, text: str, path: str) -> None:
        """Send a text, its secrets masked, as the artifact `path`."""
        folder, _, name = path.rpartition("/")
        self.send_file(run_id, name, folder or None, lambda file: file.write_text(redact(text)))

    def send_bytes(self, run_id: str, content: bytes, path: str) -> None:
        """Send a file's content as the artifact `path`."""
        folder, _, name = path.rpartition("/")
        self.send_file(run_id, name, folder or None, lambda file: file.write_bytes(content))

    def send_figure(self, run_id: str, figure: Any, path: str) -> None:
        """Send a matplotlib figure as the artifact `path`, whose ending says the format."""
        folder, _, name = path.rpartition("/")
        self.send_file(run_id, name, folder or None, figure.savefig)

    def _files(self, run_id: str, passing: Path) -> Path:
        """Where a file lies until it has been sent."""
        if self.writer is not None and self.writer.run_id == run_id:
            return self.writer.spool.make_files()
        return passing if self.folder is None else Spool(self.folder, run_id).make_files()

    def _write_or_raise(self, target: Target, write: Write) -> None:
        try:
            with told(self.uri):
                deliver(target, write)
        except Refused as error:
            raise RunError(f"The store refused {write.op}: {reason(error)}") from error

    def _write_or_keep(self, run_id: str, op: str, content: dict[str, Any], folder: Path) -> None:
        spool = Spool(folder, run_id)
        # Behind something that waits another write has to wait too: the last tag holds.
        is_free = time.monotonic() >= self._away_until and not spools(folder, run_id)
        write = Write(0, op, content)
        if not is_free or not self._is_taken(Target(self.uri, run_id, spool.files), write):
            spool.append(op, content)
        spool.close()

    def _is_taken(self, target: Target, write: Write) -> bool:
        try:
            deliver(target, write)
        except Refused as error:
            logger.warning("The store refused %s: %s", write.op, reason(error))
        except Exception as error:  # whatever a store of metrics or of files raises
            self._away_until = time.monotonic() + _PAUSE_S
            message = "The record waits in %s (`paceline sync` uploads it): the store says: %s"
            logger.warning(message, self.folder, reason(error))
            return False
        return True

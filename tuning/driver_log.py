"""`driver.log`: what a sweep's driver says, beside the terminal that may be closed."""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType

DRIVER_LOG = "driver.log"
logger = logging.getLogger("paceline")


class DriverLog:
    """Sends our loggers' lines into a sweep's `driver.log`, and warnings to standard error as well.

    Args:
        folder: The sweep's folder.
    """

    def __init__(self, folder: Path):
        file = logging.FileHandler(folder / DRIVER_LOG, encoding="utf-8", delay=True)
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
        screen = logging.StreamHandler()
        screen.setLevel(logging.WARNING)
        self._handlers = [file, screen]
        self._level = logger.level

    def __enter__(self) -> None:
        """Begin to write."""
        self._level = logger.level
        logger.setLevel(logging.INFO)
        for handler in self._handlers:
            logger.addHandler(handler)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put the loggers back."""
        logger.setLevel(self._level)
        for handler in self._handlers:
            logger.removeHandler(handler)
            handler.close()

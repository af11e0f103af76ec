"""What Ray imports in each fresh worker process, so that the first trial finds it warm.

An actor that starts cold spends six seconds of one core on imports, and another on its first config
and data set. Ray starts as many worker processes as there are cores together with itself, and they
would wait. So they are told to import this module, which does what a first trial would have to do
before it trains, while the driver imports and checks in its own process.

The environment carries what to make ready, because these processes start before anything can be
sent to them. Importing this module without it imports what a trial needs and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

VARIABLE = "PACELINE_WARM"
PATIENCE_S = 30.0
_MODULES = "RAY_preload_python_modules"
# Ray ends processes that nobody has used for a second as soon as all cores are promised to trials,
# and so the one that the second trial was about to take.
_KEPT = {"RAY_idle_worker_killing_time_threshold_ms": "120000"}
# CUDA reads once which devices it may see, and Ray says so when a trial takes the process: until
# then nobody may wake CUDA, so torch asks the driver's library instead how many there are.
_ASLEEP = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}


class Preloading:
    """Lets the worker processes of a Ray that starts inside become warm.

    Args:
        recipe: As the command names it.
        changes: Config key -> (value, flag).
        files: YAML files laid over the recipe.
        folder: Where the command was called; a config names its classes and files from there.
    """

    def __init__(
        self,
        recipe: str,
        changes: Mapping[str, tuple[Any, str]],
        files: Sequence[str],
        folder: str,
    ):
        self._what = {"recipe": recipe, "changes": dict(changes), "files": [*files]}
        self._what["folder"] = folder
        self._ready: str | None = None  # a folder with a file for each process that is warm
        self._before: dict[str, str | None] = {}

    def __enter__(self) -> None:
        """Tell the processes to come, through the environment."""
        self._ready = tempfile.mkdtemp(prefix="paceline-warm-")
        what = json.dumps({**self._what, "ready": self._ready}, default=str)
        ours = {VARIABLE: what, _MODULES: __name__, **_KEPT, **_ASLEEP}
        self._before = {name: os.environ.get(name) for name in ours}
        os.environ.update(ours)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put the environment back."""
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def wait(self, count: int) -> None:
        """Wait until so many processes are warm; Ray would start others beside them else."""
        deadline = time.monotonic() + PATIENCE_S
        while self._ready and len(os.listdir(self._ready)) < count and time.monotonic() < deadline:
            time.sleep(0.02)

    def close(self) -> None:
        """Remove what was left on disk."""
        if self._ready is not None:
            shutil.rmtree(self._ready, ignore_errors=True)
            self._ready = None


def warm(recipe: str, changes: dict[str, list[Any]], files: list[str], folder: str) -> None:
    """Parse a config, build it, and set up its data, in this process."""
    if folder not in sys.path:
        sys.path.append(folder)
    os.chdir(folder)
    from ..platform.configuration.config import load
    from ..platform.training.fitting import prepare

    given = {key: (value, flag) for key, (value, flag) in changes.items()}
    built = prepare(load(recipe, given, tuple(files)))
    if built.data is not None:
        built.data.setup("fit")


if _MODULES in os.environ:
    from . import trial as trial

    _what = json.loads(os.environ.get(VARIABLE, "{}"))
    _flag = _what.pop("ready", "")
    with contextlib.suppress(Exception):  # what is wrong with it is for the driver to tell
        warm(**_what)
    with contextlib.suppress(OSError):  # the sweep that asked for it may have ended
        Path(_flag, str(os.getpid())).touch()

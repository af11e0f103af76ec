"""Where the time of a sweep's processes goes, by looking at their threads' stacks now and then.

A thread beside the others asks every few milliseconds what each is doing, and adds the time since
the last look to a place: the innermost file of Paceline on the stack, and the package that it
called. So the answer names no function and survives a rewrite of what it measures. It is wall time:
two actors and a driver on two cores wait for each other too.

This file is copied beside the module that a sweep trains, which starts it in every process.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from types import FrameType

INTERVAL_S, WRITE_EVERY_S = 0.004, 0.25
WINGS = ("tuning", "platform", "lightning_modules")
Seconds = dict[str, float]  # by place


def start(folder: str) -> None:
    """Look at this process from now on, and append the sums so far to a file of the folder."""
    thread = threading.Thread(target=_look, args=(Path(folder),), name="stacks", daemon=True)
    thread.start()


def read(folder: Path, began: float, ended: float) -> dict[str, Seconds]:
    """Seconds by place, of each role: `trial`, `driver` and `beside` (the driver's threads).

    Args:
        folder: What `start` was given.
        began: Unix time in seconds from which the sums are wanted.
        ended: Unix time until which.
    """
    total: dict[str, Seconds] = {}
    for path in folder.glob("*.jsonl"):
        first: dict[str, Seconds] = {}
        last: dict[str, Seconds] = {}
        for line in path.read_text().splitlines():
            snapshot = json.loads(line)
            if snapshot["time"] <= began:
                first = snapshot["sums"]
            if snapshot["time"] <= ended:
                last = snapshot["sums"]
        for role, sums in last.items():
            mine, before = total.setdefault(role, {}), first.get(role, {})
            for place, seconds in sums.items():
                mine[place] = mine.get(place, 0.0) + seconds - before.get(place, 0.0)
    return total


def _look(folder: Path) -> None:
    # Ray's actors are started by a script of this name.
    role = "trial" if "default_worker" in sys.argv[0] else "driver"
    main = threading.main_thread().ident
    root = str(Path(sys.modules["paceline"].__file__ or "").parent)
    sums: dict[str, Seconds] = {role: {}, "beside": {}}
    last = written = time.perf_counter()
    with (folder / f"{os.getpid()}.jsonl").open("a", buffering=1) as file:
        while True:
            time.sleep(INTERVAL_S)
            now = time.perf_counter()
            for thread, frame in sys._current_frames().items():
                if place := _place(frame, root):
                    mine = sums[role if role == "trial" or thread == main else "beside"]
                    mine[place] = mine.get(place, 0.0) + now - last
            last = now
            if now - written > WRITE_EVERY_S:
                written = now
                file.write(json.dumps({"time": time.time(), "sums": sums}) + "\n")


def _place(frame: FrameType | None, root: str) -> str:
    """Where a stack is, `tuning/trial.py > pytorch_lightning`; empty outside a sweep."""
    names: list[str] = []  # innermost first
    while frame is not None:
        names.append(_name(frame.f_code.co_filename, root))
        frame = frame.f_back
    own = [depth for depth, name in enumerate(names) if name.endswith(".py")]
    if not own or not names[own[-1]].startswith(("tuning/", "__main__")):
        return ""  # a thread of Ray's, or one of our writers, which the training does not wait for
    called = names[: own[0]][::-1]
    package = next((name for name in called if name != "python"), "python" if called else "")
    return f"{names[own[0]]} > {package}" if package else names[own[0]]


def _name(file: str, root: str) -> str:
    """A file of ours by its path in the package, else a package's name, else `python`."""
    if "site-packages/" in file:
        return file.rpartition("site-packages/")[2].partition("/")[0].removesuffix(".py")
    path = file.removeprefix(f"{root}/")
    if path != file and path.partition("/")[0] in (*WINGS, "__main__.py"):
        return path
    return "the module" if file.endswith("/trivial.py") else "python"

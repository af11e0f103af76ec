"""`paceline sync [NAME]`: uploads what an outage of the tracking store left on this disk."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..arguments import Arguments
from ..errors import PacelineError
from ..home import names, read_state, run_folder
from ..tracking.spool_folder import all_spools

Answer = tuple[Any, str, int]
_COUNTS = ("points", "writes", "there", "refused", "left", "held")
_NOTHING = {**dict.fromkeys(_COUNTS, 0), "error": ""}


def sync_command(arguments: Arguments) -> Answer:
    """Upload what waits of one run or sweep, or of all; what is uploaded waits no longer.

    Raises:
        UserError: No such name, or what waits of it was changed.
    """
    name = arguments.positional["NAME"]
    storage = arguments.changes.get("launch.storage", (None, ""))[0]
    if name is not None:
        rows = [_sync(str(name), storage)]
    else:
        waiting = [n for n in names(storage) if all_spools(run_folder(n, storage))]
        rows = [_sync_or_tell(n, storage) for n in waiting]
    code = max((row.pop("code") for row in rows), default=0)
    left = sum(row["left"] for row in rows)
    text = "\n".join(map(_told, rows)) or "Nothing waits."
    return {"runs": rows, "left": left}, text, code


def _sync(name: str, storage: str | None) -> dict[str, Any]:
    folder, state = run_folder(name, storage), read_state(name, storage)
    # MLflow's import takes a second, which only those pay for whom something waits.
    if paths := all_spools(folder):
        from ..tracking.drain import drain

        told = asdict(drain(state["tracking_uri"], paths))
    else:
        told = dict(_NOTHING)
    return {"name": name, **told, "code": 1 if told["error"] else 0}


def _sync_or_tell(name: str, storage: str | None) -> dict[str, Any]:
    """One of many: what is wrong with it must not keep the others waiting."""
    try:
        return _sync(name, storage)
    except PacelineError as error:
        paths = all_spools(run_folder(name, storage))
        return {"name": name, "left": len(paths), "error": str(error), "code": error.exit_code}


def _told(row: dict[str, Any]) -> str:
    if "points" not in row:
        return f"{row['name']}: {row['error']}"
    parts = [f"{row['points']} points and {row['writes']} other writes uploaded"]
    parts += [f"{row['there']} points were there"] * bool(row["there"])
    parts += [f"{row['refused']} refused"] * bool(row["refused"])
    parts += [f"{row['held']} spools left to living processes"] * bool(row["held"])
    parts += [f"{row['left']} left: {row['error']}"] * bool(row["error"])
    return f"{row['name']}: {', '.join(parts)}"

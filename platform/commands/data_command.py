"""`paceline data list|get|verify`: where each data set is, whether it is whole, how to get it.

A package names its data sets' sources in the entry-point group `paceline.datasets`; a source offers
`entry(check)`, `get(data_dir)` and `verify(data_dir)` and imports nothing heavy.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from ..arguments import Arguments
from ..errors import RunError, UserError, unknown

Answer = tuple[Any, str, int]
ACTIONS = ("list", "get", "verify")


def data_command(arguments: Arguments) -> Answer:
    """`paceline data ACTION [NAME]`; without a name, every data set.

    Raises:
        UserError: Unknown action or name.
        RunError: A data set is missing, damaged or cannot be fetched.
    """
    action, name = str(arguments.positional["ACTION"]), arguments.positional["NAME"]
    if action not in ACTIONS:
        raise unknown("ACTION", action, ACTIONS)
    sources = _sources()
    if name is not None and name not in sources:
        raise unknown("NAME", name, sources)
    if action == "get" and name is None:
        raise UserError("`NAME` must be given, but is missing.", "", "paceline data get mnist")
    chosen = [sources[name]] if name is not None else [sources[n] for n in sorted(sources)]
    data_dir = arguments.options.get("data_dir")
    if action != "list" and name is not None:
        return _whole(chosen[0], action, data_dir)
    if data_dir is not None:
        raise UserError("`--data-dir` must be left out where no data set is looked for.", action)
    rows = [source.entry(check=action == "verify") for source in chosen]
    states = {"found", "missing", "verified"}
    return _table(rows, 0 if {row["state"] for row in rows} <= states else 1)


def _sources() -> dict[str, Any]:
    return {point.name: point.load() for point in entry_points(group="paceline.datasets")}


def _whole(source: Any, action: str, data_dir: str | None) -> Answer:
    try:
        if action == "get":
            source.get(data_dir)
        folder = source.verify(data_dir)
    except (OSError, ValueError) as error:
        remedy = "\n".join(getattr(error, "__notes__", []))
        raise RunError(str(error), source.origin, remedy) from None
    return {"name": source.name, "where": str(folder)}, f"{source.name}: whole, in {folder}", 0


def _table(rows: list[dict[str, Any]], code: int) -> Answer:
    widths = {key: max(len(_cell(r, key)) for r in rows) for key in ("name", "bytes", "state")}
    lines = [
        "  ".join([*(_cell(r, key).ljust(width) for key, width in widths.items()), _place(r)])
        for r in rows
    ]
    return {"data": rows}, "\n".join(lines), code


def _cell(row: dict[str, Any], key: str) -> str:
    if key == "bytes":
        return f"{row[key] / 1e6:.0f} MB" if row[key] else "ships"
    return str(row[key])


def _place(row: dict[str, Any]) -> str:
    return row["where"] or f"paceline data get {row['name']}"

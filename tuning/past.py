"""An earlier sweep as its folder tells it, refused when it is not as it was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..platform.configuration.config import Config, load
from ..platform.configuration.keys import full_key
from ..platform.errors import UserError, must
from ..platform.home import read_state, run_folder
from .journal import JOURNAL, check_safe, read_events, read_rows
from .search.differences import as_data, differences
from .search.space import read_space

Changes = Mapping[str, tuple[Any, str]]
# What a sweep that goes on may be given anew; the rest made its trials what they are.
MAY_CHANGE = ("launch.", "sweep.max_time_s", "sweep.max_concurrent", "sweep.trial_time_s")


@dataclass(frozen=True)
class Past:
    """An earlier sweep as its folder tells it.

    Args:
        name: Its name.
        folder: Its folder.
        state: Its `run.json`.
        header: The first line of its journal.
        config: Its config, with the changes that are allowed.
    """

    name: str
    folder: Path
    state: dict[str, Any]
    header: dict[str, Any]
    config: Config


def is_done(past: Past) -> bool:
    """Whether nothing of a sweep is left to do; one that broke off with an error has not ended."""
    rows = read_rows(past.folder, past.header["metric"], past.header["mode"])
    left = len(rows) < past.config.sweep.trials or rows.count("pending", "running", "killed") > 0
    return past.state["status"] == "finished" or (past.state["status"] == "failed" and not left)


def read_past(name: str, changes: Changes) -> Past:
    """Read an earlier sweep, and refuse what does not fit it.

    Raises:
        UserError: See `resume_sweep`.
    """
    storage = changes.get("launch.storage", (None, ""))[0]
    state, folder = read_state(name, storage), run_folder(name, storage)
    if state.get("storage") and storage is None:
        state = read_state(name, state["storage"])  # another machine may have gone on
    if state.get("kind") != "sweep":
        rule = "the name of a sweep"
        raise UserError(must("NAME", rule, f"{name}, a single run"), str(folder))
    check_safe(folder)
    events = read_events(folder)
    if not events or events[0]["event"] != "sweep":
        path = folder / JOURNAL
        what = f"`{JOURNAL}` must begin with what the sweep is, but does not."
        raise UserError(what, str(path), "start anew, with --like if any trial has a score")
    config = load(str(folder / "config.yaml"))
    config.recipe, config.source = state["recipe"], events[0]["source"]
    config.origins = {key: "the sweep's command" for key in events[0]["changes"]}
    _check_unchanged(name, events[0], config)
    config = _changed(config, changes)
    total = max([config.sweep.trials, *(e["trials"] for e in events if e["event"] == "extend")])
    config = config.override({"sweep.trials": total}, name)
    return Past(name, folder, state, events[0], config)


def _check_unchanged(name: str, header: Mapping[str, Any], config: Config) -> None:
    """Refuse a config that is not the one the trials were made with."""
    sweep = config.sweep
    space = read_space(sweep.space, config.resolved).select(sweep.vary)
    found = differences(header["space"], as_data(space))
    now = {"metric": sweep.metric, "mode": sweep.mode, "search": sweep.search, "vary": sweep.vary}
    now |= {"scheduler": sweep.scheduler, "seed": 0 if config.seed is None else config.seed}
    if header.get("population"):
        now["population"] = vars(sweep.population)
    for key, value in now.items():
        if header[key] != value:
            found.append(f"{key}: {header[key]!r} then, {value!r} now")
    if found:
        raise UserError(
            f"`{name}` must have the space and the rules that its trials were made with, but:\n"
            + "\n".join(f"  {line}" for line in found),
            config.source,
            f"put config.yaml back, or start anew: paceline sweep {config.recipe} --like {name}",
        )


def _changed(config: Config, changes: Changes) -> Config:
    for key, (value, flag) in changes.items():
        if not full_key(key).startswith(MAY_CHANGE):
            raise UserError(
                must(flag, "left out: a sweep goes on as it began", value),
                flag,
                f"only {', '.join(k.rstrip('.') for k in MAY_CHANGE)} may change",
            )
        config = config.override({key: value}, flag)
    return config

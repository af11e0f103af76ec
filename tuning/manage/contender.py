"""What `paceline compare` sets side by side: a sweep, or a single run, reduced to its numbers."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...platform.configuration.keys import flatten, set_key, short_key
from ...platform.errors import UserError
from ...platform.home import read_state
from ..report.progress import improvements
from ..rows import TrialRow
from ..search.space import read_space
from ..trial_folder import folder_of
from .found import Sweep, config_values, find_folder, read_sweep
from .status import Standing, standing_of

_NOT_OF_A_RUN = ("sweep.", "launch.", "tracking.", "ckpt_path")


@dataclass(frozen=True)
class Contender:
    """A sweep or a run as it is compared.

    Args:
        name: Its name.
        standing: How it stands; its `metric` is empty when there is no such number.
        mode: Whether a small (`min`) or a large (`max`) metric is better.
        curve: (epochs of all trials together, best score by then), an entry each improvement;
            empty of a single run, whose course only MLflow knows.
        interval: Half-width of the score's 95 % interval, of a run with several seeds.
        settings: Config of the best, flat, without what says where and how it ran.
        space: Knob -> what it draws from; empty of a single run.
    """

    name: str
    standing: Standing
    mode: str
    curve: tuple[tuple[int, float], ...] = ()
    interval: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    space: Mapping[str, Any] = field(default_factory=dict)

    def best_at(self, epochs: float) -> float | None:
        """The best score when so many epochs had been done; None before the first."""
        return next((score for spent, score in reversed(self.curve) if spent <= epochs), None)


def read_contender(name: str, storage: str | None = None) -> Contender:
    """A sweep or a run by its name.

    Raises:
        UserError: No such name, or its folder is damaged.
    """
    folder = find_folder(name, storage)
    state = read_state(name, storage)
    values = config_values(folder)
    if state.get("kind") == "sweep":
        sweep = read_sweep(folder, state)
        return Contender(
            name,
            standing_of(folder, storage),
            sweep.rows.mode,
            tuple((step.epochs, step.score) for step in improvements(sweep.rows)),
            settings=_settings(_best_values(sweep, values)),
            space=_space(values.get("sweep") or {}),
        )
    return _run(folder, state, values, storage)


def _run(
    folder: Path, state: Mapping[str, Any], values: dict[str, Any], storage: str | None
) -> Contender:
    """A single run, whose deciding metric stands in its config."""
    options, metrics = values.get("sweep") or {}, state.get("metrics") or {}
    metric = options.get("metric", "val/loss")
    standing = standing_of(folder, storage)
    standing.best, standing.metric = _finite(metrics.get(metric)), metric
    return Contender(
        folder.name,
        standing,
        options.get("mode", "min"),
        interval=_finite(metrics.get(f"{metric}_ci95")),
        settings=_settings(values),
    )


def _finite(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None


def _best_values(sweep: Sweep, values: dict[str, Any]) -> dict[str, Any]:
    """The config of the best trial: the file beside its checkpoint, or what its knobs make."""
    best = sweep.rows.best()
    if best is None:
        return values
    folder = folder_of(sweep.folder, best.number)
    if (folder / "config.yaml").exists():
        return config_values(folder)
    return _assigned(best, values)


def _assigned(row: TrialRow, values: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(values)
    space = read_space((values.get("sweep") or {}).get("space") or {}, values)
    for key, value in space.assignments(row.best_values or row.values).items():
        try:
            set_key(changed, key, value)
        except UserError:  # the class's default is a list that the file does not spell out
            changed[key] = value
    changed["seed_everything"] = row.seed
    return changed


def _settings(values: dict[str, Any]) -> dict[str, Any]:
    flat = {short_key(key): value for key, value in flatten(values).items()}
    return {key: value for key, value in flat.items() if not key.startswith(_NOT_OF_A_RUN)}


def _space(options: Mapping[str, Any]) -> dict[str, Any]:
    """The knobs that vary, without the keys they set."""
    space, vary = options.get("space") or {}, options.get("vary") or ()
    return {
        name: {part: value for part, value in spec.items() if part != "to"}
        for name, spec in space.items()
        if not vary or name in vary
    }

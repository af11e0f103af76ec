"""Knobs and configurations as the words of a command, and as YAML to paste into a recipe. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from ...platform.configuration.file import parse_value
from ...platform.configuration.keys import CLASS_SECTIONS, short_key
from ...platform.errors import UserError
from ..rows import TrialRow
from ..search.distributions import Choice, LogUniform, QUniform, RandInt, Uniform
from ..search.knobs import Knob
from .sweep_report import SweepReport

_NAMES = {Uniform: "uniform", LogUniform: "loguniform", QUniform: "quniform", RandInt: "randint"}
_NOT_A_RUN_S = ("sweep.", "launch.", "tracking.")  # they say where and whether, not what is trained
# A class is set by its section's own flag, which takes the name as it stands.
_FLAGS = {"seed_everything": "--seed"} | {
    f"{section}.class_path": f"--{section.replace('_', '-')}" for section in CLASS_SECTIONS
}


def knob_data(knob: Knob) -> dict[str, Any]:
    """A knob as `sweep.space` declares it."""
    draws = knob.draws
    data: dict[str, Any] = {"to": [short_key(target) for target in knob.targets]}
    if isinstance(draws, Choice):
        data["grid" if draws.grid else "choice"] = list(draws.options)
    else:
        data[_NAMES[type(draws)]] = [
            draws.low,
            draws.high,
            *([draws.step] if isinstance(draws, QUniform) else []),
        ]
    if knob.when:
        data["when"] = {short_key(key): list(wanted) for key, wanted in knob.when.items()}
    return data


def space_flag(knob: Knob) -> tuple[str, ...]:
    """The words that replace one knob of the space; none for a name with dots.

    A flag walks through the dots of its key, and so cannot name a knob that has some.
    """
    return () if "." in knob.name else (f"--sweep.space.{knob.name}", flow(knob_data(knob)))


def space_yaml(knob: Knob) -> str:
    """One knob as a line of the recipe's `sweep.space`."""
    return f"{knob.name}: {flow(knob_data(knob))}"


def flow(value: Any) -> str:
    """A value on one line, as our reader reads it back; JSON where YAML's writer and it differ."""
    text = yaml.safe_dump(value, default_flow_style=True, width=1 << 30, sort_keys=False)
    text = text.removesuffix("\n").removesuffix("\n...")
    return text if _reads_as(text, value) else json.dumps(value)


def _reads_as(text: str, value: Any) -> bool:
    try:
        return parse_value(text, "") == value
    except UserError:
        return False


def assignment_words(assignments: Mapping[str, Any]) -> list[str]:
    """Config keys and their values as flags and words."""
    words: list[str] = []
    for key, value in assignments.items():
        flag = _FLAGS.get(key)
        is_name = flag is not None and isinstance(value, str)
        words += [flag or f"--{short_key(key)}", str(value) if is_name else flow(value)]
    return words


def trial_command(report: SweepReport, row: TrialRow) -> str:
    """The command that trains a trial's configuration again; empty where it cannot be told."""
    if not report.recipe or report.space is None:
        return ""
    seed = {} if row.seed is None else {"seed_everything": row.seed}
    changes = {k: v for k, v in report.changes.items() if not k.startswith(_NOT_A_RUN_S)}
    assignments = {**changes, **report.space.assignments(row.best_values or row.values), **seed}
    return shlex.join(["paceline", "fit", report.recipe, *assignment_words(assignments)])

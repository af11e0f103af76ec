"""`paceline why`: what became of a trial, or what it waits for, and where to read on."""

from __future__ import annotations

from typing import Any

from ...platform.configuration.keys import get_key
from ...platform.configuration.options import Sweep as Options
from ..population.judge import make_judge
from ..population.rule import bare_rule
from ..stopping.judge import Judge
from ..stopping.rules import make_rule
from ..trial_folder import LOG, folder_of
from .explain import explain
from .found import Sweep, command, config_values, find_trial, open_sweep


def judge_of(sweep: Sweep) -> Judge:
    """Who stops trials in a sweep, by its config and the time axis that its journal names.

    Raises:
        UserError: The config is missing or damaged.
    """
    values = config_values(sweep.folder)
    given = values.get("sweep") or {}
    known = {name: given[name] for name in Options.__dataclass_fields__ if name in given}
    limit = get_key(values, "trainer.max_epochs")
    horizon = sweep.header.get("horizon", known.get("horizon") or limit)
    options = Options(**{**known, "metric": sweep.rows.metric, "mode": sweep.rows.mode})
    if options.scheduler == "pbt":
        rule = bare_rule(options, horizon, size=options.trials)
    else:
        rule = make_rule(options, horizon)
    return make_judge(rule, sweep.rows, in_order=options.in_order)


def why(name: str, trial: str, storage: str | None = None) -> tuple[dict[str, Any], str]:
    """What `paceline why NAME TRIAL` answers: the JSON object and the text.

    Args:
        name: A sweep.
        trial: A trial's number, or `best`.
        storage: Folder of runs; default under the home.

    Raises:
        UserError: No such sweep or trial, or its folder is damaged.
    """
    sweep = open_sweep(name, storage)
    row = find_trial(sweep.rows, trial)
    told = explain(row, sweep.rows, judge_of(sweep), is_driven=sweep.is_held)
    head = {"name": name, "trial_id": row.trial_id, "run_id": row.run_id}
    lines = [told.text]
    log = folder_of(sweep.folder, row.number) / LOG
    if log.exists():
        asked = command("logs", name, row.trial_id, storage=storage)
        lines.append(f"  log           {asked}")
    if told.outcome == "failed" and row.run_id:
        lines.append(f"  traceback     exception.txt of run {row.run_id}  (paceline ui)")
    if told.outcome in ("killed", "interrupted") and sweep.can_go_on and not sweep.is_held:
        lines.append(f"  go on         {command('resume', name, storage=storage)}")
    answer = {**head, "outcome": told.outcome, "why": told.text, **told.facts}
    return answer | {"log": str(log) if log.exists() else None}, "\n".join(lines)

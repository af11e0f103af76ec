"""What MLflow keeps of a promotion: its run, the version's lineage, and the moved alias."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from ...platform.tracking.client import asked
from ...platform.tracking.record import code_state
from ...platform.tracking.registry import Version, add_version, move_alias, version_of
from ...platform.tracking.store import Store
from ..past import Past
from .comparison import Attempt, Verdict
from .outcome import Outcome

PROMOTES = "paceline.promotes"  # the tag by which a promotion's run is known: its sweep's run


def open_promotion_run(store: Store, past: Past, command: str) -> str:
    """The sweep's promotion as a run under the sweep's own; one that was begun goes on."""
    sweep_run = str(past.state["run_id"])
    if found := store.find_tagged(PROMOTES, sweep_run):
        store.reopen(found)
        return found
    tags = {PROMOTES: sweep_run, "paceline.command": command, "mlflow.source.name": command}
    tags |= code_state(past.folder.parent)
    return store.create_run(f"{past.name}-promotion", parent=sweep_run, tags=tags)


def register(
    store: Store,
    model: str,
    alias: str,
    past: Past,
    verdict: Verdict,
    taken: Attempt,
    module: Any,
) -> tuple[Version, Version | None]:
    """The version of the taken run, made unless it is there, and what the alias named before.

    Args:
        store: The store.
        model: The registered model's name.
        alias: What names the version from now on.
        past: The sweep.
        verdict: What the seeds gave.
        taken: The run whose model is taken.
        module: Its trained module.
    """
    version = version_of(store, model, taken.run_id)
    if version is None:
        version = add_version(
            store,
            model,
            taken.run_id,
            module,
            tags=lineage(store, past, verdict, taken),
            description=describe(past, verdict, taken),
        )
    return version, move_alias(store, version, alias)


def lineage(store: Store, past: Past, verdict: Verdict, taken: Attempt) -> dict[str, Any]:
    """Where a version comes from, as its tags: sweep, trial, runs, config, data, seeds, metrics."""
    promoted, metric = verdict.promoted, past.header["metric"]
    run = asked(store.uri, lambda: store.client.get_run(taken.run_id)).data.tags
    mean, half_width = promoted.summary()[metric]
    tags = {
        "paceline.sweep_name": past.name,
        "paceline.sweep_run_id": past.state["run_id"],
        "paceline.trial": promoted.trial_id,
        "paceline.run": taken.name,
        "paceline.seed": taken.seed,
        "paceline.seeds": ",".join(str(one.seed) for one in promoted.attempts),
        "paceline.run_ids": ",".join(one.run_id for one in promoted.attempts),
        "paceline.config": json.dumps(dict(promoted.config), sort_keys=True, default=str),
        "paceline.config_digest": _digest(past, promoted.config),
        "paceline.data": run.get("paceline.data", "unknown"),
        "paceline.data_digest": run.get("paceline.data_digest", "unknown"),
        "paceline.metric": metric,
        "paceline.metric_mean": f"{mean:.6g}",
        "paceline.metric_ci95": "none, of one seed" if math.isnan(half_width) else half_width,
    }
    tags |= {k: v for k, v in run.items() if k.startswith("paceline.git_")}
    if verdict.other is not None:
        tags["paceline.runner_up"] = verdict.other.trial_id
        tags["paceline.margin"] = f"{verdict.margin:.6g} +- {verdict.half_width:.6g} (paired t)"
    return tags


def _digest(past: Past, config: Any) -> str:
    """SHA-256 of the sweep's config with the promoted trial's values laid over it."""
    whole = [past.config.resolved, dict(config)]
    return hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()


def describe(past: Past, verdict: Verdict, taken: Attempt) -> str:
    """The version's text in MLflow's page, Markdown."""
    promoted, metric = verdict.promoted, past.header["metric"]
    lines = [
        f"Trial {promoted.trial_id} of the sweep **{past.name}**, trained again with seeds "
        f"{', '.join(str(one.seed) for one in promoted.attempts)}; the model is that of the median "
        f"seed, {taken.seed} (run `{taken.name}`).",
        "",
        f"| metric | mean of {len(promoted.attempts)} | 95 % interval | this model |",
        "|---|---|---|---|",
    ]
    for name, (mean, half_width) in promoted.summary().items():
        mine = taken.score(name)
        shown = "-" if math.isnan(half_width) else f"+- {half_width:.4g}"
        told = "-" if mine is None else f"{mine:.4g}"
        lines.append(f"| `{name}` | {mean:.4g} | {shown} | {told} |")
    lines += ["", f"`{metric}` decided. Repeat it: `paceline promote {past.name}`"]
    return "\n".join(lines)


def finish(store: Store, outcome: Outcome) -> None:
    """Keep a promotion's outcome in its run: the metrics, who was taken, and the whole as JSON."""
    promoted = outcome.verdict.promoted
    version = outcome.version
    tags = {
        "paceline.model": version.name,
        "paceline.model_version": version.version,
        "paceline.promoted_trial": promoted.trial_id,
        "paceline.promoted_run_id": outcome.taken.run_id,
        "mlflow.note.content": outcome.text(),
    }
    store.set_tags(outcome.run_id, tags)
    points = {f"promoted/{name}": mean for name, (mean, _) in promoted.summary().items()}
    if not math.isnan(outcome.verdict.margin):
        points["promoted/margin"] = outcome.verdict.margin
    now = outcome.now_ms()
    rows = [[name, value, now, 0] for name, value in points.items()]
    store.outlet.write(outcome.run_id, "metrics", points=rows)
    text = json.dumps(outcome.as_dict(), indent=1, default=str)
    store.outlet.send_text(outcome.run_id, text, "promotion.json")

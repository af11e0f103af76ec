"""What a promotion answers: the object of `--json`, and the lines that a person reads."""

from __future__ import annotations

import math
import shlex
import time
from dataclasses import dataclass
from typing import Any

from ...platform.home import home
from ...platform.tracking.registry import Version
from ...platform.tracking.uri import public_uri, resolve_uri
from ..table import format_value
from .comparison import Attempt, Verdict


@dataclass(frozen=True)
class Outcome:
    """A promotion that is done.

    Args:
        sweep: The sweep's name.
        version: The registered version.
        alias: What names it.
        before: The version that the alias named before; None: no other.
        metric: The deciding metric.
        verdict: Who was promoted, and how sure that is.
        taken: The run whose model it is.
        run_id: The promotion's own run.
        tracking_uri: MLflow store or server.
        link: Address of that run's page.
        seconds: Wall time.
    """

    sweep: str
    version: Version
    alias: str
    before: Version | None
    metric: str
    verdict: Verdict
    taken: Attempt
    run_id: str
    tracking_uri: str
    link: str
    seconds: float

    @staticmethod
    def now_ms() -> int:
        """The wall clock in milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def as_dict(self) -> dict[str, Any]:
        """The object of `--json`."""
        verdict, taken = self.verdict, self.taken
        return {
            "name": self.sweep,
            "run_id": self.run_id,
            "status": "finished",
            "model": self.version.name,
            "version": self.version.version,
            "alias": self.alias,
            "uri": f"models:/{self.version.name}@{self.alias}",
            "replaces": self.before.version if self.before else None,
            "promoted": verdict.promoted.as_dict(self.metric),
            "other": verdict.other.as_dict(self.metric) if verdict.other else None,
            "difference": verdict.as_dict(self.metric) if verdict.other else None,
            "taken": {"seed": taken.seed, "run": taken.name, "run_id": taken.run_id}
            | {"metrics": dict(taken.metrics), "checkpoint": taken.checkpoint},
            "tracking_uri": public_uri(self.tracking_uri),
            "seconds": round(self.seconds, 3),
        }

    def text(self) -> str:
        """What a person reads."""
        verdict, name = self.verdict, self.version.name
        promoted = verdict.promoted
        lines = [
            f"{self.sweep}: trial {promoted.trial_id} is {name} version {self.version.version}, "
            f"alias {self.alias}"
        ]
        for key, value in promoted.config.items():
            lines.append(f"    {key} = {format_value(value)}")
        for metric, (mean, half_width) in promoted.summary().items():
            lines.append(f"  {metric:<13} {spread(mean, half_width)}")
        lines.append(f"  {_seeds(self)}")
        lines += self._compared()
        score = taken_score(self)
        lines.append(
            f"  model of      {self.taken.name}, the median seed ({self.metric} {score}): the best "
            "one's score is partly luck"
        )
        if self.before is not None:
            lines.append(f"  replaces      version {self.before.version}{_its_mean(self.before)}")
        lines += [f"  MLflow        {self.link}"] if self.link else []
        lines.append(f"  go on         {self._serve()}")
        return "\n".join(lines)

    def _serve(self) -> str:
        """The command that serves it, from this home."""
        words = ["paceline", "serve", self.version.name]
        if self.alias != "champion":
            words += ["--alias", self.alias]
        if self.tracking_uri != resolve_uri(None, home()):
            words += ["--tracking-uri", public_uri(self.tracking_uri)]
        return shlex.join(words)

    def _compared(self) -> list[str]:
        verdict, other = self.verdict, self.verdict.other
        if other is None:
            return ["  runner-up     none: every finished trial has this configuration"]
        found = other.summary().get(self.metric)
        told = spread(*found) if found else "no value"
        place = "which the sweep had first" if verdict.is_upset else "the sweep's second"
        lines = [f"  compared with trial {other.trial_id}, {place}: {self.metric} {told}"]
        if failures := other.failed(self.metric):
            lines[0] += f" ({len(failures)} of {len(other.attempts)} seeds failed)"
        if verdict.pairs:
            lines.append(
                f"  difference    {spread(verdict.margin, verdict.half_width)} for trial "
                f"{verdict.promoted.trial_id} (paired t, {verdict.pairs} seeds): {_sureness(self)}"
            )
        return lines


def spread(mean: float, half_width: float) -> str:
    """A mean with its 95 % interval; of a single value there is none."""
    return f"{mean:.4g}" + ("" if math.isnan(half_width) else f" +- {half_width:.2g}")


def taken_score(outcome: Outcome) -> str:
    """The deciding metric of the run whose model is taken."""
    return format_value(outcome.taken.score(outcome.metric))


def _seeds(outcome: Outcome) -> str:
    promoted = outcome.verdict.promoted
    numbers = [str(one.seed) for one in promoted.attempts]
    told = "seeds         " if len(numbers) > 1 else "seed number   "
    told += ", ".join(numbers)
    failures = promoted.failed(outcome.metric)
    return told + (f" ({len(failures)} failed)" if failures else "")


def _sureness(outcome: Outcome) -> str:
    if outcome.verdict.pairs < 2:
        return "one seed tells nothing of chance"
    if outcome.verdict.is_sure:
        return "more than chance at 95 %"
    return "these seeds do not tell the two apart"


def _its_mean(version: Version) -> str:
    """What the version before had promised, where it says."""
    metric, mean = version.tags.get("paceline.metric"), version.tags.get("paceline.metric_mean")
    return f" ({metric} {mean})" if metric and mean else ""

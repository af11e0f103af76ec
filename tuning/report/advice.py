"""What to try next, with the numbers that speak for it and the flags to paste. Pure.

Each rule is silent unless its numbers speak clearly; with few trials all are. What is said of a
knob's range needs a knob that matters: among ten that do not, one would lean on an edge by chance.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ...platform.configuration.keys import short_key
from ...platform.tracking.uri import public_uri
from ..rows import TrialRow
from ..search.distributions import Choice, Distribution
from ..search.knobs import Knob
from ..search.space import Space
from ..table import format_value
from .edges import leanings
from .flags import assignment_words, space_flag, space_yaml
from .importance import MIN_TRIALS, Importances
from .progress import improvements
from .ranking import best_quarter, ended, fate
from .scales import percent, tick_text
from .sweep_report import SweepReport

_OWN = ("sweep.vary", "sweep.trials", "sweep.like", "sweep.points")  # the command gives them anew
ALPHA = 0.05  # odds that an option is missed by the best by chance
NEGLIGIBLE = 0.05  # share of all importances
SETTLED = 0.1  # of the best quarter's scores, by which a late best trial must beat those before it


@dataclass(frozen=True)
class Advice:
    """One thing to try.

    Args:
        title: What, in a few words.
        why: The numbers that speak for it, in a sentence or two.
        flags: Words to add to the sweep's command.
        yaml: The same for the recipe's `sweep.space`, where it is about a knob.
        command: A command of its own, where the sweep itself goes on.
        knob: The knob as it should be, where it is about one.
        vary: The knobs that are worth varying, where it is about the others.
    """

    title: str
    why: str
    flags: tuple[str, ...] = ()
    yaml: str = ""
    command: str = ""
    knob: Knob | None = None
    vary: tuple[str, ...] = ()


def advise(report: SweepReport, importances: Importances) -> list[Advice]:
    """All that the trials speak for, what changes the space first."""
    rules: Sequence[Callable[[SweepReport, Importances], Iterator[Advice]]] = (
        _wider_ranges,
        _fewer_options,
        _fewer_knobs,
        _more_epochs,
        _more_trials,
        _failures,
    )
    return [advice for rule in rules for advice in rule(report, importances)]


def next_command(report: SweepReport, advices: Sequence[Advice]) -> str:
    """One command that follows all advice at once; empty where there is none to follow.

    A key that the sweep's own command set gives way to an advised one, and a knob that can exist no
    longer, because the options that it needs were dropped, is varied no longer.
    """
    flags = {advice.flags[0]: advice.flags[1] for advice in advices if advice.flags}
    if not report.recipe or report.space is None or not flags:
        return ""
    changed = {advice.knob.name: advice.knob for advice in advices if advice.knob}
    vary = next((a.vary for a in advices if a.vary), [knob.name for knob in report.space.knobs])
    knobs = [changed.get(k.name, k) for k in report.space.knobs if k.name in vary]
    space = replace(report.space, knobs=tuple(knobs))
    flags["--vary"] = ",".join(knob.name for knob in knobs if space.possible(knob))
    kept = {
        key: value
        for key, value in report.changes.items()
        if key not in _OWN and f"--{short_key(key)}" not in flags and not _is_secret(key, value)
    }
    words = ["paceline", "sweep", report.recipe, *assignment_words(kept)]
    words += [word for pair in flags.items() for word in pair]
    words += ["--sweep.like", report.name, "--trials", str(max(MIN_TRIALS, len(report.rows)))]
    return shlex.join(words)


def _is_secret(key: str, value: object) -> bool:
    """Whether a value holds a password, which a page that is passed around must not."""
    return key == "tracking.uri" and public_uri(str(value)) != str(value)


def _matters(importances: Importances, knob: str) -> bool:
    return any(k.knob == knob and k.share >= NEGLIGIBLE for k in importances.knobs)


def _wider_ranges(report: SweepReport, importances: Importances) -> Iterator[Advice]:
    if report.space is None:
        return
    by_name = {knob.name: knob for knob in report.space.knobs}
    for lean in leanings(report.rows, report.space):
        if not _matters(importances, lean.knob):
            continue
        knob, side = by_name[lean.knob], "upper" if lean.is_high else "lower"
        is_list = isinstance(knob.draws, Choice)
        where = "at" if is_list else "in the outer 15 % of its range, at"
        why = (
            f"{lean.inside} of the {lean.of} best trials that have `{lean.knob}` have it {where} "
            f"the {side} end {tick_text(lean.edge)}: the best value may lie beyond."
        )
        yield _redrawn(f"Widen `{lean.knob}` at its {side} end", why, knob, lean.wider)


def _redrawn(title: str, why: str, knob: Knob, draws: Distribution) -> Advice:
    changed = replace(knob, draws=draws)
    return Advice(title, why, space_flag(changed), space_yaml(changed), knob=changed)


def _fewer_options(report: SweepReport, importances: Importances) -> Iterator[Advice]:
    """Options that were tried often, and that none of the best trials has."""
    if report.space is None:
        return
    leaning = {lean.knob for lean in leanings(report.rows, report.space)}
    for knob in report.space.knobs:
        if not isinstance(knob.draws, Choice) or not _matters(importances, knob.name):
            continue
        if knob.name in leaning:
            continue  # it is to get one more option, at the side where the best are
        missed = _missed(report, knob)
        kept = tuple(o for o in knob.draws.options if json.dumps(o) not in missed)
        if not missed or not kept:
            continue
        names = ", ".join(f"{format_value(json.loads(o))} ({n}x)" for o, n in missed.items())
        why = f"Tried, but never among the best quarter: {names}."
        draws = replace(knob.draws, options=kept)
        yield _redrawn(f"Drop options of `{knob.name}`", why, knob, draws)


def _missed(report: SweepReport, knob: Knob) -> dict[str, int]:
    """Option as JSON -> how often it was tried, where its absence among the best is no chance."""
    assert isinstance(knob.draws, Choice)
    tried = [json.dumps(r.values[knob.name]) for r in ended(report.rows) if knob.name in r.values]
    best = [
        json.dumps(r.values[knob.name]) for r in best_quarter(report.rows) if knob.name in r.values
    ]
    options = [json.dumps(option) for option in knob.draws.options]
    counts = {option: tried.count(option) for option in options if option not in best}
    total = math.comb(len(tried), len(best))
    return {
        option: count
        for option, count in counts.items()
        if math.comb(len(tried) - count, len(best)) < ALPHA * total
    }


def _fewer_knobs(report: SweepReport, importances: Importances) -> Iterator[Advice]:
    if report.space is None or not importances.knobs:
        return
    total = sum(k.drop for k in importances.knobs)
    idle = {k.knob for k in importances.knobs if k.drop + 2 * k.error < NEGLIGIBLE * total}
    kept = _with_their_conditions(report.space, idle)
    idle -= kept
    if not idle or not kept:
        return
    told = ", ".join(f"`{knob.knob}`" for knob in importances.knobs if knob.knob in idle)
    ordered = tuple(knob.name for knob in report.space.knobs if knob.name in kept)
    why = (
        f"{told}: less than {percent(NEGLIGIBLE)} of the importance each, the error included. "
        "Left out, they keep the recipe's values, and the trials search the others more densely."
    )
    flags = ("--vary", ",".join(ordered))
    yield Advice("Leave out what hardly matters", why, flags, vary=ordered)


def _with_their_conditions(space: Space, idle: set[str]) -> set[str]:
    """The knobs to keep: those that are not idle, and those that their conditions name."""
    kept: set[str] = set()
    for knob in reversed(space.knobs):  # each stands after those that it needs
        needed = any(
            knob.sets(key) for other in space.knobs if other.name in kept for key in other.when
        )
        if knob.name not in idle or needed:
            kept.add(knob.name)
    return kept


def _more_epochs(report: SweepReport, _: Importances) -> Iterator[Advice]:
    """The best trial ran to the end and was still gaining in its last fifth."""
    best, horizon = report.rows.best(), report.horizon
    if best is None or not horizon or best.score is None or best.at < horizon:
        return
    scores = [report.score for report in best.history if math.isfinite(report.score)]
    late = [r.score for r in best.history if r.at <= 0.8 * horizon and math.isfinite(r.score)]
    if len(late) < 3 or best.best_epoch < best.epoch:
        return
    pick = min if report.rows.mode == "min" else max
    gain, whole = abs(best.score - pick(late)), abs(best.score - scores[0])
    if not whole or gain < 0.02 * whole:
        return
    key = {"epoch": "trainer.max_epochs", "step": "trainer.max_steps"}.get(report.time_axis)
    flags = (f"--{key}", f"{round(2 * horizon)}") if key else ()
    why = (
        f"The best trial was best at its very end: {percent(gain / whole)} of all that it gained "
        f"came in the last fifth of its {tick_text(horizon)} {report.time_axis}s."
    )
    yield Advice("Train longer", why, flags)


def _more_trials(report: SweepReport, _: Importances) -> Iterator[Advice]:
    """Whether the search was still finding clearly better trials when it ended."""
    over, steps = ended(report.rows), improvements(report.rows)
    best = best_quarter(report.rows)
    if len(over) < MIN_TRIALS or not steps or report.status == "running":
        return
    numbers = sorted(row.number for row in over)
    place = sum(number <= steps[-1].number for number in numbers)
    told = f"The best trial was number {place} of {len(numbers)}"
    if place > 0.75 * len(numbers) and _is_clear_gain(best):
        why = f"{told}, clearly better than all before it: the search has not settled."
        command = next((c for c in report.commands if " extend " in c), "")
        yield Advice("Go on with this sweep", why, command=command)
    elif place <= 0.25 * len(numbers):
        why = (
            f"{told}, and none of the {len(numbers) - place} after it was better: "
            "change the space rather than add trials."
        )
        yield Advice("More of the same will hardly help", why)


def _is_clear_gain(best: Sequence[TrialRow]) -> bool:
    """Whether the best trial stands apart from the second, beside how far the best ones spread."""
    scores = [row.score for row in best if row.score is not None]
    return abs(scores[1] - scores[0]) > SETTLED * abs(scores[-1] - scores[0])


def _failures(report: SweepReport, _: Importances) -> Iterator[Advice]:
    fates = [fate(row) for row in report.rows]
    broken = sum(name in ("failed", "diverged") for name in fates)
    if len(fates) >= 4 and broken >= 0.2 * len(fates):
        why = f"{broken} of {len(fates)} trials failed or diverged; each had its cost."
        yield Advice("See to the failures first", why)

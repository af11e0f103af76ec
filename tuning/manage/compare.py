"""`paceline compare`: sweeps and runs side by side, which is better, and what differs.

Scores are compared at equal spending too: the best of many epochs is no better search than the best
of few. Where the metric or the mode differ, nothing is called better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...platform.errors import UserError, must
from ..rows import is_better
from .contender import Contender, read_contender

SHARES = (0.25, 0.5, 0.75, 1.0)  # of the smaller spending


@dataclass(frozen=True)
class Verdict:
    """Which of several is better.

    Args:
        better: Its name; None when nothing can be called better.
        by: Name of each other one -> `absolute` and `relative` distance to it, both positive.
        text: The same as a sentence, or why not.
        ahead: Which was better when all had spent as many epochs as the one that spent the least;
            None when that cannot be told.
    """

    better: str | None
    by: Mapping[str, Mapping[str, float | None]]
    text: str
    ahead: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Several contenders side by side.

    Args:
        contenders: In the order asked for.
        verdict: Which is better.
        at_epochs: Epochs -> name -> best score by then.
        settings: Config key -> name -> value of the best, where they differ.
        spaces: Knob -> name -> what it draws from, where sweeps differ.
    """

    contenders: Sequence[Contender]
    verdict: Verdict
    at_epochs: Mapping[int, Mapping[str, float | None]]
    settings: Mapping[str, Mapping[str, Any]]
    spaces: Mapping[str, Mapping[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """The object of `--json`."""
        return {
            "contenders": [_as_dict(one) for one in self.contenders],
            "better": self.verdict.better,
            "better_at_equal_epochs": self.verdict.ahead,
            "by": self.verdict.by,
            "verdict": self.verdict.text,
            "at_epochs": [
                {"epochs": epochs, "best": best} for epochs, best in self.at_epochs.items()
            ],
            "settings": self.settings,
            "spaces": self.spaces,
        }


def _as_dict(one: Contender) -> dict[str, Any]:
    standing = one.standing
    return {
        "name": one.name,
        "kind": standing.kind,
        "status": standing.status,
        "metric": standing.metric,
        "mode": one.mode,
        "best": standing.best,
        "interval": one.interval,
        "best_trial": standing.best_trial,
        "over": standing.over,
        "trials": standing.total,
        "epochs": standing.epochs,
        "seconds": standing.seconds,
    }


def compare(names: Sequence[str], storage: str | None = None) -> Comparison:
    """Set sweeps and runs side by side.

    Args:
        names: Two or more, all different.
        storage: Folder of runs; default under the home.

    Raises:
        UserError: A name stands twice or is unknown, or its folder is damaged.
    """
    for index, name in enumerate(names):
        if name in names[:index]:
            raise UserError(must("NAME", "given once", f"{name}, given twice"), "compare")
    return comparison([read_contender(name, storage) for name in names])


def comparison(contenders: Sequence[Contender]) -> Comparison:
    """What there is to say of several contenders. Pure."""
    sweeps = [one for one in contenders if one.standing.kind == "sweep"]
    at_epochs = at_equal_epochs(contenders)
    return Comparison(
        contenders,
        _with_ahead(judged(contenders), contenders, at_epochs),
        at_epochs,
        differing({one.name: one.settings for one in contenders}),
        differing({one.name: one.space for one in sweeps}),
    )


def judged(contenders: Sequence[Contender]) -> Verdict:
    """Which is better and by how much; nothing where that would compare different things."""
    for what, values in (
        ("metric", {one.name: one.standing.metric for one in contenders}),
        ("mode", {one.name: one.mode for one in contenders}),
    ):
        if len(set(values.values())) > 1:
            told = ", ".join(f"{value or 'none'} of {name}" for name, value in values.items())
            return Verdict(None, {}, f"None is called better: their {what} differs ({told}).")
    scores = {one.name: one.standing.best for one in contenders if one.standing.best is not None}
    missing = [one.name for one in contenders if one.standing.best is None]
    if missing:
        return Verdict(None, {}, f"None is called better: no score of {', '.join(missing)} yet.")
    return _ranking(scores, contenders[0].standing.metric, contenders[0].mode)


def _ranking(scores: Mapping[str, float], metric: str, mode: str) -> Verdict:
    winner = _first(scores, mode)
    best, ties = scores[winner], [name for name in scores if scores[name] == scores[winner]]
    if len(ties) > 1:
        return Verdict(None, {}, f"{' and '.join(ties)} are equal: {metric} {best:.4g}.")
    by, told = {}, []
    for name, score in scores.items():
        if name == winner:
            continue
        gap, share = abs(score - best), abs(score - best) / abs(score) if score else None
        by[name] = {"absolute": gap, "relative": share}
        percent = "" if share is None else f" ({share:.1%})"
        side = "below" if mode == "min" else "above"
        told.append(f"{gap:.4g}{percent} {side} the {score:.4g} of {name}")
    return Verdict(winner, by, f"{winner} is better: {metric} {best:.4g}, {', '.join(told)}.")


def _first(scores: Mapping[str, float], mode: str) -> str:
    """The name with the best score, the first of equals."""
    first = next(iter(scores))
    for name, score in scores.items():
        first = name if is_better(score, scores[first], mode) else first
    return first


def _with_ahead(
    verdict: Verdict,
    contenders: Sequence[Contender],
    at_epochs: Mapping[int, Mapping[str, float | None]],
) -> Verdict:
    """The verdict with a word on equal spending, where that says otherwise."""
    if verdict.better is None or not at_epochs:
        return verdict
    epochs = max(at_epochs)
    scores = {name: score for name, score in at_epochs[epochs].items() if score is not None}
    if len(scores) < len(contenders) or len(set(scores.values())) < len(scores):
        return verdict
    ahead = _first(scores, contenders[0].mode)
    text = verdict.text
    if ahead != verdict.better:
        text += f" But at equal spending, {epochs} epochs, {ahead} was: {scores[ahead]:.4g}."
    return replace(verdict, text=text, ahead=ahead)


def at_equal_epochs(contenders: Sequence[Contender]) -> dict[int, dict[str, float | None]]:
    """The best score of each sweep at the same numbers of epochs, up to the smaller spending."""
    sweeps = [one for one in contenders if one.standing.epochs]
    if len(sweeps) < 2:
        return {}
    smaller = min(one.standing.epochs or 0 for one in sweeps)
    steps = dict.fromkeys(max(1, round(share * smaller)) for share in SHARES)
    return {epochs: {one.name: one.best_at(epochs) for one in sweeps} for epochs in steps}


def differing(values: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Key -> name -> value, for each key whose values are not all the same; None where it lacks."""
    if len(values) < 2:
        return {}
    keys = dict.fromkeys(key for flat in values.values() for key in flat)
    found = {key: {name: flat.get(key) for name, flat in values.items()} for key in keys}
    return {
        key: row
        for key, row in found.items()
        if any(value != next(iter(row.values())) for value in row.values())
    }

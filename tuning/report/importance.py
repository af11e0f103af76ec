"""Which knobs decide: permutation importance of a forest that predicts a trial's rank. Pure.

Extremely randomised trees (Geurts et al., 2006) learn the rank of a trial's score from its knobs.
A knob's importance is the share of the rank's variance that the forest explains no longer when
that knob's values are shuffled between trials (Breiman, 2001, section 10), each time on a fifth of
the trials that the trees have not seen.

Why not fANOVA, which Optuna has: it takes only knobs that every trial has, so a knob with a
condition could not be told, and it asks a forest about the trials that it has learned by heart.
Why ranks: a loss of 1e6 counts as one bad trial, and one that diverged as the worst.

A knob that a trial does not have takes there the value of some trial that has it. It then tells
nothing of whether it exists, which is the merit of the knob that its condition names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..rows import Rows, TrialRow
from ..search.space import Space
from .ranking import ranked
from .scales import Axis, Numbers, is_number, knob_axes, percent

if TYPE_CHECKING:
    import numpy as np

# Of eight knobs of which three matter, the first is found in 95 of 100 sweeps of 20 trials, but
# only in 60 of 100 sweeps of 12.
MIN_TRIALS = 20
MIN_EXPLAINED = 0.1  # below, the forest knows hardly more than the mean does
TREES, FOLDS, SHUFFLES = 64, 5, 5


@dataclass(frozen=True)
class KnobImportance:
    """How much one knob decides.

    Args:
        knob: Its name.
        drop: Share of the rank's variance that is explained no longer when it is shuffled, from 0.
        error: Standard error of `drop` over the fifths of the trials.
        share: Its part of all knobs' drops, from 0 to 1.
    """

    knob: str
    drop: float
    error: float
    share: float

    @property
    def is_clear(self) -> bool:
        """Whether it stands out from what chance does."""
        return self.drop > 2 * self.error


@dataclass(frozen=True)
class Importances:
    """What is known of the knobs' importance.

    Args:
        knobs: The most important first; empty when nothing can be told.
        explained: Share of the variance of unseen trials' ranks that the forest explains.
        trials: How many trials it learned from.
        reason: Why nothing can be told; empty when something can.
    """

    knobs: tuple[KnobImportance, ...]
    explained: float
    trials: int
    reason: str = ""

    @property
    def method(self) -> str:
        """How it was measured, for the reader of a report."""
        return (
            f"Permutation importance: extremely randomised trees learned the rank of {self.trials} "
            "ended trials (those stopped early by their best score, those that diverged as the "
            f"worst) and explain {percent(self.explained)} of the variance among trials that they "
            "have not seen. A bar is the part of it that is lost when a knob's values are "
            "shuffled; its line is two standard errors."
        )


def importances(rows: Rows, space: Space | None) -> Importances:
    """Each knob's importance for the deciding metric.

    Args:
        rows: The trials, of which the ended ones count.
        space: What was searched, for the axis of each knob.
    """
    order = ranked(rows)
    axes = {name: axis for name, axis in knob_axes(rows, space).items() if _varies(name, order)}
    if len(order) < MIN_TRIALS:
        reason = f"Importances need {MIN_TRIALS} ended trials, and there are {len(order)}."
        return Importances((), 0.0, len(order), reason)
    if not axes or _ranks(order)[0] == _ranks(order)[-1]:
        return Importances((), 0.0, len(order), "No knob or no score differs between the trials.")
    drops, errors, explained = _measure(order, axes)
    if explained < MIN_EXPLAINED:
        reason = (
            f"From {len(order)} trials no knob can be told apart from chance: "
            "they differ less by their knobs than by luck, or by a mix of many knobs."
        )
        return Importances((), explained, len(order), reason)
    total = sum(drops) or 1.0
    found = [
        KnobImportance(name, drop, error, drop / total)
        for name, drop, error in zip(axes, drops, errors, strict=True)
    ]
    found.sort(key=lambda knob: -knob.drop)
    return Importances(tuple(found), explained, len(order))


def _varies(name: str, rows: Sequence[TrialRow]) -> bool:
    return len({str(row.values[name]) for row in rows if name in row.values}) > 1


def _ranks(order: Sequence[TrialRow]) -> list[float]:
    """Ranks from 0, equal scores with their mean rank."""
    scores = [row.score for row in order]
    return [scores.index(s) + (scores.count(s) - 1) / 2 for s in scores]


def _measure(
    order: Sequence[TrialRow], axes: dict[str, Axis]
) -> tuple[list[float], list[float], float]:
    """Drop and its error for each knob, and the explained share, over the folds."""
    import numpy as np
    from sklearn.ensemble import ExtraTreesRegressor

    random = np.random.default_rng(0)  # the same trials give the same report
    blocks = [_columns(name, axis, order, random) for name, axis in axes.items()]
    features, ends = np.concatenate(blocks, axis=1), np.cumsum([b.shape[1] for b in blocks])
    groups = np.split(np.arange(features.shape[1]), ends[:-1])
    target = np.array(_ranks(order))
    shuffled = random.permutation(len(order))
    explained, drops = [], []
    for fold in range(FOLDS):
        unseen = shuffled[fold::FOLDS]
        seen = np.setdiff1d(shuffled, unseen)
        forest = ExtraTreesRegressor(TREES, random_state=fold)
        forest.fit(features[seen], target[seen])
        variants = _shuffle_each(features[unseen], groups, random)  # V variants, N trials, F
        guesses = forest.predict(variants.reshape(-1, features.shape[1]))
        errors = (guesses.reshape(len(variants), -1) - target[unseen]) ** 2
        lost = errors.mean(axis=1) / target.var()
        explained.append(1 - lost[0])
        drops.append((lost[1:] - lost[0]).reshape(len(groups), SHUFFLES).mean(axis=1))
    mean, error = np.mean(drops, axis=0), np.std(drops, axis=0, ddof=1) / math.sqrt(FOLDS)
    return [*np.maximum(mean, 0.0).tolist()], error.tolist(), float(np.mean(explained))


def _columns(name: str, axis: Axis, rows: Sequence[TrialRow], random: Any) -> np.ndarray:
    """A knob as numbers: its place on its axis, or one column an option where these have no order.

    Returns:
        N trials by the number of columns.
    """
    import numpy as np

    known = [row.values[name] for row in rows if name in row.values]
    values = [
        row.values[name] if name in row.values else known[random.integers(len(known))]
        for row in rows
    ]
    places = np.array([axis.place(value) or 0.0 for value in values])
    if isinstance(axis, Numbers) or all(is_number(option) for option in axis.options):
        return places[:, None]
    return (places[:, None] == np.unique(places)[None, :]).astype(float)


def _shuffle_each(features: np.ndarray, groups: Sequence[np.ndarray], random: Any) -> np.ndarray:
    """The features as they are, then `SHUFFLES` times with each group of columns shuffled."""
    import numpy as np

    variants = [features]
    for columns in groups:
        for _ in range(SHUFFLES):
            variant = features.copy()
            variant[:, columns] = features[random.permutation(len(features))][:, columns]
            variants.append(variant)
    return np.stack(variants)

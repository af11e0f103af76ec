"""Splits for sets whose authors published none."""

from __future__ import annotations

import numpy as np


def stratified_split(
    targets: np.ndarray, fractions: tuple[float, ...], seed: int
) -> list[np.ndarray]:
    """Indices of random parts that hold their fraction of each class.

    Args:
        targets: Class of each sample, (N,).
        fractions: Share of each part, together at most 1; what is left is the last part.
        seed: The split is a function of the targets and this.

    Returns:
        One sorted array of indices per fraction, and one with the rest.
    """
    shuffled = np.random.default_rng(seed).permutation(len(targets))
    by_class = shuffled[np.argsort(targets[shuffled], kind="stable")]  # random within each class
    counts = np.bincount(targets)
    # Midpoints 0.5/n, 1.5/n, ... within each class: cut at a fraction, they give its share.
    position = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
    part = np.searchsorted(np.cumsum(fractions), position, side="right")
    return [np.sort(by_class[part == number]) for number in range(len(fractions) + 1)]

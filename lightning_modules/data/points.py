"""Points in the plane, two classes: small enough to see what a classifier does with them.

`blobs` can be separated by a straight line, `xor` (the perceptron's counterexample of the deck, by
Minsky and Papert 1969) and `moons` (two half circles that hook into each other) cannot.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from .arguments import drawn, one_of, wrong
from .augmentation import AugmentationSpec
from .samples import Samples, Splits
from .tensors import TensorDataModule

NOISE = {"blobs": 0.5, "xor": 0.25, "moons": 0.1}
BLOB_CENTRE = 1.5
BLOB_RADIUS = 2.0  # less than the 2.12 from a blob's centre to the line between the blobs


class Points(TensorDataModule):
    """Points of two classes, three fifths to train on, a fifth each for validation and test.

    Args:
        kind: `blobs`, `xor` or `moons`.
        num_samples: Points of all splits together, at least 10.
        noise: Standard deviation of a point about its place; default 0.5, 0.25 and 0.1. Blobs stay
            separable and the four corners of `xor` in their quadrants whatever it is.
        generator_seed: The points are a function of the arguments above and this.
        batch_size: Training samples per step and process.
        augmentation: Random changes of the training points, see `augmentation.py`.
        drop_last: Leave out the training samples that do not fill a batch.

    Raises:
        ValueError: An argument breaks its rule.
    """

    name = "points"
    in_shape = (2,)
    class_names = ("0", "1")

    def __init__(
        self,
        kind: str = "blobs",
        num_samples: int = 500,
        noise: float | None = None,
        generator_seed: int = 0,
        batch_size: int = 32,
        augmentation: AugmentationSpec = None,
        drop_last: bool = False,
    ):
        super().__init__(batch_size, augmentation, drop_last)
        self.kind = one_of("kind", kind, list(NOISE))
        self.noise = NOISE[kind] if noise is None else noise
        if isinstance(noise, bool | str) or not 0 <= self.noise < math.inf:
            raise wrong("noise", "a number of at least 0", noise)
        self.num_samples, self.generator_seed = drawn(num_samples, generator_seed)

    def load(self) -> Splits:
        """Draw the points; they are not normalised, so that pictures show the plane as it is."""
        rng = np.random.default_rng(self.generator_seed)
        points, classes = _DRAW[self.kind](rng, self.num_samples, self.noise)
        inputs = torch.from_numpy(points).float()  # (N, 2)
        targets = torch.from_numpy(classes).long()  # (N,)
        fifth = self.num_samples // 5
        test, val, train = (
            Samples(inputs[part], targets[part])
            for part in (slice(fifth), slice(fifth, 2 * fifth), slice(2 * fifth, None))
        )
        return Splits(train, val, test)


def blobs(rng: np.random.Generator, count: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Two round clouds about (-1.5, -1.5) and (1.5, 1.5), cut short of each other."""
    classes = rng.integers(0, 2, count)  # (N,)
    offset = rng.normal(0, 1, (count, 2)) * noise  # (N, 2)
    length = np.linalg.norm(offset, axis=1, keepdims=True)  # (N, 1)
    offset *= np.minimum(1, BLOB_RADIUS / np.maximum(length, 1e-12))
    return BLOB_CENTRE * (2 * classes[:, None] - 1) + offset, classes


def xor(rng: np.random.Generator, count: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Clouds about the four corners (+-1, +-1); class 1 where the signs differ."""
    signs = 2 * rng.integers(0, 2, (count, 2)) - 1  # (N, 2)
    # A point that the noise carries over an axis is put back beside it.
    distance = np.maximum(1 + rng.normal(0, 1, (count, 2)) * noise, 1e-3)
    return signs * distance, (signs[:, 0] != signs[:, 1]).astype(np.int64)


def moons(rng: np.random.Generator, count: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """An upper half circle about (-0.5, -0.25) and a lower one about (0.5, 0.25), of radius 1."""
    classes = rng.integers(0, 2, count)  # (N,)
    angle = rng.uniform(0, math.pi, count)  # (N,)
    sign = 1 - 2 * classes  # upper: 1, lower: -1
    points = np.stack((np.cos(angle) - 0.5, np.sin(angle) - 0.25), axis=1) * sign[:, None]  # (N, 2)
    return points + rng.normal(0, 1, (count, 2)) * noise, classes


_DRAW = {"blobs": blobs, "xor": xor, "moons": moons}

"""What is measured of a generator: the places that it reaches, or distances in features.

Points whose places are known are counted. Other examples are compared in features: their own
numbers, pictures shrunk to 8 x 8 by averages, which sees coarse shapes and no detail; and, where a
trained classifier is given, the inputs of its last layer. Distances in the features of different
classifiers cannot be compared, and none of them is the "FID" of Inception-v3.
N samples, F features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from ..blocks.checks import require
from ..blocks.sample_measures import (
    frechet_distance,
    gaussian_of,
    manifold_precision,
    manifold_recall,
    mode_counts,
)
from ..ensemble import build_member

SIDE = 8  # largest side of the pictures whose pixels are features
REACH = 3.0  # standard deviations within which a point counts for a mode (Srivastava et al. 2017)
FAIR_SHARE = 0.1  # of an even share of the points that a mode must get to be covered


def mode_measures(points: Tensor, centres: Tensor, std: float) -> dict[str, float]:
    """How well generated points cover the places that the data stands at.

    Args:
        points: (N, 2).
        centres: Where the M modes are, (M, 2).
        std: Standard deviation of the data about each.

    Returns:
        `high_quality`: share of the points within 3 std of a mode. `modes`: how many modes get at
        least a tenth of their even share, N / (10 M), of such points. `mode_distance`: the total
        variation distance from an even share for each mode and none elsewhere, from 0 to 1.
    """
    counts = mode_counts(points, centres, REACH * std)
    shares = counts.double() / len(points)  # (M,)
    even = 1 / len(centres)
    elsewhere = 1 - shares.sum()
    return {
        "modes": float((shares >= FAIR_SHARE * even).sum()),
        "high_quality": float(shares.sum()),
        "mode_distance": float(((shares - even).abs().sum() + elsewhere) / 2),
    }


def feature_measures(real: Tensor, fake: Tensor) -> dict[str, float]:
    """Frechet distance, precision and recall of features (N, F) of real and generated examples."""
    return {
        "frechet_distance": frechet_distance(*gaussian_of(real), *gaussian_of(fake)),
        "precision": manifold_precision(real, fake),
        "recall": manifold_recall(real, fake),
    }


def raw_features(examples: Tensor) -> Tensor:
    """The numbers of examples (N, ...); of pictures (N, C, H, W) those of 8 x 8 means: (N, F)."""
    if examples.ndim == 4:
        height, width = examples.shape[2:]
        examples = adaptive_avg_pool2d(examples, (min(SIDE, height), min(SIDE, width)))
    return examples.flatten(1)


class ClassifierFeatures:
    """What a trained classifier's last layer sees of examples. No part of the module that asks it.

    Args:
        checkpoint: File of a run of one of our classifiers, on data normalised in the same way.
        family: The classifier's name in the catalog.

    Raises:
        ValueError: If the file is missing, of another family or has no linear layer.
    """

    def __init__(self, checkpoint: str, family: str):
        model = build_member({"family": family, "checkpoint": checkpoint})
        layers = [m for m in model.network.modules() if isinstance(m, nn.Linear)]
        rule = "of a classifier with a linear layer"
        require(bool(layers), "feature_checkpoint", rule, checkpoint)
        self.network = model.network.eval().requires_grad_(False)
        self._seen: Any = None
        layers[-1].register_forward_pre_hook(self._note)

    def _note(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._seen = inputs[0]

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """Features (N, F) of normalised examples (N, ...)."""
        self.network.to(x.device)(x)
        seen, self._seen = self._seen, None
        return seen.flatten(1)


class Comparison:
    """Gathers features of real and of generated examples, and measures between them.

    Args:
        checkpoint: File of a trained classifier, or None.
        family: Its name in the catalog.
    """

    def __init__(self, checkpoint: str | None, family: str):
        self.checkpoint, self.family = checkpoint, family
        self._classifier: ClassifierFeatures | None = None
        self._rows: dict[tuple[str, str], list[Tensor]] = {}  # by whose they are and their name

    def load(self) -> None:
        """Read the classifier, once, if there is one."""
        if self.checkpoint and self._classifier is None:
            self._classifier = ClassifierFeatures(self.checkpoint, self.family)

    def begin(self) -> None:
        """Forget all examples."""
        self._rows = {}

    def __len__(self) -> int:
        """How many real examples were added."""
        return sum(map(len, self._rows.get(("real", "raw"), [])))

    def add(self, whose: str, normalised: Tensor, shown: Tensor) -> None:
        """Note the features of examples.

        Args:
            whose: `real` or `made`.
            normalised: Examples as the data hands them out, (N, ...).
            shown: The same with pixels from 0 to 1.
        """
        features = {"raw": raw_features(shown)}
        if self._classifier is not None:
            features["classifier"] = self._classifier(normalised)
        for name, rows in features.items():
            self._rows.setdefault((whose, name), []).append(rows)

    def measures(self, gathered: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """`raw_frechet_distance`, ...; the examples are forgotten.

        Args:
            gathered: Makes one tensor of the rows of all ranks.
        """
        found = {key: gathered(torch.cat(rows)) for key, rows in self._rows.items()}
        self.begin()
        return {
            f"{name}_{measure}": value
            for whose, name in found
            if whose == "real"
            for measure, value in feature_measures(found["real", name], found["made", name]).items()
        }

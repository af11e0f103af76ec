"""Where in the plane a classifier of two features decides for which class.

Deck, slides "Neural Network" (points that a line separates, and XOR) and "Multiple perceptron".
Drawn without pyplot. N examples, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from ..classifier import Classifier

COLOURS = "tab10"  # of matplotlib's qualitative maps
GRID = 200  # points a side


def decision_boundary(
    classify: Callable[[np.ndarray], np.ndarray],
    points: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
) -> Figure:
    """Regions of the classes, and examples in the colour of their own; wrong ones are crossed.

    Args:
        classify: Maps float32 points (N, 2) to their classes, int (N,).
        points: Examples, (N, 2).
        labels: Their true classes, int (N,).
        class_names: K names.
    """
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot(aspect="equal")
    low, high = points.min(0), points.max(0)
    margin = 0.1 * max(float((high - low).max()), 1e-6)
    (left, bottom), (right, top) = low - margin, high + margin
    across, up = np.meshgrid(np.linspace(left, right, GRID), np.linspace(bottom, top, GRID))
    grid = np.stack((across.ravel(), up.ravel()), 1).astype(np.float32)  # (GRID * GRID, 2)
    region = classify(grid).reshape(GRID, GRID)
    scale = {"cmap": COLOURS, "vmin": -0.5, "vmax": 9.5}
    window = (left, right, bottom, top)
    axes.imshow(region % 10, extent=window, origin="lower", alpha=0.25, **scale)
    wrong = classify(points.astype(np.float32)) != labels
    for label, name in enumerate(class_names):
        own = labels == label
        colours = np.full(int(own.sum()), label % 10)
        axes.scatter(*points[own].T, s=10, c=colours, label=name, **scale)
    axes.scatter(*points[wrong].T, s=40, color="black", marker="x", linewidth=1)
    axes.legend(loc="upper right", title="class")
    axes.set(xlabel="$x_1$", ylabel="$x_2$", title=f"{wrong.sum()} of {len(points)} wrong")
    return figure


def boundary_pictures(classifier: Classifier) -> dict[str, Figure]:
    """The decision boundary among the examples of a classifier's latest evaluation.

    Returns:
        `decision_boundary`; nothing where examples are no points of the plane, or there are none.
    """
    examples = classifier.examples
    if examples is None or examples[0].shape[1:] != (2,):
        return {}

    @torch.no_grad()
    def classify(points: np.ndarray) -> np.ndarray:
        was_training = classifier.training
        scores = classifier.eval()(torch.from_numpy(points).to(classifier.device))
        classifier.train(was_training)
        return scores.argmax(1).cpu().numpy()

    return {"decision_boundary": decision_boundary(classify, *examples, classifier.class_names)}

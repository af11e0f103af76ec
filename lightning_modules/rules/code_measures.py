"""What a code is worth: its reconstruction beside that of PCA, and how far a linear map gets on it.

Deck, slide "Unsupervised learning": dimensionality reduction and feature learning. Hinton and
Salakhutdinov 2006 put their autoencoder beside PCA with as many numbers. A linear probe (Alain and
Bengio 2016) asks whether the classes can be told from the code by straight borders.
N examples, D pixels, Z code, K classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import torch
from torch import Tensor

PROBE_SIZE = 5000  # codes that a probe learns from


def principal_components(chunks: Iterable[Tensor], count: int) -> tuple[Tensor, Tensor]:
    """The mean and the directions of largest variance, in float64.

    Args:
        chunks: Pixels (n, D), in pieces that fit in memory; each is asked for once.
        count: How many directions; no more than D are given.

    Returns:
        Mean (D,) and directions as columns (D, count).
    """
    total, sums, products = 0, torch.zeros(()), torch.zeros(())
    for chunk in chunks:
        x = chunk.double()  # (n, D)
        total += len(x)
        sums = x.sum(0) + sums.to(x)  # (D,)
        products = x.T @ x + products.to(x)  # (D, D)
    mean = sums / total
    # Pixels are from 0 to 1, so that float64 keeps enough of the difference.
    _, vectors = torch.linalg.eigh(products - total * mean.outer(mean))  # smallest variance first
    return mean, vectors.flip(1)[:, :count]


def pca_squared_error(train: Iterable[Tensor], test: Tensor, code_size: int) -> float:
    """Squared error a picture of PCA with `code_size` components, summed over the pixels.

    Args:
        train: Pixels (n, D) in pieces; the components are fitted to these.
        test: Pixels (N, D) that are said again.
        code_size: Z; from D on the error is 0.
    """
    mean, directions = principal_components(train, code_size)
    centred = test.double() - mean
    left = centred - centred @ directions @ directions.T  # (N, D)
    return left.square().sum(1).mean().item()


def linear_probe_accuracy(
    train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor
) -> float:
    """Share of the test's codes whose class logistic regression tells from the code alone.

    Args:
        train: Codes (n, Z); each number is scaled by its mean and deviation here.
        train_labels: Classes int64 (n,).
        test: Codes (N, Z).
        test_labels: Classes int64 (N,).

    Returns:
        A share; NaN where a code is not finite, in a run that has diverged.
    """
    from sklearn.exceptions import ConvergenceWarning  # 1 s to import: only when it is used
    from sklearn.linear_model import LogisticRegression

    if not (train.isfinite().all() and test.isfinite().all()):
        return float("nan")
    deviation, mean = torch.std_mean(train.double(), 0)
    scaled, asked = ((x.double() - mean) / deviation.clamp(min=1e-12) for x in (train, test))
    probe = LogisticRegression(C=1.0, max_iter=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 200 steps are near enough
        probe.fit(scaled.cpu().numpy(), train_labels.cpu().numpy())
    return float(probe.score(asked.cpu().numpy(), test_labels.cpu().numpy()))

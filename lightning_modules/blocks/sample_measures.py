"""How near generated samples are to real ones: distances of distributions, and coverage of modes.

| name | what it tells | source |
|---|---|---|
| `frechet_distance` | between the Gaussians of the same mean and covariance | Dowson and Landau 1982 |
| `manifold_precision` | share of the generated samples that lie where real ones do | Kynkaanniemi et al. 2019, eq. 2 |
| `manifold_recall` | share of the real samples that lie where generated ones do | the same |
| `mode_counts` | how many samples each of some known places got | |

Features are what a network makes of examples, or the examples themselves: (N, F) tensors. The
Frechet distance in the features of one network can not be compared with that of another; "FID" is
the name of the one in Inception-v3's. N samples, F features, M modes.
"""  # noqa: E501 (a table's row is one line)

from __future__ import annotations

import torch
from torch import Tensor

from .checks import require

NEIGHBOURS = 3  # Kynkaanniemi et al. 2019, section 3
_ROWS = 1000  # of a distance matrix at a time: 40 MB against 10,000 others


def frechet_distance(
    mean: Tensor, covariance: Tensor, mean_2: Tensor, covariance_2: Tensor
) -> float:
    """Squared Frechet (2-Wasserstein) distance of two Gaussians, in float64.

    d^2 = |m - m'|^2 + tr(C) + tr(C') - 2 tr((C C')^(1/2)). C C' is not symmetric, but has the
    eigenvalues of C^(1/2) C' C^(1/2), which is: the trace of its root is the sum of their roots.

    Args:
        mean: m, (F,).
        covariance: C, (F, F), symmetric without negative eigenvalues; it may be singular.
        mean_2: m', (F,).
        covariance_2: C', likewise.

    Returns:
        d^2, in squared units of the features, at least 0.
    """
    m, c, m_2, c_2 = (t.double() for t in (mean, covariance, mean_2, covariance_2))
    values, vectors = torch.linalg.eigh(c)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T  # (F, F), C^(1/2)
    product = torch.linalg.eigvalsh(root @ c_2 @ root)
    overlap = product.clamp(min=0).sqrt().sum()  # rounding may leave an eigenvalue below 0
    squared = (m - m_2).square().sum() + c.trace() + c_2.trace() - 2 * overlap
    return max(0.0, squared.item())


def gaussian_of(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (F,) and unbiased covariance (F, F) of features (N, F), in float64.

    Raises:
        ValueError: If there are fewer than two samples.
    """
    require(len(features) >= 2, "features", "of at least 2 samples", len(features))
    features = features.double()
    return features.mean(0), torch.cov(features.T).view(features.shape[1], -1)


def manifold_precision(real: Tensor, fake: Tensor, neighbours: int = NEIGHBOURS) -> float:
    """Share of the generated samples that are within reach of a real one.

    A real sample reaches as far as its k-th nearest real neighbour: the balls of all real samples
    together stand for the manifold of the data.

    Args:
        real: Features of real samples, (N, F).
        fake: Features of generated samples, (N', F).
        neighbours: k, at least 1 and below N.

    Raises:
        ValueError: If there are too few real samples.
    """
    require(0 < neighbours < len(real), "neighbours", f"in [1, {len(real) - 1}]", neighbours)
    radius = torch.cat(
        # The nearest sample is itself.
        [
            torch.cdist(rows, real).kthvalue(neighbours + 1, dim=1).values
            for rows in real.split(_ROWS)
        ]
    )  # (N,)
    inside = sum((torch.cdist(rows, real) <= radius).any(1).sum() for rows in fake.split(_ROWS))
    return float(inside) / len(fake)


def manifold_recall(real: Tensor, fake: Tensor, neighbours: int = NEIGHBOURS) -> float:
    """Share of the real samples that are within reach of a generated one; see the precision."""
    return manifold_precision(fake, real, neighbours)


def mode_counts(samples: Tensor, centres: Tensor, reach: float) -> Tensor:
    """How many samples lie within reach of each mode, each counted at its nearest one.

    Args:
        samples: Points, (N, F).
        centres: Where the modes are, (M, F).
        reach: Largest distance that counts.

    Returns:
        int64, (M,).
    """
    distance, nearest = torch.cdist(samples, centres).min(1)  # (N,), (N,)
    return torch.bincount(nearest[distance <= reach], minlength=len(centres))

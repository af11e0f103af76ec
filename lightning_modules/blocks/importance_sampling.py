"""How likely a picture is under a model with hidden codes, estimated with codes from its encoder.

Burda, Grosse and Salakhutdinov 2016, "Importance Weighted Autoencoders", section 3 and equation 8:
L_k = E[log 1/k sum_i w_i] with w_i = p(x, z_i) / q(z_i | x) and codes z_i drawn from q. L_1 is the
ELBO; L_k grows with k towards log p(x) and is never above it. k samples, B batch, Z code.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .checks import require
from .gaussian import reparameterize


def log_mean_exp(values: Tensor) -> Tensor:
    """The logarithm of the mean of exp(values) over the first axis, (k, ...) to (...)."""
    return values.logsumexp(0) - math.log(len(values))


def log_weights(
    mean: Tensor, log_variance: Tensor, noise: Tensor, log_likelihood: Callable[[Tensor], Tensor]
) -> Tensor:
    """The logarithms of w = p(x | z) p(z) / q(z | x), codes drawn from q, the prior p(z) = N(0, 1).

    Args:
        mean: Means of q, (B, Z).
        log_variance: Logarithms of its variances, (B, Z).
        noise: Draws from N(0, 1), (k, B, Z).
        log_likelihood: Maps codes (k, B, Z) to log p(x | z), (k, B), in nats.

    Returns:
        (k, B), in nats. Their mean over k estimates the ELBO.
    """
    code = reparameterize(mean, log_variance, noise)  # (k, B, Z)
    # The normalising constants of p(z) and q(z | x) are equal but for the variance.
    prior_to_posterior = 0.5 * (noise.square() - code.square() + log_variance).sum(-1)  # (k, B)
    return log_likelihood(code) + prior_to_posterior


def importance_weighted_bound(
    mean: Tensor,
    log_variance: Tensor,
    log_likelihood: Callable[[Tensor], Tensor],
    num_samples: int,
    *,
    chunk_size: int = 8,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Estimate log p(x) of each picture with L_k, k codes a picture.

    Args:
        mean: Means of q, (B, Z).
        log_variance: Logarithms of its variances, (B, Z).
        log_likelihood: Maps codes (n, B, Z) to log p(x | z), (n, B), in nats.
        num_samples: k, at least 1.
        chunk_size: Codes a picture that are looked at together: what memory allows.
        generator: Where the noise comes from; default: torch's own.

    Returns:
        (B,), in nats.

    Raises:
        ValueError: If `num_samples` or `chunk_size` is below 1.
    """
    require(num_samples >= 1, "num_samples", "at least 1", num_samples)
    require(chunk_size >= 1, "chunk_size", "at least 1", chunk_size)
    chunks = []
    for start in range(0, num_samples, chunk_size):
        shape = (min(chunk_size, num_samples - start), *mean.shape)
        noise = torch.randn(shape, generator=generator, dtype=mean.dtype, device=mean.device)
        chunks.append(log_weights(mean, log_variance, noise, log_likelihood))
    return log_mean_exp(torch.cat(chunks))

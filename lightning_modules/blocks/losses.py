"""Losses as pure functions: of scores (B, K) and labels (B,), and of reconstructions (B, D).

B batch, K classes, D numbers in an example. Each is the mean over the batch of the deck's per-image
loss L_i (slides "Loss Function" and "Softmax classifier"; "Max. Likelihood" is of the recap). Two
classes need no losses of their own: with the scores (-s/2, s/2) of one hyperplane s = w.x + b and
y = -1 or 1, cross entropy is the logistic loss log(1 + e^(-ys)), the hinge is max(0, 1 - ys), and
the squared error is ((s - y)^2 + 1) / 2.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

LOSSES = ("softmax", "svm", "squared", "absolute")


def class_probabilities(labels: Tensor, scores: Tensor) -> Tensor:
    """One-hot targets (B, K) of classes (B,); probabilities (B, K), as of mixup, stay."""
    target = labels if labels.ndim == 2 else F.one_hot(labels, scores.shape[1])
    return target.to(scores.dtype)


def cross_entropy(scores: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The softmax classifier's loss, L_i = -log(e^(s_y) / sum_j e^(s_j)), in nats.

    Args:
        scores: Unnormalised scores s, (B, K).
        labels: Correct classes y, int64 (B,), or their probabilities (B, K).
        label_smoothing: Share of the target spread evenly over all classes (Szegedy et al. 2016,
            "Rethinking the Inception Architecture", section 7).

    Returns:
        The mean over the batch, a scalar.
    """
    return F.cross_entropy(scores, labels, label_smoothing=label_smoothing)


def multiclass_hinge_loss(scores: Tensor, labels: Tensor, margin: float = 1.0) -> Tensor:
    """The multiclass SVM loss, L_i = sum over j != y of max(0, s_j - s_y + margin).

    Args:
        scores: Scores s, (B, K).
        labels: Correct classes y, int64 (B,), or their probabilities (B, K), over which the loss
            is then averaged.
        margin: By how much the correct score must win; the deck's is 1.

    Returns:
        The mean over the batch, a scalar.
    """
    if labels.ndim == 2:
        violation = (scores[:, None] - scores[:, :, None] + margin).clamp(min=0)  # (B, y, j)
        return (labels * (violation.sum(2) - margin)).sum(1).mean()  # without j = y
    # torch's version is the mean over the classes too; the deck sums over them.
    return F.multi_margin_loss(scores, labels, margin=margin) * scores.shape[1]


def squared_error(scores: Tensor, labels: Tensor) -> Tensor:
    """Squared distance to the one-hot target, L_i = sum_k (s_k - [k = y])^2.

    Args:
        scores: Scores s, (B, K).
        labels: Correct classes y, int64 (B,), or the target itself (B, K).

    Returns:
        The mean over the batch, a scalar.
    """
    target = class_probabilities(labels, scores)  # (B, K)
    return (scores - target).square().sum(1).mean()


def absolute_error(scores: Tensor, labels: Tensor) -> Tensor:
    """L1 distance to the one-hot target, L_i = sum_k |s_k - [k = y]|.

    Args:
        scores: Scores s, (B, K).
        labels: Correct classes y, int64 (B,), or the target itself (B, K).

    Returns:
        The mean over the batch, a scalar.
    """
    target = class_probabilities(labels, scores)  # (B, K)
    return (scores - target).abs().sum(1).mean()


def kl_divergence(target: Tensor, scores: Tensor) -> Tensor:
    """KL(Q || P) = sum_k q_k log(q_k / p_k), in nats, where P is the softmax of the scores.

    The deck compares P with the correct probabilities Q so. For a one-hot Q it is the cross
    entropy, since Q has no entropy.

    Args:
        target: Probabilities Q, (B, K).
        scores: Unnormalised scores of P, (B, K).

    Returns:
        The mean over the batch, a scalar.
    """
    return F.kl_div(F.log_softmax(scores, 1), target, reduction="batchmean")


def bernoulli_nll(logits: Tensor, target: Tensor) -> Tensor:
    """Maximum likelihood of independent coins: L_i = -sum_d log p(x_d), in nats.

    p(x) = q^x (1 - q)^(1 - x) with q the logistic function of the logit; x between 0 and 1 is a
    coin's share of heads. This is the binary cross entropy, summed over an example.

    Args:
        logits: (B, ...).
        target: x, in [0, 1], of the same shape.

    Returns:
        The mean over the batch, a scalar.
    """
    total = F.binary_cross_entropy_with_logits(logits, target, reduction="sum")
    return total / len(logits)


def gaussian_nll(mean: Tensor, target: Tensor, log_std: Tensor | float = 0.0) -> Tensor:
    """Maximum likelihood of independent Gaussians: L_i = -sum_d log N(x_d | mean_d, std_d^2).

    Args:
        mean: (B, ...).
        target: x, of the same shape.
        log_std: Logarithm of the deviations, a number or a tensor that goes with `mean`.

    Returns:
        The mean over the batch, a scalar, in nats; densities may exceed 1, so it may be negative.
    """
    log_std = mean.new_zeros(mean.shape) + log_std
    deviation = (target - mean) * (-log_std).exp()
    return (0.5 * deviation.square() + log_std + 0.5 * math.log(2 * math.pi)).sum() / len(mean)


def reconstruction_error(output: Tensor, target: Tensor) -> Tensor:
    """Squared distance, L_i = sum_d (o_d - x_d)^2: Gaussians with a variance of 1/2.

    Args:
        output: o, (B, ...).
        target: x, of the same shape.

    Returns:
        The mean over the batch, a scalar.
    """
    return (output - target).square().sum() / len(output)

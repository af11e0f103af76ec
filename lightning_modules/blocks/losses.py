"""Losses of classifiers, as pure functions of scores (B, K) and labels (B,).

B batch, K classes. Each is the mean over the batch of the deck's per-image loss L_i (slides "Loss
Function" and "Softmax classifier"). Two classes need no losses of their own: with the scores
(-s/2, s/2) of one hyperplane s = w.x + b and y = -1 or 1, cross entropy is the logistic loss
log(1 + e^(-ys)), the hinge is max(0, 1 - ys), and the squared error is ((s - y)^2 + 1) / 2.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

LOSSES = ("softmax", "svm", "squared")


def cross_entropy(scores: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The softmax classifier's loss, L_i = -log(e^(s_y) / sum_j e^(s_j)), in nats.

    Args:
        scores: Unnormalised scores s, (B, K).
        labels: Correct classes y, int64 (B,).
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
        labels: Correct classes y, int64 (B,).
        margin: By how much the correct score must win; the deck's is 1.

    Returns:
        The mean over the batch, a scalar.
    """
    # torch's version is the mean over the classes too; the deck sums over them.
    return F.multi_margin_loss(scores, labels, margin=margin) * scores.shape[1]


def squared_error(scores: Tensor, labels: Tensor) -> Tensor:
    """Squared distance to the one-hot target, L_i = sum_k (s_k - [k = y])^2.

    Args:
        scores: Scores s, (B, K).
        labels: Correct classes y, int64 (B,).

    Returns:
        The mean over the batch, a scalar.
    """
    target = F.one_hot(labels, scores.shape[1]).to(scores.dtype)  # (B, K)
    return (scores - target).square().sum(1).mean()


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

from __future__ import annotations

import numpy as np
import pytest
import torch
from paceline.lightning_modules.blocks.losses import (
    absolute_error,
    bernoulli_nll,
    cross_entropy,
    gaussian_nll,
    kl_divergence,
    multiclass_hinge_loss,
    reconstruction_error,
    squared_error,
)
from torch.nn import functional as F

CAT, CAR, FROG = 0, 1, 2

# Deck, slide "Loss Function": an image a row.
SLIDE = torch.tensor([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]], dtype=torch.float64)
SLIDE_LABELS = torch.tensor([CAT, CAR, FROG])

# Deck, slide "Training Objective": scores of ten classes for a cat, a car and a frog.
TABLE = torch.tensor(
    [
        [-3.45, -8.87, 0.09, 2.9, 4.48, 8.02, 3.78, 1.06, -0.36, -0.72],
        [-0.51, 6.04, 5.31, -4.22, -4.19, 3.58, 4.49, -4.37, -2.09, -2.93],
        [3.42, 4.64, 2.65, 5.1, 2.64, 5.55, -4.34, -1.5, -4.79, 6.14],
    ],
    dtype=torch.float64,
)
TABLE_LABELS = torch.tensor([3, 1, 6])  # cat, automobile, frog


def each(loss, scores, labels) -> list[float]:
    """The loss of every image alone."""
    return [loss(scores[i : i + 1], labels[i : i + 1]).item() for i in range(len(labels))]


def test_hinge_loss_gives_the_figures_of_the_slide():
    assert each(multiclass_hinge_loss, SLIDE, SLIDE_LABELS) == pytest.approx([2.9, 0, 12.9])
    assert multiclass_hinge_loss(SLIDE, SLIDE_LABELS).item() == pytest.approx(5.2667, abs=5e-5)


def test_losses_of_the_ten_class_table():
    hinge = [10.58, 0.27, 71.91]
    assert each(multiclass_hinge_loss, TABLE, TABLE_LABELS) == pytest.approx(hinge, abs=1e-9)
    entropy = [5.1698, 0.5775, 11.2945]
    assert each(cross_entropy, TABLE, TABLE_LABELS) == pytest.approx(entropy, abs=5e-5)


def test_softmax_and_cross_entropy_of_the_slide():
    probabilities = SLIDE[0].softmax(0)
    expected = torch.tensor([0.13, 0.87, 0.00], dtype=torch.float64)
    torch.testing.assert_close(probabilities, expected, rtol=0, atol=5e-3)
    loss = cross_entropy(SLIDE[:1], SLIDE_LABELS[:1])
    assert loss.item() == pytest.approx(2.0404, abs=5e-5)


def test_smoothed_entropy_is_that_of_a_target_spread_over_all_classes():
    target = 0.8 * F.one_hot(TABLE_LABELS, 10).double() + 0.2 / 10
    expected = -(target * TABLE.log_softmax(1)).sum(1).mean().item()
    found = cross_entropy(TABLE, TABLE_LABELS, label_smoothing=0.2).item()
    assert found == pytest.approx(expected, abs=1e-12)


def test_divergence_from_a_one_hot_target_is_the_cross_entropy():
    target = F.one_hot(TABLE_LABELS, 10).double()
    expected = cross_entropy(TABLE, TABLE_LABELS).item()
    assert kl_divergence(target, TABLE).item() == pytest.approx(expected, abs=1e-12)


def test_divergence_of_a_distribution_from_itself_is_zero():
    assert kl_divergence(TABLE.softmax(1), TABLE).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("margin", [0.5, 1.0, 3.0])
def test_hinge_loss_equals_the_sum_written_out(margin):
    scores, total = TABLE.numpy(), 0.0
    for row, label in zip(scores, TABLE_LABELS.tolist(), strict=True):
        others = np.delete(row, label)
        total += np.maximum(0, others - row[label] + margin).sum()
    loss = multiclass_hinge_loss(TABLE, TABLE_LABELS, margin)
    assert loss.item() == pytest.approx(total / 3, abs=1e-12)


def test_squared_error_equals_the_sum_written_out():
    target = np.eye(10)[TABLE_LABELS.numpy()]
    expected = ((TABLE.numpy() - target) ** 2).sum(1).mean()
    assert squared_error(TABLE, TABLE_LABELS).item() == pytest.approx(expected, abs=1e-10)


def test_absolute_error_equals_the_sum_written_out():
    target = np.eye(10)[TABLE_LABELS.numpy()]
    expected = np.abs(TABLE.numpy() - target).sum(1).mean()
    assert absolute_error(TABLE, TABLE_LABELS).item() == pytest.approx(expected, abs=1e-10)


def test_divergence_from_label_distributions_equals_the_sum_written_out():
    target = TABLE.flip(0).softmax(1).numpy()
    p = np.exp(TABLE.numpy()) / np.exp(TABLE.numpy()).sum(1, keepdims=True)
    expected = (target * np.log(target / p)).sum(1).mean()
    found = kl_divergence(torch.from_numpy(target), TABLE).item()
    assert found == pytest.approx(expected, abs=1e-10)


def test_likelihood_of_coins_equals_the_product_written_out():
    x = np.random.default_rng(0).integers(0, 2, (3, 10))
    q = 1 / (1 + np.exp(-TABLE.numpy()))
    expected = -np.log(np.where(x == 1, q, 1 - q).prod(1)).mean()
    target = torch.from_numpy(x).double()
    assert bernoulli_nll(TABLE, target).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("std", [0.5, 1.0, np.linspace(0.1, 3, 10)])
def test_likelihood_of_gaussians_equals_their_densities(std):
    x = np.random.default_rng(0).normal(size=(3, 10))
    z = (x - TABLE.numpy()) / std
    density = np.exp(-(z**2) / 2) / (std * np.sqrt(2 * np.pi))
    expected = -np.log(density).sum(1).mean()
    log_std = torch.tensor(np.log(std))
    found = gaussian_nll(TABLE, torch.from_numpy(x), log_std).item()
    assert found == pytest.approx(expected, rel=1e-10)


def test_reconstruction_error_is_the_likelihood_of_gaussians_with_a_variance_of_a_half():
    x = torch.zeros_like(TABLE)
    constant = 10 * np.log(np.pi) / 2
    expected = gaussian_nll(TABLE, x, np.log(0.5) / 2).item() - constant
    assert reconstruction_error(TABLE, x).item() == pytest.approx(expected, abs=1e-9)
    assert expected == pytest.approx((TABLE.numpy() ** 2).sum(1).mean(), abs=1e-9)


def test_two_opposite_scores_make_each_loss_its_binary_form():
    s = torch.randn(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2
    labels = torch.arange(50) % 2
    y = 2.0 * labels - 1  # -1 or 1
    scores = torch.stack((-s / 2, s / 2), 1)
    logistic = torch.log1p(torch.exp(-y * s)).mean()
    torch.testing.assert_close(cross_entropy(scores, labels), logistic, rtol=0, atol=1e-12)
    hinge = (1 - y * s).clamp(min=0).mean()
    torch.testing.assert_close(multiclass_hinge_loss(scores, labels), hinge, rtol=0, atol=1e-12)
    squared = (((s - y) ** 2 + 1) / 2).mean()
    torch.testing.assert_close(squared_error(scores, labels), squared, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "loss", [cross_entropy, multiclass_hinge_loss, squared_error, absolute_error]
)
def test_gradient_agrees_with_central_differences(loss):
    assert torch.autograd.gradcheck(lambda s: loss(s, TABLE_LABELS), TABLE.clone().requires_grad_())

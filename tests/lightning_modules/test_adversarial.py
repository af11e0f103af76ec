"""Adversarial losses and measures of samples against formulas written out in NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from paceline.lightning_modules.blocks.adversarial import (
    ADVERSARIAL_LOSSES,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
)
from paceline.lightning_modules.blocks.sample_measures import (
    frechet_distance,
    gaussian_of,
    manifold_precision,
    manifold_recall,
    mode_counts,
)
from paceline.lightning_modules.rules.gan_evaluation import mode_measures, raw_features
from torch import nn

RNG = np.random.default_rng(0)
REAL, FAKE = RNG.normal(1, 2, 7), RNG.normal(-1, 2, 5)


def sigma(s):
    return 1 / (1 + np.exp(-s))


GAMES = {
    "minimax": (
        -np.log(sigma(REAL)).mean() - np.log(1 - sigma(FAKE)).mean(),
        np.log(1 - sigma(FAKE)).mean(),
    ),
    "non_saturating": (
        -np.log(sigma(REAL)).mean() - np.log(1 - sigma(FAKE)).mean(),
        -np.log(sigma(FAKE)).mean(),
    ),
    "wgan_gp": (FAKE.mean() - REAL.mean(), -FAKE.mean()),
    "hinge": (
        np.maximum(0, 1 - REAL).mean() + np.maximum(0, 1 + FAKE).mean(),
        -FAKE.mean(),
    ),
}


@pytest.mark.parametrize("loss", ADVERSARIAL_LOSSES)
def test_losses_agree_with_their_formulas(loss):
    real, fake = torch.from_numpy(REAL), torch.from_numpy(FAKE)
    judged, passed = GAMES[loss]
    assert discriminator_loss(real, fake, loss).item() == pytest.approx(judged, abs=1e-12)
    assert generator_loss(fake, loss).item() == pytest.approx(passed, abs=1e-12)


@pytest.mark.parametrize("loss", ADVERSARIAL_LOSSES)
def test_losses_of_large_scores_are_finite_and_so_are_their_gradients(loss):
    scores = torch.tensor([-1e4, 1e4], requires_grad=True)
    for value in (discriminator_loss(scores, scores, loss), generator_loss(scores, loss)):
        (slope,) = torch.autograd.grad(value, scores)
        assert value.isfinite()
        assert slope.isfinite().all()


def test_minimax_teaches_nothing_where_the_discriminator_wins_and_non_saturating_does():
    lost = torch.full((4,), -20.0, dtype=torch.float64, requires_grad=True)
    slopes = {
        loss: torch.autograd.grad(generator_loss(lost, loss), lost)[0].abs().sum().item()
        for loss in ("minimax", "non_saturating")
    }
    assert slopes["minimax"] < 1e-8
    assert slopes["non_saturating"] == pytest.approx(1, abs=1e-6)


def test_an_unknown_game_is_refused():
    for call in (lambda: discriminator_loss(torch.ones(1), torch.ones(1), "wgan"),):
        with pytest.raises(ValueError, match="`loss` must be one of non_saturating, minimax"):
            call()


def test_penalty_of_a_linear_critic_is_that_of_its_weight():
    weight = torch.tensor([3.0, 4.0], dtype=torch.float64)  # slope 5 everywhere
    real, fake = torch.randn(2, 6, 2, dtype=torch.float64)
    found = gradient_penalty(lambda x: x @ weight, real, fake, torch.rand(6).double())
    assert found.item() == pytest.approx((5 - 1) ** 2, abs=1e-12)


def test_penalty_looks_at_points_between_real_and_generated_examples():
    real, fake = torch.ones(3, 1, 2, 2).double(), -torch.ones(3, 1, 2, 2).double()
    seen = []

    def critic(x):
        seen.append(x.detach())
        return x.flatten(1).square().sum(1)

    share = torch.tensor([0.0, 0.25, 1.0]).double()
    found = gradient_penalty(critic, real, fake, share)
    expected = torch.tensor([-1.0, -0.5, 1.0]).double()
    torch.testing.assert_close(seen[0][:, 0, 0, 0], expected, rtol=0, atol=0)
    slopes = 2 * np.sqrt(4) * np.abs(expected.numpy())  # gradient 2x of four equal numbers
    assert found.item() == pytest.approx(((slopes - 1) ** 2).mean(), abs=1e-12)


def test_gradient_of_the_penalty_agrees_with_central_differences():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    real, fake = torch.randn(2, 5, 3, dtype=torch.float64)
    share = torch.rand(5).double()

    def penalty():
        return gradient_penalty(lambda x: critic(x).squeeze(1), real, fake, share)

    weights = [p for p in critic.parameters() if p.ndim == 2]
    found = torch.autograd.grad(penalty(), weights)
    for weight, slope in zip(weights, found, strict=True):
        for index in np.ndindex(*weight.shape):
            values = []
            for step in (1e-6, -1e-6):
                with torch.no_grad():
                    weight[index] += step
                values.append(penalty().item())
                with torch.no_grad():
                    weight[index] -= step
            assert slope[index].item() == pytest.approx(
                (values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-8
            )


def test_frechet_distance_of_commuting_covariances_has_a_closed_form():
    turn, _ = np.linalg.qr(RNG.normal(size=(5, 5)))
    a, b = RNG.uniform(0, 3, 5), RNG.uniform(0, 3, 5)
    b[0] = 0  # one covariance is singular
    mean, mean_2 = RNG.normal(size=(2, 5))
    covariances = [torch.from_numpy(turn @ np.diag(d) @ turn.T) for d in (a, b)]
    expected = ((mean - mean_2) ** 2).sum() + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    found = frechet_distance(
        torch.from_numpy(mean), covariances[0], torch.from_numpy(mean_2), covariances[1]
    )
    assert found == pytest.approx(expected, abs=1e-7)  # a root of rounding


def test_frechet_distance_of_any_covariances_agrees_with_scipys_matrix_root():
    x, y = RNG.normal(size=(40, 6)) @ RNG.normal(size=(6, 6)), RNG.normal(size=(30, 6))
    c, c_2 = np.cov(x.T), np.cov(y.T)
    root = scipy.linalg.sqrtm(c @ c_2)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(c + c_2 - 2 * root.real)
    found = frechet_distance(*gaussian_of(torch.from_numpy(x)), *gaussian_of(torch.from_numpy(y)))
    assert found == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_a_gaussian_to_itself_is_nought():
    gaussian = gaussian_of(torch.from_numpy(RNG.normal(size=(4, 9))))  # of rank 3
    assert frechet_distance(*gaussian, *gaussian) == pytest.approx(0, abs=1e-6)


def test_precision_and_recall_agree_with_their_definition_written_out():
    real, fake = RNG.normal(size=(60, 3)), RNG.normal(0.7, 1.2, size=(50, 3))

    def covered(balls, points, k):
        distance = np.linalg.norm(balls[:, None] - balls[None], axis=2)
        radius = np.sort(distance, axis=1)[:, k]  # the first is the ball itself
        return np.mean([(np.linalg.norm(balls - p, axis=1) <= radius).any() for p in points])

    pair = torch.from_numpy(real), torch.from_numpy(fake)
    assert manifold_precision(*pair) == pytest.approx(covered(real, fake, 3))
    assert manifold_recall(*pair) == pytest.approx(covered(fake, real, 3))


def test_samples_of_one_mode_are_precise_and_recall_little():
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0]]).repeat(100, 1)
    torch.manual_seed(0)
    real = centres + 0.1 * torch.randn(200, 2)
    fake = 0.1 * torch.randn(200, 2)
    assert manifold_precision(real, fake) > 0.8
    assert 0.35 < manifold_recall(real, fake) <= 0.5


def test_modes_are_counted_within_reach_of_the_nearest_one():
    centres = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 9.0]])
    points = torch.tensor([[0.1, 0.0], [0.9, 0.0], [1.0, 0.2], [1.0, 0.4], [5.0, 5.0]])
    assert mode_counts(points, centres, 0.3).tolist() == [1, 2, 0]


def test_mode_measures_tell_collapse_from_cover_and_from_scatter():
    centres = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    even = mode_measures(centres.repeat(25, 1), centres, 0.1)
    assert even == {"modes": 4, "high_quality": 1, "mode_distance": 0}
    collapsed = mode_measures(centres[:1].repeat(100, 1), centres, 0.1)
    assert collapsed == {"modes": 1, "high_quality": 1, "mode_distance": 0.75}
    scattered = mode_measures(torch.full((100, 2), 9.0), centres, 0.1)
    assert scattered == {"modes": 0, "high_quality": 0, "mode_distance": 1}


def test_a_few_stray_points_do_not_cover_a_mode():
    centres = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    points = torch.cat((centres[:1].repeat(96, 1), centres[1:].repeat(4, 1)))  # a fair share is 50
    assert mode_measures(points, centres, 0.1)["modes"] == 1


def test_raw_features_of_pictures_are_means_of_their_parts():
    picture = torch.arange(16.0 * 16).view(1, 1, 16, 16)
    blocks = picture.numpy().reshape(8, 2, 8, 2).mean((1, 3)).reshape(1, 64)
    np.testing.assert_allclose(raw_features(picture).numpy(), blocks, rtol=1e-6)
    assert raw_features(torch.zeros(3, 40)).shape == (3, 40)

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from paceline.lightning_modules.blocks.gaussian import (
    draw_with_kl,
    gaussian_kl,
    gaussian_log_density,
    reparameterize,
    standard_normal_quantiles,
)
from paceline.lightning_modules.blocks.importance_sampling import (
    importance_weighted_bound,
    log_mean_exp,
    log_weights,
)
from torch.distributions import MultivariateNormal, Normal, kl_divergence


def codes(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mean, log_variance = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    return mean, log_variance


def test_kl_agrees_with_torch_and_with_numpy():
    mean, log_variance = codes(5, 3)
    found = gaussian_kl(mean, log_variance)
    q = Normal(mean, (0.5 * log_variance).exp())
    expected = kl_divergence(q, Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    m, v = mean.numpy(), np.exp(log_variance.numpy())
    np.testing.assert_allclose(found, 0.5 * (m**2 + v - np.log(v) - 1).sum(1), rtol=1e-12)


def test_kl_is_zero_for_the_unit_gaussian_alone():
    zero = torch.zeros(2, 4)
    assert gaussian_kl(zero, zero).tolist() == [0, 0]
    mean, log_variance = codes(50, 4)
    assert (gaussian_kl(mean, log_variance) > 0).all()


def test_drawn_codes_have_the_mean_and_variance_that_were_asked_for():
    mean, log_variance = torch.tensor([1.0, -2.0]), torch.tensor([0.0, 2.0])
    noise = torch.randn(100_000, 2, generator=torch.Generator().manual_seed(0))
    drawn = reparameterize(mean, log_variance, noise)
    # Five standard errors at the most: a false alarm once in a million seeds.
    torch.testing.assert_close(drawn.mean(0), mean, rtol=0, atol=0.05)
    torch.testing.assert_close(drawn.var(0), log_variance.exp(), rtol=0.025, atol=0)


def test_gradients_through_a_draw_agree_with_central_differences():
    mean, log_variance = codes(2, 3)
    noise, step = torch.randn(7, 2, 3, dtype=torch.float64), 1e-6

    def value(parameters: torch.Tensor) -> torch.Tensor:
        return reparameterize(parameters[0], parameters[1], noise).sin().sum()

    parameters = torch.stack((mean, log_variance)).requires_grad_()
    (gradient,) = torch.autograd.grad(value(parameters), parameters)
    for index in np.ndindex(*parameters.shape):
        nudge = torch.zeros_like(parameters)
        nudge[index] = step
        slope = (value(parameters + nudge) - value(parameters - nudge)) / (2 * step)
        assert gradient[index].item() == pytest.approx(slope.item(), abs=1e-7)


def test_draw_and_kl_in_one_agree_with_their_formulas_and_with_central_differences():
    (mean, log_variance), noise = codes(5, 3), torch.randn(5, 3, dtype=torch.float64)
    code, kl = draw_with_kl(mean, log_variance, noise)
    expected = reparameterize(mean, log_variance, noise)
    torch.testing.assert_close(code, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(kl, gaussian_kl(mean, log_variance).mean(), rtol=1e-12, atol=0)
    inputs = mean.requires_grad_(), log_variance.requires_grad_(), noise
    assert torch.autograd.gradcheck(draw_with_kl, inputs, atol=1e-7)
    coarse = (mean.detach().bfloat16(), log_variance.detach().bfloat16())
    expected = gaussian_kl(*(numbers.float() for numbers in coarse)).mean()
    torch.testing.assert_close(draw_with_kl(*coarse, noise)[1], expected, rtol=1e-6, atol=0)


def test_log_density_agrees_with_torch():
    mean, log_variance = codes(4, 3)
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    expected = Normal(mean, (0.5 * log_variance).exp()).log_prob(x).sum(-1)
    found = gaussian_log_density(x, mean, log_variance)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    one = gaussian_log_density(x, mean, 2 * math.log(0.3))
    torch.testing.assert_close(one, Normal(mean, 0.3).log_prob(x).sum(-1), rtol=1e-12, atol=0)


def test_quantiles_cut_the_unit_gaussian_into_equal_shares():
    ticks = standard_normal_quantiles(9)
    shares = Normal(0.0, 1.0).cdf(ticks)
    torch.testing.assert_close(shares.diff(), torch.full((8,), 1 / 9), rtol=0, atol=1e-6)
    assert ticks[4].abs() < 1e-6
    torch.testing.assert_close(ticks, -ticks.flip(0), rtol=0, atol=1e-6)


class LinearGaussian:
    """x = W z + b + s noise with z ~ N(0, 1): log p(x) and the codes of x are known.

    The columns of W are orthogonal, so the true distribution of the code has independent numbers.
    """

    def __init__(self):
        generator = torch.Generator().manual_seed(1)
        square = torch.randn(6, 6, generator=generator, dtype=torch.float64)
        q, _ = torch.linalg.qr(square)
        self.w = q[:, :2] * torch.tensor([2.0, 0.7])  # (D, Z)
        self.b = torch.randn(6, generator=generator, dtype=torch.float64)
        self.s = 0.5
        code = torch.randn(4, 2, generator=generator, dtype=torch.float64)
        noise = torch.randn(4, 6, generator=generator, dtype=torch.float64)
        self.x = code @ self.w.T + self.b + self.s * noise  # (B, D)

    def log_likelihood(self, code: torch.Tensor) -> torch.Tensor:
        return Normal(code @ self.w.T + self.b, self.s).log_prob(self.x).sum(-1)

    def evidence(self) -> torch.Tensor:
        covariance = self.w @ self.w.T + self.s**2 * torch.eye(6, dtype=torch.float64)
        return MultivariateNormal(self.b, covariance).log_prob(self.x)

    def posterior(self) -> tuple[torch.Tensor, torch.Tensor]:
        precision = 1 + (self.w**2).sum(0) / self.s**2  # (Z,), W^T W being diagonal
        mean = (self.x - self.b) @ self.w / self.s**2 / precision
        return mean, (-precision.log()).expand_as(mean)


def test_one_code_from_the_true_posterior_tells_the_evidence_exactly():
    model = LinearGaussian()
    mean, log_variance = model.posterior()
    found = importance_weighted_bound(mean, log_variance, model.log_likelihood, 1)
    torch.testing.assert_close(found, model.evidence(), rtol=1e-10, atol=0)


def test_bound_grows_from_the_elbo_to_the_known_evidence():
    model = LinearGaussian()
    mean, log_variance = model.posterior()
    mean, log_variance = mean + 0.2, log_variance + 0.8  # an encoder that is wrong
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(20_000, 4, 2, generator=generator, dtype=torch.float64)
    terms = log_weights(mean, log_variance, noise, model.log_likelihood)
    q = Normal(mean, (0.5 * log_variance).exp())
    # ELBO = E log p(x, z) + entropy, and E of the squares in it is known: no sampling.
    w, variance = model.w, log_variance.exp()
    spread = (variance[:, None] * w**2).sum((1, 2)) / (2 * model.s**2)
    elbo = model.log_likelihood(mean) - spread - kl_divergence(q, Normal(0.0, 1.0)).sum(-1)
    error = terms.std(0) / 20_000**0.5
    assert ((terms.mean(0) - elbo).abs() < 6 * error).all()  # false alarm: once in 10^8 seeds
    of_ten = log_mean_exp(terms.view(10, 2000, 4)).mean(0)
    assert (of_ten > terms.mean(0)).all()  # for any numbers: the logarithm is concave
    assert (of_ten < model.evidence() + 0.05).all()
    many = importance_weighted_bound(
        mean, log_variance, model.log_likelihood, 50_000, chunk_size=7000, generator=generator
    )
    torch.testing.assert_close(many, model.evidence(), rtol=0, atol=0.02)
    assert (model.evidence() - elbo > 0.2).all()


def test_chunks_do_not_change_what_is_estimated():
    model = LinearGaussian()
    mean, log_variance = codes(4, 2)
    found = [
        importance_weighted_bound(
            mean,
            log_variance,
            model.log_likelihood,
            64,
            chunk_size=size,
            generator=torch.Generator().manual_seed(0),
        )
        for size in (64, 8)  # blocks of 16 numbers and more are drawn alike
    ]
    torch.testing.assert_close(*found, rtol=1e-12, atol=0)


def test_mean_of_huge_weights_does_not_overflow():
    values = torch.tensor([[1000.0], [1000.0 + math.log(3)]])
    assert log_mean_exp(values).item() == pytest.approx(1000 + math.log(2))


@pytest.mark.parametrize("wrong", [{"num_samples": 0}, {"num_samples": 3, "chunk_size": 0}])
def test_no_codes_are_refused(wrong):
    mean, log_variance = codes(1, 2)
    with pytest.raises(ValueError, match="must be at least 1, but is 0"):
        importance_weighted_bound(mean, log_variance, lambda code: code.sum(-1), **wrong)

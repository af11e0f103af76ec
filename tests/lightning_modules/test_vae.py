from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from paceline.lightning_modules.blocks.layers import LayerStyle
from paceline.lightning_modules.data.digits import Digits
from paceline.lightning_modules.networks.vae_networks import VAENetwork
from paceline.lightning_modules.rules.vae_objective import (
    LatentWeight,
    PixelLikelihood,
    coin_nll,
    thrown_coins,
)
from paceline.lightning_modules.steps.epoch_means import EpochMeans
from paceline.lightning_modules.vae import VAE
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch.distributions import Bernoulli, Normal
from torch.nn import functional as F

SMALL: dict[str, Any] = {"in_shape": [1, 3, 4], "hidden_sizes": [7], "code_size": 2}
# The digits' files hold numbers from 0 to 16: the mean and deviation of their pixels, over 16.
DIGITS: dict[str, Any] = {"in_shape": [1, 8, 8], "pixel_mean": 0.30529, "pixel_std": 0.37608}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def silent(**arguments) -> pl.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(**{"accelerator": "cpu", "enable_checkpointing": False, **quiet, **arguments})


class Batches:
    """A loader that draws no random number; Lightning would take a list for several loaders."""

    def __init__(self, *parts: torch.Tensor):
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[tuple[torch.Tensor]]:
        return iter([(part,) for part in self.parts])


def loader(x: torch.Tensor) -> Batches:
    return Batches(*x.split(4))


def digits() -> Digits:
    data = Digits(batch_size=64)
    data.setup()
    return data


def trained(epochs: int, **arguments) -> tuple[VAE, dict[str, torch.Tensor]]:
    pl.seed_everything(1, verbose=False)
    model = VAE(**{**DIGITS, "hidden_sizes": [128], "code_size": 8, **arguments})
    model.configure_optimizers = lambda: torch.optim.Adam(model.parameters(), lr=2e-3)
    trainer = silent(max_epochs=epochs, num_sanity_val_steps=0)
    trainer.fit(model, digits())
    return model.eval(), dict(trainer.callback_metrics)


def test_encoder_and_decoder_agree_with_matrices_written_out():
    network = VAENetwork([6], 2, [5], [], LayerStyle()).double()
    weights = [m for m in network.modules() if isinstance(m, nn.Linear)]
    for layer in weights:
        nn.init.normal_(layer.bias)
    hidden, told, back, said = (
        (m.weight.detach().numpy().T, m.bias.detach().numpy()) for m in weights
    )
    x = np.random.default_rng(0).uniform(size=(3, 6))
    expected = np.maximum(x @ hidden[0] + hidden[1], 0) @ told[0] + told[1]
    mean, log_variance = network.encode(torch.from_numpy(x))
    assert log_variance is not None
    np.testing.assert_allclose(mean.detach(), expected[:, :2], atol=1e-12)
    np.testing.assert_allclose(log_variance.detach(), expected[:, 2:], atol=1e-12)
    code = np.random.default_rng(1).normal(size=(4, 3, 2))
    pixels = np.maximum(code @ back[0] + back[1], 0) @ said[0] + said[1]
    np.testing.assert_allclose(network.decode(torch.from_numpy(code)).detach(), pixels, atol=1e-12)


def test_layers_are_those_of_the_recipe_and_mirrored():
    model = VAE(in_shape=[1, 28, 28], code_size=20)
    shapes = [tuple(p.shape[::-1]) for p in model.parameters() if p.ndim == 2]
    assert shapes[:3] == [(784, 500), (500, 500), (500, 40)]
    assert shapes[3:] == [(20, 500), (500, 500), (500, 784)]
    plain = VAE(in_shape=[1, 28, 28], code_size=20, variational=False)
    assert plain.network.encode(torch.zeros(1, 784))[0].shape == (1, 20)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 11, 14), (1, 4, 5)])
@pytest.mark.parametrize("activation", ["relu", "maxout"])
def test_convolutions_halve_any_picture_and_say_it_again_in_its_size(shape, activation):
    model = VAE(in_shape=list(shape), channels=[4, 6], hidden_sizes=[5], activation=activation)
    x = torch.rand(2, *shape)
    assert model(x).shape == x.shape
    assert model.picture_of(torch.zeros(3, 2, 20)).shape == (3, 2, *shape)


def test_a_transposed_convolution_keeps_the_size_of_the_signal():
    network = VAENetwork([1, 32, 32], 4, [], [64, 64], LayerStyle())
    doubling = next(m for m in network.decoder if isinstance(m, nn.ConvTranspose2d))
    made = doubling(torch.randn(20, 64, 8, 8).relu())
    # He et al. 2015: E[relu(z)^2] = 1/2 for z ~ N(0, 1), and the gain makes up for it. The edge
    # hears less, hence the inner pixels; 20 pictures of 64 channels leave 2 % of chance.
    assert made[:, :, 1:-1, 1:-1].square().mean().item() == pytest.approx(1, abs=0.1)


def test_losses_are_minus_the_elbo_that_monte_carlo_finds():
    model = VAE(**SMALL, likelihood="gaussian", noise_std=0.3).double()
    target = torch.rand(1, 12, dtype=torch.float64)
    generative, latent = model.losses(target.repeat(40_000, 1))
    mean, log_variance = model.network.encode(target)
    assert log_variance is not None
    q, prior = Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)
    code = q.sample(torch.Size([40_000]))  # (k, 1, Z)
    said = Normal(model.network.decode(code).sigmoid(), 0.3).log_prob(target).sum(-1)
    terms = said + prior.log_prob(code).sum(-1) - q.log_prob(code).sum(-1)
    error = terms.std() / 200  # of the mean of 40,000
    # Both sides are estimates: six errors apart once in 10^8 runs.
    assert abs(terms.mean() + generative + latent) < 6 * 2**0.5 * error
    assert error < 0.1


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian"])
def test_likelihoods_agree_with_those_of_torch(kind):
    likelihood = PixelLikelihood(kind, 0.2 if kind == "gaussian" else 0.5**0.5)
    said, target = torch.randn(5, 3, 12).double(), torch.rand(3, 12).round().double()
    distribution = Bernoulli(logits=said) if kind == "bernoulli" else Normal(said.sigmoid(), 0.2)
    expected = distribution.log_prob(target).sum(-1)  # (k, B)
    torch.testing.assert_close(
        likelihood.log_likelihood(said, target), expected, rtol=1e-10, atol=0
    )
    loss = likelihood.loss(said[0], target)
    torch.testing.assert_close(loss, -expected[0].mean(), rtol=1e-10, atol=0)


@pytest.mark.parametrize("shape", [(3, 784), (2, 7), (1, 1)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_loss_of_coins_and_its_gradient_agree_with_the_cross_entropy_of_torch(
    shape, dtype, tolerance
):
    said = (20 * torch.randn(shape)).to(dtype)
    said[0, 0] = -200.0  # its probability is 0 in float32
    target, found, expected = torch.rand(shape).to(dtype), said.clone(), said.clone()
    loss = coin_nll(found.requires_grad_(), target)
    (3 * loss).backward()
    total = F.binary_cross_entropy_with_logits(expected.requires_grad_(), target, reduction="sum")
    (3 * total / len(said)).backward()
    torch.testing.assert_close(loss, total / len(said), rtol=tolerance, atol=0)
    torch.testing.assert_close(found.grad, expected.grad, rtol=tolerance, atol=tolerance)


def test_loss_of_coins_is_as_fine_where_numbers_are_coarse():
    said, target = torch.randn(3, 784).bfloat16(), torch.rand(3, 784)
    expected = F.binary_cross_entropy_with_logits(said.float(), target, reduction="sum") / 3
    torch.testing.assert_close(coin_nll(said, target), expected, rtol=1e-6, atol=0)


def test_coins_of_any_number_come_from_the_generator_alone():
    pixels = torch.rand(5, 7)
    first, second = (thrown_coins(pixels, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, thrown_coins(pixels, torch.Generator().manual_seed(4)))


def test_default_deviation_makes_the_gaussian_loss_the_decks_squared_error():
    said, target = torch.randn(3, 12), torch.rand(3, 12)
    squared = (said.sigmoid() - target).square().sum(1).mean()
    constant = 6 * np.log(np.pi)  # 12 pixels
    found = PixelLikelihood("gaussian").loss(said, target)
    assert found.item() == pytest.approx(squared.item() + constant, rel=1e-5)


def test_binarised_pixels_are_coins_or_compared_with_a_half():
    pixels = torch.tensor([[0.0, 0.2, 0.5, 1.0]]).repeat(10_000, 1)
    coins = PixelLikelihood(binarize="dynamic").target(pixels)
    assert set(coins.unique().tolist()) == {0.0, 1.0}
    # Five standard errors of the share of heads: a false alarm once in a million runs.
    torch.testing.assert_close(coins.mean(0), pixels[0], rtol=0, atol=0.025)
    assert coins.mean(0)[[0, 3]].tolist() == [0, 1]
    threshold = PixelLikelihood(binarize="threshold").target(pixels)
    assert threshold[0].tolist() == [0, 0, 1, 1]
    assert PixelLikelihood().target(pixels) is pixels


def test_weight_of_the_latent_loss_grows_in_a_straight_line():
    assert LatentWeight(2.0).at(0, 0) == 2
    by_epochs = LatentWeight(2.0, warmup_epochs=4)
    assert [by_epochs.at(7, epoch) for epoch in (0, 1, 2.5, 4, 9)] == [0, 0.5, 1.25, 2, 2]
    by_steps = LatentWeight(0.5, warmup_steps=10)
    assert [by_steps.at(step, 3) for step in (0, 5, 10, 11)] == [0, 0.25, 0.5, 0.5]


@pytest.mark.parametrize(
    ("warmup", "weights"),
    [
        ({"kl_warmup_steps": 8}, [0, 0.25, 0.5, 0.75, 1, 1.25]),
        ({"kl_warmup_epochs": 2}, [0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3]),
    ],
)
def test_objective_is_the_weighted_sum_while_the_weight_grows(warmup, weights):
    model = VAE(**SMALL, kl_weight=2.0, **warmup)
    model.configure_optimizers = lambda: torch.optim.SGD(model.parameters(), lr=0.0)
    rows, losses = [], model.losses

    def spied(*arguments):
        found = losses(*arguments)
        rows.append([loss.item() for loss in found])
        return found

    class Recorder(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, *_):
            rows[-1].append(float(outputs["loss"]))

    model.losses = spied
    batches = loader(torch.rand(12, 1, 3, 4))
    trainer = silent(max_epochs=2, limit_val_batches=0, callbacks=[Recorder()])
    trainer.fit(model, batches, batches)
    found = [(loss - generative) / latent for generative, latent, loss in rows]
    assert found == pytest.approx(weights, abs=1e-4)


def test_evaluation_logs_the_two_losses_apart_and_can_be_repeated():
    model = VAE(**SMALL, binarize="dynamic", num_importance_samples=20)
    x = torch.rand(10, 1, 3, 4)
    (first,) = silent().test(model, loader(x), verbose=False)
    state = torch.get_rng_state()
    (second,) = silent().test(model, loader(x), verbose=False)
    assert first == second
    assert torch.equal(state, torch.get_rng_state())
    total = first["test/generative_loss"] + first["test/latent_loss"]
    assert first["test/loss"] == pytest.approx(total)
    assert first["test/elbo"] == -first["test/loss"]
    assert first["test/log_likelihood"] > first["test/elbo"]
    assert first["test/sample_distance"] > 0


def test_plain_autoencoder_has_no_latent_loss():
    model = VAE(**SMALL, variational=False)
    x = torch.rand(4, 1, 3, 4)
    (found,) = silent().test(model, loader(x), verbose=False)
    assert set(found) == {"test/generative_loss", "test/loss", "test/sample_distance"}
    said = model(x).double().flatten(1)
    pixels = x.double().flatten(1)
    expected = -(pixels * said.log() + (1 - pixels) * (1 - said).log()).sum(1).mean()
    assert found["test/loss"] == pytest.approx(expected.item(), rel=1e-5)


def test_distance_of_samples_is_to_the_nearest_real_picture():
    model = VAE(**SMALL)
    made = model.picture_of(model.draw_codes(64)).flatten(1).detach().numpy()
    real = np.random.default_rng(0).uniform(size=(30, 12)).astype(np.float32)
    away = ((made[:, None] - real[None]) ** 2).mean(-1) ** 0.5  # (64, 30)
    found = model.sample_distance(torch.from_numpy(real)).item()
    assert found == pytest.approx(away.min(1).mean(), rel=1e-4)


def test_means_are_over_examples_and_go_on_from_a_checkpoint():
    means = EpochMeans(["a", "b"])
    means.add(1, torch.tensor(3.0), torch.tensor(6.0))
    restored = EpochMeans(["a", "b"])
    restored.load_state_dict(means.state_dict())
    restored.add(3, torch.tensor(1.0), torch.tensor(2.0))
    assert restored.means(lambda total: 2 * total) == {"a": 1.5, "b": 3.0}
    assert (len(means), len(restored)) == (1, 4)


def test_digits_are_learned_and_unit_gaussian_codes_become_digits():
    model, found = trained(30, likelihood="gaussian", noise_std=0.25)
    plain, told = trained(30, likelihood="gaussian", noise_std=0.25, variational=False)
    real = digits().splits.train
    flat = model.pixels(real.inputs)
    # Every pixel's own mean, told without a code: what a decoder that looks at none could say.
    of_the_mean = PixelLikelihood("gaussian", 0.25).loss(
        flat.mean(0).clamp(1e-3, 1 - 1e-3).logit().expand_as(flat), flat
    )
    assert found["val/loss"] < of_the_mean - 10
    # The plain autoencoder says pictures again better, but knows no code that it was not shown.
    assert told["val/generative_loss"] < found["val/generative_loss"]
    assert model.sample_distance(flat) < 0.9 * plain.sample_distance(flat)


@pytest.mark.filterwarnings("ignore:Checkpoint directory")  # both runs keep theirs in one folder
def test_run_resumed_in_the_middle_of_an_epoch_equals_the_uninterrupted_one(tmp_path):
    def run(ckpt_path: str | None = None) -> tuple[VAE, dict[str, torch.Tensor]]:
        pl.seed_everything(3, verbose=False)
        model = VAE(**DIGITS, hidden_sizes=[16], binarize="dynamic", kl_warmup_epochs=2)
        model.configure_optimizers = lambda: torch.optim.Adam(model.parameters())
        keep = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=7, save_top_k=-1)
        trainer = silent(max_epochs=2, enable_checkpointing=True, callbacks=[keep])
        trainer.fit(model, digits(), ckpt_path=ckpt_path, weights_only=True)
        return model, dict(trainer.callback_metrics)

    whole, metrics = run()
    first_epoch = tmp_path / "step=7.ckpt"  # of 20 updates
    torch.manual_seed(99)
    resumed, later = run(str(first_epoch))
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
    assert metrics == later
    content = torch.load(first_epoch, weights_only=True)
    assert content["epoch_means"]["count"] == 7 * 64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"code_size": 0}, "`code_size` must be at least 1, but is 0."),
        ({"hidden_sizes": [4, 0]}, "`hidden_sizes` must be whole numbers of at least 1, "),
        ({"channels": [0]}, "`channels` must be whole numbers of at least 1, "),
        ({"channels": [2, 2]}, "`in_shape` must be pictures of at least 4 x 4 pixels"),
        ({"in_shape": [12], "channels": [2]}, "`in_shape` must be [C, H, W] with `channels`"),
        ({"kl_weight": -1.0}, "`kl_weight` must be 0 or above, but is -1.0."),
        ({"kl_weight": float("nan")}, "`kl_weight` must be 0 or above, but is nan."),
        ({"kl_weight": 2.0, "variational": False}, "`kl_weight` must be left at 1 without"),
        ({"kl_warmup_epochs": -1}, "`kl_warmup_epochs` must be 0 or above"),
        ({"kl_warmup_steps": -1}, "`kl_warmup_steps` must be 0 or above"),
        (
            {"kl_warmup_steps": 5, "kl_warmup_epochs": 1},
            "`kl_warmup_steps` must be 0 with `kl_warmup_epochs`, but is 5.",
        ),
        ({"likelihood": "gausian"}, "`likelihood` must be one of bernoulli, gaussian, but"),
        ({"binarize": "always"}, "`binarize` must be one of none, dynamic, threshold, but"),
        ({"noise_std": 0.1}, "`noise_std` must be left at its default unless"),
        ({"likelihood": "gaussian", "noise_std": 0.0}, "`noise_std` must be a positive number"),
        ({"num_importance_samples": -1}, "`num_importance_samples` must be 0 or above"),
        ({"pixel_std": 0.0}, "`pixel_std` must be above 0"),
        ({"activation": "step"}, "`activation` must be one of "),
    ],
)
def test_wrong_arguments_are_told_with_their_rule(arguments, message):
    with pytest.raises(ValueError, match="must be") as caught:
        VAE(**{**SMALL, **arguments})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 2.0])
def test_pixels_that_are_none_are_refused_in_training_and_evaluation(wrong):
    model, x = VAE(**SMALL), torch.rand(4, 1, 3, 4)
    x[2, 0, 1, 1] = wrong
    with pytest.raises(ValueError, match="`pixel_mean` and `pixel_std` must be those of the data"):
        model.training_step((x, None), 0)
    with pytest.raises(ValueError, match="`pixel_mean` and `pixel_std` must be those of the data"):
        model.validation_step((x, None), 0)

from __future__ import annotations

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from paceline.lightning_modules.autoencoder import Autoencoder
from paceline.lightning_modules.blocks.corruption import corrupt
from paceline.lightning_modules.blocks.kfac import KFAC
from paceline.lightning_modules.blocks.layers import LayerStyle
from paceline.lightning_modules.data.digits import Digits
from paceline.lightning_modules.networks.autoencoder_networks import AutoencoderNetwork, TiedNetwork
from paceline.lightning_modules.pictures.autoencoders import fitted_codes
from paceline.lightning_modules.pictures.reconstructions import reconstructions
from paceline.lightning_modules.rules.code_measures import (
    linear_probe_accuracy,
    pca_squared_error,
    principal_components,
)
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

DIGITS = {"pixel_mean": Digits.pixel_mean, "pixel_std": Digits.pixel_std}
SMALL = {"in_shape": [1, 3, 4], "hidden_sizes": [7, 5], "code_size": 2}


# The loader's workers would only cost time here; Lightning advises them all the same.
pytestmark = pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")


def loader(x: torch.Tensor) -> DataLoader:
    return DataLoader(TensorDataset(x), batch_size=4)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def silent(**arguments) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **arguments,
    )


def test_forward_pass_agrees_with_matrices_written_out():
    network = AutoencoderNetwork(6, [5, 4], 2, LayerStyle("sigmoid")).double()
    layers = [m for m in network.modules() if isinstance(m, nn.Linear)]
    for layer in layers:
        nn.init.normal_(layer.bias)
    x = np.random.default_rng(0).uniform(size=(3, 6))
    h, code = x, None
    for number, layer in enumerate(layers):
        h = h @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        if number == 2:
            code = h
        elif number < 5:
            h = 1 / (1 + np.exp(-h))
    said, found = network(torch.from_numpy(x))
    np.testing.assert_allclose(found.detach().numpy(), code, atol=1e-12)
    np.testing.assert_allclose(said.detach().numpy(), h, atol=1e-12)


def test_the_published_network_has_its_layers_and_is_mirrored():
    model = Autoencoder(in_shape=[1, 28, 28])
    shapes = [tuple(p.shape) for p in model.network.parameters() if p.ndim == 2]
    widths = [784, 1000, 500, 250, 30, 250, 500, 1000, 784]
    assert shapes == list(zip(widths[1:], widths[:-1], strict=True))
    assert sum(isinstance(m, nn.Sigmoid) for m in model.network.modules()) == 6
    assert sum(p.numel() for p in model.parameters()) == 2_837_314


def test_a_network_without_hidden_layers_is_an_encoder_and_a_decoder():
    model = Autoencoder(in_features=9, hidden_sizes=[], code_size=4)
    assert [tuple(p.shape) for p in model.parameters() if p.ndim == 2] == [(4, 9), (9, 4)]


@pytest.mark.parametrize(("mean", "std"), [(0.25, 0.5), ([0.2, 0.4, 0.6], [0.5, 0.25, 0.125])])
def test_normalisation_of_the_data_is_undone(mean, std):
    pixels = torch.rand(5, 3, 4, 4)
    shape = [-1, 1, 1] if isinstance(mean, list) else []
    normal = (pixels - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
    model = Autoencoder(in_shape=[3, 4, 4], hidden_sizes=[6], pixel_mean=mean, pixel_std=std)
    torch.testing.assert_close(model.pixels(normal), pixels.flatten(1), rtol=0, atol=1e-6)
    assert model.pixels(normal * 100).aminmax() == (0, 1)


@pytest.mark.parametrize("loss", ["bernoulli", "squared"])
def test_loss_is_summed_over_a_picture_and_averaged_over_pictures(loss):
    model = Autoencoder(**SMALL, loss=loss)
    x = torch.rand(6, 1, 3, 4)
    said = model(x).detach().double().numpy().reshape(6, -1)
    pixels = x.double().numpy().reshape(6, -1)
    if loss == "bernoulli":
        expected = -(pixels * np.log(said) + (1 - pixels) * np.log(1 - said)).sum(1).mean()
    else:
        expected = ((said - pixels) ** 2).sum(1).mean()
    (found,) = silent().validate(model, loader(x), verbose=False)
    assert found["val/loss"] == pytest.approx(expected, rel=1e-5)


def test_objective_adds_the_sparsity_penalty_on_the_code():
    options = {"sparsity": "kl", "sparsity_weight": 0.5, "code_activation": "sigmoid"}
    model = Autoencoder(**SMALL, **options, sparsity_rate=0.2)
    model.log_step = lambda metrics: None
    x = torch.rand(6, 1, 3, 4)
    rate = model.predict_step(x)["code"].mean(0).detach().double().numpy()
    kl = 0.2 * np.log(0.2 / rate) + 0.8 * np.log(0.8 / (1 - rate))
    plain = model.reconstruction_loss(model.network(x.flatten(1))[0], x.flatten(1)).item()
    assert model.training_step((x, None), 0).item() == pytest.approx(plain + 0.5 * kl.sum())
    model.sparsity = "l1"
    code = model.predict_step(x)["code"].abs().sum(1).mean().item()
    assert model.training_step((x, None), 0).item() == pytest.approx(plain + 0.5 * code)


def test_digits_are_said_better_than_their_mean_after_a_few_epochs_of_kfac():
    pl.seed_everything(1, verbose=False)
    data = Digits(batch_size=256)
    model = Autoencoder(in_shape=[1, 8, 8], **DIGITS, hidden_sizes=[48], code_size=8)

    def configure():
        optimizer = KFAC(model.parameters(), lr=1.0, damping=0.3, kl_clip=0.3)
        optimizer.attach(model)
        return optimizer

    model.configure_optimizers = configure
    trainer = silent(max_epochs=20, num_sanity_val_steps=0)
    trainer.fit(model, data)
    pixels = model.pixels(data.splits.train.inputs).double()
    share = pixels.mean(0).clamp(1e-6, 1 - 1e-6)
    of_the_mean = -(pixels * share.log() + (1 - pixels) * (1 - share).log()).sum(1).mean().item()
    assert trainer.callback_metrics["val/loss"] < 0.8 * of_the_mean


def test_pixels_that_are_none_are_refused():
    model = Autoencoder(**SMALL)
    with pytest.raises(ValueError, match="`pixel_mean` and `pixel_std` must be those of the data"):
        model.training_step((torch.randn(6, 1, 3, 4), None), 0)


def test_pictures_show_inputs_above_outputs():
    model = Autoencoder(**SMALL)
    assert set(model.figures()) == {"first_layer"}
    silent().validate(model, loader(torch.rand(6, 1, 3, 4)), verbose=False)
    figure = model.figures()["reconstructions"]
    assert len(figure.axes) == 8
    shown = figure.axes[1].images[0].get_array()
    np.testing.assert_allclose(shown, model.pixels(model._examples[0])[1].view(3, 4), atol=1e-6)


def test_codes_are_drawn_from_the_gaussian_that_fits_those_of_the_pictures():
    model = Autoencoder(**SMALL).double()
    x = torch.rand(500, 1, 3, 4, dtype=torch.float64)
    codes = model.network.encoder(x.flatten(1)).detach().numpy()
    drawn = fitted_codes(model, x, count=200_000).double().numpy()
    # Of 200,000 draws a mean is off by 0.0022 deviations; 5 times that is 1 in 10 million.
    deviations = codes.std(0)
    np.testing.assert_allclose(drawn.mean(0) / deviations, codes.mean(0) / deviations, atol=0.012)
    scale = np.outer(deviations, deviations)
    np.testing.assert_allclose(np.cov(drawn.T) / scale, np.cov(codes.T) / scale, atol=0.025)
    assert torch.equal(fitted_codes(model, x, 5), fitted_codes(model, x, 5))


@pytest.mark.parametrize("code_size", [1, 2, 14])
def test_the_plain_decoders_samples_are_drawn_from_any_code(code_size):
    model = Autoencoder(**SMALL | {"code_size": code_size})
    silent().validate(model, loader(torch.rand(6, 1, 3, 4)), verbose=False)
    (axes,) = model.figures()["plain_decoder_samples"].axes
    assert axes.images[0].get_array().shape == (8 * 4 - 1, 8 * 5 - 1)
    with torch.no_grad():
        next(model.network.encoder.parameters()).fill_(torch.nan)
    assert "plain_decoder_samples" not in model.figures()


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 8, 8), (2, 8, 8), (40,)])
def test_pictures_of_any_shape_can_be_drawn(shape, tmp_path):
    inputs, outputs = np.random.default_rng(0).uniform(size=(2, 4, *shape))
    reconstructions(inputs, outputs).savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 1000


def test_likelihood_follows_the_loss_so_that_kfac_can_draw_from_it():
    for loss, likelihood in (("bernoulli", "bernoulli"), ("squared", "gaussian")):
        model = Autoencoder(**SMALL, loss=loss)
        assert model.likelihood == likelihood
        optimizer = KFAC(model.parameters(), fisher="sampled")
        optimizer.attach(model)
        model.network(torch.rand(4, 12))[0].sum().backward()
        optimizer.step()
        assert all("a" in optimizer.state[p] for p in model.parameters() if p.ndim == 2)


def test_digits_tell_the_scale_of_their_pixels():
    data = Digits()
    (mean,), (std,) = data.splits.mean, data.splits.std  # the files hold numbers from 0 to 16
    assert (mean / 16, std / 16) == pytest.approx((data.pixel_mean, data.pixel_std), abs=1e-6)
    model = Autoencoder(in_shape=[1, 8, 8], **DIGITS)
    levels = model.pixels(data.splits.train.inputs) * 16
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-4)
    assert [v.item() for v in levels.aminmax()] == pytest.approx([0, 16], abs=1e-4)


def test_tied_weights_are_one_parameter_whose_gradient_is_the_sum_of_both():
    tied = TiedNetwork(6, [5, 4], 2, LayerStyle("tanh")).double()
    free = AutoencoderNetwork(6, [5, 4], 2, LayerStyle("tanh")).double()
    for bias in tied.decoder_biases:
        nn.init.normal_(bias)
    encoder = [m for m in free.encoder if isinstance(m, nn.Linear)]
    decoder = [m for m in free.decoder if isinstance(m, nn.Linear)]
    own = [m for m in tied.encoder if isinstance(m, nn.Linear)]
    with torch.no_grad():
        for number, layer in enumerate(own):
            encoder[number].load_state_dict(layer.state_dict())
            decoder[2 - number].weight.copy_(layer.weight.T)
            decoder[2 - number].bias.copy_(tied.decoder_biases[2 - number])
    x = torch.rand(7, 6, dtype=torch.float64)
    for network in (tied, free):
        (network(x)[0] - x).square().sum().backward()
    torch.testing.assert_close(tied(x), free(x), rtol=0, atol=1e-12)
    for number, layer in enumerate(own):
        both = encoder[number].weight.grad + decoder[2 - number].weight.grad.T
        torch.testing.assert_close(layer.weight.grad, both, rtol=0, atol=1e-12)
    assert sum(p.ndim == 2 for p in tied.parameters()) == len(own) == 3
    assert sum(w.ndim == 2 for w in tied.state_dict().values()) == 3


def test_linear_tied_autoencoder_of_one_layer_finds_the_plane_of_pca():
    # Baldi and Hornik 1989: the squared error of a linear one has no minimum but PCA's.
    x = torch.randn(300, 6) * torch.tensor([0.4, 0.3, 0.05, 0.05, 0.02, 0.01])
    network = TiedNetwork(6, [], 2, LayerStyle("linear", weight_init="orthogonal"))
    optimizer = torch.optim.LBFGS(network.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (network(x)[0] - x).square().sum(1).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert closure().item() == pytest.approx(pca_squared_error([x], x, 2), rel=1e-3)


def test_convolutional_network_keeps_the_shape_and_has_the_code():
    options = {"in_shape": [3, 10, 14], "hidden_sizes": [20], "channels": [4, 6], "code_size": 5}
    model = Autoencoder(network="convolutional", activation="relu", **options)
    x = torch.rand(2, 3, 10, 14)
    told = model.predict_step(x)
    assert told["code"].shape == (2, 5)
    assert told["reconstruction"].shape == x.shape
    assert sum(isinstance(m, nn.Conv2d) for m in model.modules()) == 2


def test_masking_silences_the_share_and_noise_has_the_deviation():
    pixels = torch.rand(200, 500) + 0.1
    masked = corrupt(pixels, "masking", 0.25, torch.Generator().manual_seed(0))
    silenced = masked == 0  # of 100,000; a false alarm at five deviations: below 1e-6
    assert silenced.float().mean().item() == pytest.approx(0.25, abs=0.007)
    assert torch.equal(masked[~silenced], pixels[~silenced])
    noise = corrupt(pixels, "gaussian", 0.3, torch.Generator().manual_seed(0)) - pixels
    assert noise.std().item() == pytest.approx(0.3, abs=0.004)
    assert corrupt(pixels, "none", 0.0) is pixels


def test_a_denoising_autoencoder_is_asked_for_the_whole_input():
    model = Autoencoder(**SMALL, loss="squared", corruption="masking", corruption_level=0.5)
    model.log_step = lambda metrics: None
    x = torch.rand(6, 1, 3, 4)
    torch.manual_seed(3)
    found = model.training_step((x, None), 0).item()
    torch.manual_seed(3)
    shown = corrupt(x.flatten(1), "masking", 0.5)
    expected = (model.network(shown)[0] - x.flatten(1)).square().sum(1).mean().item()
    assert found == pytest.approx(expected)
    first, second = (silent().validate(model, loader(x), verbose=False)[0] for _ in range(2))
    assert first == second
    assert first["val/denoising_loss"] != first["val/loss"]


def test_pca_agrees_with_scikit_learn():
    x = torch.rand(200, 9, dtype=torch.float64) @ torch.rand(9, 9, dtype=torch.float64)
    train, test = x[:150], x[150:]
    peer = PCA(3).fit(train.numpy())
    said = peer.inverse_transform(peer.transform(test.numpy()))
    expected = ((said - test.numpy()) ** 2).sum(1).mean()
    assert pca_squared_error(train.split(40), test, 3) == pytest.approx(expected, rel=1e-9)
    _, directions = principal_components([train], 3)
    cosines = np.abs((directions.T.numpy() * peer.components_).sum(1))
    np.testing.assert_allclose(cosines, 1, atol=1e-9)
    assert pca_squared_error([train], test, 20) == pytest.approx(0, abs=1e-9)


def test_probe_tells_what_a_straight_border_can():
    codes = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    labels = (codes[:, 0] + codes[:, 1] > 0).long()
    found = linear_probe_accuracy(
        codes[:300] * 100 + 7, labels[:300], codes[300:] * 100 + 7, labels[300:]
    )
    peer = LogisticRegression().fit(codes[:300].numpy(), labels[:300].numpy())
    assert found == pytest.approx(peer.score(codes[300:].numpy(), labels[300:].numpy()), abs=0.03)
    assert found > 0.9
    # Told by numbers that are tiny beside one that tells nothing: each is scaled on its own.
    uneven = codes * torch.tensor([1e-4, 1e-4, 100])
    assert linear_probe_accuracy(uneven[:300], labels[:300], uneven[300:], labels[300:]) == found
    broken = codes.clone()
    broken[0, 0] = float("nan")
    assert np.isnan(linear_probe_accuracy(broken, labels, codes, labels))


def test_a_test_run_tells_squared_error_pca_and_probe():
    data = Digits()
    model = Autoencoder(in_shape=[1, 8, 8], **DIGITS, hidden_sizes=[16], code_size=4)
    (found,) = silent().test(model, data, verbose=False)
    train, test = (model.pixels(part.inputs) for part in (data.splits.train, data.splits.test))
    said = model(data.splits.test.inputs).flatten(1)
    expected = (said - test).square().sum(1).mean().item()
    assert found["test/squared_error"] == pytest.approx(expected, rel=1e-5)
    peer = PCA(4).fit(train.numpy())
    left = peer.inverse_transform(peer.transform(test.numpy())) - test.numpy()
    assert found["test/pca_squared_error"] == pytest.approx((left**2).sum(1).mean(), rel=1e-4)
    assert 0.1 < found["test/probe_accuracy"] < 1


def test_a_code_of_two_numbers_is_drawn_beside_pca(tmp_path):
    data = Digits()
    model = Autoencoder(in_shape=[1, 8, 8], **DIGITS, hidden_sizes=[16], code_size=2)
    silent().validate(model, data, verbose=False)
    figure = model.figures()["code"]
    assert [axes.get_title() for axes in figure.axes] == [
        "autoencoder",
        "first two principal components",
    ]
    shown = np.concatenate([part.get_offsets() for part in figure.axes[0].collections])
    labels = data.splits.val.targets.numpy()
    codes = model.predict_step(data.splits.val.inputs)["code"].detach().numpy()
    np.testing.assert_allclose(shown, codes[np.argsort(labels, kind="stable")], atol=1e-5)
    assert set(model.snapshots()) == {"reconstructions"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden_sizes": [4, 0]}, "`hidden_sizes` must be whole numbers of at least 1, "),
        ({"code_size": 0}, "`code_size` must be at least 1, but is 0."),
        ({"loss": "absolute"}, "`loss` must be one of bernoulli, squared, but is 'absolute'."),
        ({"pixel_std": 0.0}, "`pixel_std` must be above 0, but is 0.0."),
        ({"sparsity": "l2"}, "`sparsity` must be one of none, l1, kl, but is 'l2'."),
        ({"sparsity_weight": 0.1}, "`sparsity_weight` must be 0 without a sparsity penalty, "),
        ({"sparsity": "l1", "sparsity_weight": -1.0}, "`sparsity_weight` must be 0 or above, "),
        ({"sparsity": "kl"}, "`code_activation` must be sigmoid where `sparsity` is kl, but is "),
        ({"sparsity_rate": 0.0}, "`sparsity_rate` must be in (0, 1), but is 0.0."),
        ({"network": "linear"}, "`network` must be one of fully_connected, tied, convolutional, "),
        ({"channels": [4]}, "`channels` must be left out unless `network` is convolutional, "),
        (
            {"network": "tied", "activation": "maxout"},
            "`activation` must be one that keeps the width, with tied weights, but is 'maxout'.",
        ),
        ({"corruption": "salt"}, "`corruption` must be one of none, masking, gaussian, but is "),
        ({"corruption_level": 0.1}, "`corruption_level` must be 0 without a corruption, but is "),
        (
            {"corruption": "masking", "corruption_level": 1.0},
            "`corruption_level` must be in (0, 1) with masking, but is 1.0.",
        ),
        ({"corruption": "gaussian"}, "`corruption_level` must be a positive number with gaussian"),
        ({"in_shape": None}, "`in_features` must be a whole number of at least 1, "),
    ],
)
def test_arguments_out_of_range_or_without_effect_are_refused(arguments, message):
    with pytest.raises(ValueError, match="must be") as caught:
        Autoencoder(**{**SMALL, **arguments})
    assert str(caught.value).startswith(message)

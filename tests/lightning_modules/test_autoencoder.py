from __future__ import annotations

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from paceline.lightning_modules.autoencoder import Autoencoder, AutoencoderNetwork
from paceline.lightning_modules.blocks.kfac import KFAC
from paceline.lightning_modules.blocks.layers import LayerStyle
from paceline.lightning_modules.data.digits import Digits
from paceline.lightning_modules.reconstruction_picture import reconstructions
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

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
    model.log = lambda *args, **options: None
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
    data.setup()
    (mean,), (std,) = data.splits.mean, data.splits.std  # the files hold numbers from 0 to 16
    scale = {"pixel_mean": mean / 16, "pixel_std": std / 16}
    model = Autoencoder(in_shape=[1, 8, 8], **scale, hidden_sizes=[48], code_size=8)

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
    assert model.figures() == {}
    silent().validate(model, loader(torch.rand(6, 1, 3, 4)), verbose=False)
    figure = model.figures()["reconstructions"]
    assert len(figure.axes) == 8
    shown = figure.axes[1].images[0].get_array()
    np.testing.assert_allclose(shown, model.pixels(model._examples)[1].view(3, 4), atol=1e-6)


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
        ({"in_shape": None}, "`in_features` must be a whole number of at least 1, "),
    ],
)
def test_arguments_out_of_range_or_without_effect_are_refused(arguments, message):
    with pytest.raises(ValueError, match="must be") as caught:
        Autoencoder(**{**SMALL, **arguments})
    assert str(caught.value).startswith(message)

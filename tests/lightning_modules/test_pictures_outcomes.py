"""The pictures that a classifier draws of its examples, and what they are drawn from."""

from __future__ import annotations

import pytest
import torch
from paceline.lightning_modules.cnn import CNN
from paceline.lightning_modules.mlp import MLP
from paceline.lightning_modules.pictures.first_convolution import feature_maps, first_convolution
from paceline.lightning_modules.pictures.wrongest import Wrongest
from pytorch_lightning import Trainer
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

pytestmark = pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")


def examples(shape: tuple[int, ...], count: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, *shape, generator=generator)
    return x, torch.randint(0, 3, (count,), generator=generator)


def evaluated(model, shape: tuple[int, ...]):
    """The model after a test over batches of 16, 16, 16 and 2."""
    loader = DataLoader(TensorDataset(*examples(shape)), 16)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", enable_checkpointing=False, **quiet)
    trainer.test(model, loader, verbose=False)
    return model


@pytest.mark.parametrize("size", [2, 16, 50])  # 25 batches are merged on the way, 4 at the end
def test_the_wrongest_of_all_batches_are_those_of_the_whole_set(size: int):
    x, labels = examples((4,))
    scores = torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    kept = Wrongest(count=5)
    for batch in zip(*(part.split(size) for part in (x, labels, scores)), strict=True):
        kept.add(*batch)
    found = kept.mistakes()
    assert found is not None
    probability = scores.softmax(1)[torch.arange(50), labels]
    order = probability.argsort()[:5]
    assert torch.equal(found.inputs, x[order])
    assert torch.equal(found.labels, labels[order])
    assert torch.equal(found.predicted, scores.argmax(1)[order])
    torch.testing.assert_close(found.loss, -probability[order].log(), rtol=1e-5, atol=1e-6)


def test_what_was_right_is_not_among_the_wrongest():
    kept = Wrongest()
    assert kept.mistakes() is None
    labels = torch.tensor([0, 1, 2])
    kept.add(torch.zeros(3, 4), labels, F.one_hot(labels).float())
    assert kept.mistakes() is None
    kept.add(torch.ones(1, 4), torch.tensor([1]), torch.tensor([[3.0, 0.0, 0.0]]))
    found = kept.mistakes()
    assert found is not None
    assert found.predicted.tolist() == [0]


def test_the_first_convolution_is_none_where_a_linear_map_comes_first():
    assert first_convolution(MLP(4, 3).network) is None
    assert feature_maps(MLP(4, 3).network, torch.zeros(1, 4)) is None
    cnn = CNN([1, 8, 8], 3)
    assert first_convolution(cnn.network) is cnn.network.features[0]


@pytest.mark.parametrize("shape", [(1, 8, 8), (40,)], ids=["picture", "signal"])
def test_feature_maps_are_those_before_the_activation_and_leave_the_network_alone(shape):
    torch.manual_seed(0)
    model = CNN(list(shape), 3).train()
    model.network.classifier.eval()
    x = torch.randn(1, *shape)
    maps = feature_maps(model.network, x)
    layer = model.network.features[0]
    expected = layer(x if len(shape) == 3 else x.unsqueeze(1))[0]
    torch.testing.assert_close(maps, expected)
    assert (maps < 0).any()
    assert model.network.features.training
    assert not model.network.classifier.training
    assert all(not module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (40,)], ids=["grey", "colour", "signal"])
def test_a_convolutional_network_shows_filters_maps_and_mistakes(shape, tmp_path):
    torch.manual_seed(0)
    model = evaluated(CNN(list(shape), 3, class_names=["a", "b", "c"]), shape)
    figures = model.figures()
    assert set(figures) == {"confusion_matrix", "wrongest", "first_layer", "feature_maps"}
    assert len(figures["wrongest"].axes) == 16
    x, labels = examples(shape)
    scores = model.eval()(x)
    worst = F.cross_entropy(scores, labels, reduction="none").argmax()
    title = figures["wrongest"].axes[0].get_title()
    assert title.startswith(f"{'abc'[labels[worst]]}\nas {'abc'[scores[worst].argmax()]}")
    for name, figure in figures.items():
        figure.savefig(tmp_path / f"{name}.png")


def test_a_network_without_a_first_convolution_shows_no_feature_maps():
    model = evaluated(MLP(4, 3), (4,))
    assert set(model.figures()) == {"confusion_matrix", "wrongest", "first_layer"}


def test_nothing_is_told_of_an_evaluation_that_was_not():
    assert set(CNN([1, 8, 8], 3).figures()) == {"first_layer"}

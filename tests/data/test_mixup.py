"""Mixup from the batch to the weights: losses of class probabilities, training, resuming."""

from __future__ import annotations

import os

import pytest
import torch
from paceline.lightning_modules.blocks import losses
from paceline.lightning_modules.data.digits import Digits
from paceline.lightning_modules.linear import LinearClassifier
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint

LOSSES = [losses.cross_entropy, losses.multiclass_hinge_loss, losses.squared_error]


@pytest.fixture(autouse=True)
def _keep_global_seed(monkeypatch):
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    yield
    os.environ.pop("PL_GLOBAL_SEED", None)


def drawn(batch: int = 6, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    scores = torch.randn(batch, classes, generator=generator, dtype=torch.float64)
    target = torch.rand(batch, classes, generator=generator, dtype=torch.float64)
    return scores, target / target.sum(dim=1, keepdim=True)


@pytest.mark.parametrize("loss", LOSSES)
def test_certain_probabilities_are_classes(loss):
    scores, _ = drawn()
    labels = torch.tensor([0, 3, 1, 2, 2, 0])
    certain = torch.eye(4, dtype=torch.float64)[labels]
    torch.testing.assert_close(loss(scores, certain), loss(scores, labels), atol=1e-12, rtol=0)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_those_of_the_loss_expected_under_the_probabilities(loss):
    scores, target = drawn()
    scores.requires_grad_()
    (ours,) = torch.autograd.grad(loss(scores, target), scores)
    expected = torch.zeros((), dtype=torch.float64)
    for row in range(len(scores)):
        for label in range(scores.shape[1]):
            one = loss(scores[row : row + 1], torch.tensor([label]))
            expected = expected + target[row, label] * one / len(scores)
    (theirs,) = torch.autograd.grad(expected, scores)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)


def train(folder, loss: str, ckpt_path=None, epochs: int = 4) -> dict[str, torch.Tensor]:
    seed_everything(5, verbose=False)
    data = Digits(batch_size=64, augmentation=[{"shift": 1}, {"mixup": 0.4}])
    model = LinearClassifier(in_shape=[1, 8, 8], num_classes=10, loss=loss)
    model.configure_optimizers = lambda: torch.optim.Adam(model.parameters(), lr=1e-2)
    keep = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[keep],
    )
    trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
    metrics = trainer.callback_metrics
    return {**model.state_dict(), "accuracy": metrics["val/accuracy"], "loss": metrics["val/loss"]}


# The resumed run writes into the same folder, on purpose.
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.parametrize("loss", ["softmax", "svm", "squared"])
def test_a_classifier_learns_from_blended_classes_and_resumes_to_the_bit(tmp_path, loss):
    whole = train(tmp_path, loss)
    assert whole["accuracy"] > 0.4  # a tenth by chance; four short epochs
    resumed = train(tmp_path, loss, ckpt_path=tmp_path / "epoch=1.ckpt")
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name

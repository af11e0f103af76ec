from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from paceline.lightning_modules.data.points import Points
from paceline.lightning_modules.mlp import MLP
from paceline.lightning_modules.perceptron import Perceptron
from paceline.lightning_modules.pictures.boundary import decision_boundary
from torch.utils.data import DataLoader, TensorDataset

CORNERS = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR, AND = torch.tensor([0, 1, 1, 0]), torch.tensor([0, 0, 0, 1])


class Diary(pl.Callback):
    """What w and b were after each step, and how many mistakes each epoch had."""

    def __init__(self):
        self.weights: list[np.ndarray] = []
        self.mistakes: list[int] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        linear = pl_module.network.linear
        self.weights.append(torch.cat((linear.weight[0], linear.bias)).detach().numpy().copy())

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch > 0:  # a module logs after the callbacks of its epoch's end
            self.mistakes.append(int(trainer.callback_metrics["train/mistakes"]))

    def on_train_end(self, trainer, pl_module):
        self.mistakes.append(int(trainer.callback_metrics["train/mistakes"]))


def fit(model: Perceptron, data: Any, epochs: int, lr: float = 1.0, val: Any = None) -> Diary:
    model.configure_optimizers = lambda: torch.optim.SGD(model.parameters(), lr)
    diary = Diary()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[diary],
        enable_checkpointing=False,
        limit_val_batches=0 if val is None else 1,
        **quiet,
    )
    if isinstance(data, pl.LightningDataModule):
        trainer.fit(model, datamodule=data)
    else:
        trainer.fit(model, data, val or data)  # without a loader, Lightning misses validation
    return diary


def in_turn(x: torch.Tensor, labels: torch.Tensor) -> DataLoader:
    """Loader of one example after the other, in the order of storage."""
    return DataLoader(TensorDataset(x, labels), batch_size=1)


def rosenblatt(x: np.ndarray, y: np.ndarray, low: float, lr: float, epochs: int) -> np.ndarray:
    """The rule in NumPy; w and b after each step, (epochs * N, D + 1)."""
    w, b, after = np.zeros(x.shape[1]), 0.0, []
    for _ in range(epochs):
        for example, target in zip(x, y, strict=True):
            output = 1.0 if w @ example + b > 0 else low
            w = w + lr * (target - output) * example
            b = b + lr * (target - output)
            after.append([*w, b])
    return np.array(after)


@pytest.mark.parametrize(("output", "expected"), [("step", [0, 1, 0]), ("sign", [-1, 1, -1])])
def test_output_is_the_slide_s_and_the_low_one_on_the_line_itself(output, expected):
    model = Perceptron(2, 2, output=output)
    with torch.no_grad():
        model.network.linear.weight.copy_(torch.tensor([[1.0, -2.0]]))
        model.network.linear.bias.fill_(0.5)
    x = torch.tensor([[0.0, 1.0], [0.0, 0.0], [-0.5, 0.0]])  # w.x + b = -1.5, 0.5, 0
    assert model(x)[:, 1].tolist() == expected
    assert model.predict_step(x)["class"].tolist() == [0, 1, 0]


@pytest.mark.parametrize(("output", "low"), [("step", 0.0), ("sign", -1.0)])
def test_every_step_is_rosenblatt_s(output, low):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(2, (40,), generator=generator)
    diary = fit(Perceptron(3, 2, output=output).double(), in_turn(x, labels), epochs=3, lr=0.3)
    target = np.where(labels.numpy() > 0, 1.0, low)
    expected = rosenblatt(x.numpy(), target, low, lr=0.3, epochs=3)
    assert len(diary.weights) == 120
    np.testing.assert_allclose(diary.weights, expected, rtol=0, atol=1e-12)


def test_step_of_a_batch_is_the_mean_of_its_examples_steps():
    x = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.5, 0.5], [-1.0, 4.0]])
    labels = torch.tensor([1, 0, 1, 1])  # from zeros all outputs are 0: three of them are wrong
    whole = DataLoader(TensorDataset(x, labels), batch_size=4)
    (weights,) = fit(Perceptron(2, 2), whole, epochs=1, lr=0.8).weights
    np.testing.assert_allclose(weights, [0.8 * 0.5 / 4, 0.8 * 6.5 / 4, 0.8 * 3 / 4], rtol=1e-6)


def test_separable_points_are_learned_within_novikoff_s_number_of_mistakes():
    data = Points("blobs", num_samples=500, noise=2.0, batch_size=1)
    model = Perceptron(2, 2)
    mistakes = fit(model, data, epochs=3).mistakes
    points, labels = data.splits.train.inputs, data.splits.train.targets
    augmented = torch.cat((points, torch.ones(len(points), 1)), 1)  # b is the weight of a 1
    diagonal = torch.tensor([1.0, 1.0, 0.0]) / 2**0.5
    margin = ((2 * labels - 1) * (augmented @ diagonal)).min()
    assert margin > 0.1
    assert 1 <= sum(mistakes) <= (augmented.norm(dim=1).max() / margin) ** 2
    assert mistakes[-1] == 0
    assert (model(points).argmax(1) == labels).all()


def test_and_is_learned_and_xor_never_is():
    learned = fit(Perceptron(2, 2), in_turn(CORNERS, AND), epochs=20)
    failed = fit(Perceptron(2, 2), in_turn(CORNERS, XOR), epochs=100)
    assert learned.mistakes[-1] == 0
    assert min(failed.mistakes) >= 1
    # The weights go round in a circle (Block and Levin 1970): the same after each epoch, at last.
    np.testing.assert_array_equal(failed.weights[-1], failed.weights[-5])
    assert not np.array_equal(failed.weights[-1], failed.weights[-2])


def test_from_zero_the_learning_rate_only_scales_the_weights():
    x, labels = Points(noise=2.0).splits.train.inputs, Points(noise=2.0).splits.train.targets
    slow, fast = (fit(Perceptron(2, 2), in_turn(x, labels), 1, lr) for lr in (0.25, 1.0))
    np.testing.assert_array_equal(np.array(slow.weights) * 4, np.array(fast.weights))


@pytest.mark.parametrize("output", ["step", "sign"])
def test_mistakes_are_counted_whatever_the_output_and_the_batches(output):
    x = torch.tensor([[1.0], [2.0], [3.0], [-1.0], [-2.0]])
    labels = torch.tensor([1, 1, 0, 0, 0])  # from zeros the low class is said of all
    loader = DataLoader(TensorDataset(x, labels), batch_size=5)
    assert fit(Perceptron(1, 2, output=output), loader, epochs=1).mistakes == [2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 3}, "`num_classes` must be 2: one line has two sides, but is 3."),
        ({"num_classes": None}, "`num_classes` must be a whole number of at least 2, "),
        ({"output": "tanh"}, "`output` must be one of step, sign, but is 'tanh'."),
        ({"weight_init": "he"}, "`weight_init` must be one of zeros, normal, xavier, "),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match="must be") as caught:
        Perceptron(**{"in_features": 2, "num_classes": 2, **arguments})
    assert str(caught.value).startswith(message)


def test_boundary_shows_the_regions_the_points_and_how_many_are_wrong(tmp_path):
    points, labels = CORNERS.numpy(), np.array([0, 0, 1, 0])
    figure = decision_boundary(lambda p: (p[:, 0] > 0.5).astype(int), points, labels, ["a", "b"])
    (axes,) = figure.axes
    region = np.asarray(axes.images[0].get_array())
    assert region[:, 0].tolist() == [0] * 200
    assert region[:, -1].tolist() == [1] * 200
    assert axes.get_title() == "1 of 4 wrong"
    own = [np.asarray(c.get_offsets()).tolist() for c in axes.collections]
    assert own == [[[0, 0], [0, 1], [1, 1]], [[1, 0]], [[1, 1]]]  # class a, class b, the wrong one
    figure.savefig(tmp_path / "picture.png")


@pytest.mark.parametrize("family", [Perceptron, MLP])
def test_boundary_is_drawn_of_classifiers_in_the_plane_only(family):
    loader = DataLoader(TensorDataset(CORNERS, XOR), batch_size=4)
    flat = family(2, 2)
    fit(flat, loader, epochs=1, val=loader) if family is Perceptron else _evaluate(flat, loader)
    assert flat.figures()["decision_boundary"].axes[0].get_title().endswith("of 4 wrong")
    deep = family(3, 2)
    _evaluate(deep, DataLoader(TensorDataset(torch.zeros(4, 3), XOR), batch_size=4))
    assert "decision_boundary" not in deep.figures()
    assert "decision_boundary" not in family(2, 2).figures()  # nothing was evaluated


def _evaluate(model: pl.LightningModule, loader: Any) -> None:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    pl.Trainer(accelerator="cpu", enable_checkpointing=False, **quiet).validate(
        model, loader, verbose=False
    )

"""The deck's gradient descent: its algorithm box in NumPy against our training, step by step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from paceline.lightning_modules.gradient_descent import StopBelowTolerance
from paceline.lightning_modules.linear import LinearClassifier
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

RATE = 0.2
N, D, K = 30, 4, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D))
LABELS = (X @ RNG.normal(size=(D, K))).argmax(1)


class Theta(pl.Callback):
    """The parameters after each step, in one row each."""

    def __init__(self):
        self.after: list[np.ndarray] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        rows = [p.detach().numpy().ravel() for p in pl_module.parameters()]
        self.after.append(np.concatenate(rows))


def cost_and_gradient(theta: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """The softmax classifier's loss, and its gradient by hand."""
    w, b = theta[: K * D].reshape(K, D), theta[K * D :]
    scores = x @ w.T + b
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    error = p - np.eye(K)[y]
    gradient = np.concatenate(((error.T @ x).ravel(), error.sum(0))) / len(x)
    return float(-np.log(p[np.arange(len(x)), y]).mean()), gradient


def box(batches: list[slice], tolerance: float, max_iterations: int) -> np.ndarray:
    """The deck's loop; Theta after each iteration. The cost is the mean of an epoch's latest."""
    theta, after, costs = np.zeros(K * D + K), [], []
    for i in range(max_iterations):
        part = batches[i % len(batches)]
        current_cost, gradient = cost_and_gradient(theta, X[part], LABELS[part])
        costs = [*costs, current_cost][-len(batches) :]
        if len(costs) == len(batches) and np.mean(costs) < tolerance:
            break
        theta = theta - RATE * gradient
        after.append(theta)
    return np.array(after)


def fit(
    batch_size: int,
    tolerance: float | None,
    max_iterations: int,
    ckpt_path: str | None = None,
    **settings: Any,
) -> tuple[pl.Trainer, Theta]:
    model = LinearClassifier(D, K, weight_init="zeros").double()
    model.configure_optimizers = lambda: torch.optim.SGD(model.parameters(), RATE)
    theta = Theta()
    callbacks = [theta, *([] if tolerance is None else [StopBelowTolerance(tolerance)])]
    callbacks += settings.pop("callbacks", [])
    settings.setdefault("enable_checkpointing", False)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=max_iterations,
        callbacks=callbacks,
        limit_val_batches=0,
        **quiet,
        **settings,
    )
    loader = DataLoader(TensorDataset(torch.tensor(X), torch.tensor(LABELS)), batch_size)
    # Without a loader for it, Lightning misses validation.
    trainer.fit(model, loader, loader, ckpt_path=ckpt_path, weights_only=True)
    return trainer, theta


# Full batch, one image at a time, mini-batches whose last one is smaller: the slide's three.
@pytest.mark.parametrize("batch_size", [N, 1, 8])
def test_every_step_is_the_box_s_until_the_tolerance(batch_size):
    batches = [slice(at, at + batch_size) for at in range(0, N, batch_size)]
    expected = box(batches, tolerance=0.5, max_iterations=200)
    assert len(batches) <= len(expected) < 200
    trainer, theta = fit(batch_size, tolerance=0.5, max_iterations=200)
    assert len(theta.after) == len(expected) + 1  # the loop was left at the step not taken
    np.testing.assert_allclose(theta.after[:-1], expected, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(theta.after[-1], theta.after[-2])
    assert trainer.global_step == len(expected) + 1


def test_max_iterations_end_what_the_tolerance_does_not():
    expected = box([slice(N)], tolerance=1e-6, max_iterations=25)
    trainer, theta = fit(N, tolerance=1e-6, max_iterations=25)
    assert trainer.global_step == len(expected) == 25
    np.testing.assert_allclose(theta.after, expected, rtol=0, atol=1e-10)


def test_cost_is_looked_at_before_the_first_step():
    assert math.log(K) < 1.2  # the cost of weights of zero
    _, theta = fit(N, tolerance=1.2, max_iterations=25)
    assert len(theta.after) == 1
    assert not theta.after[0].any()


def test_cost_that_ended_it_is_the_last_one_logged():
    trainer, theta = fit(N, tolerance=0.5, max_iterations=200)
    cost, _ = cost_and_gradient(theta.after[-1], X, LABELS)
    before, _ = cost_and_gradient(theta.after[-3], X, LABELS)
    assert cost < 0.5 <= before
    assert trainer.callback_metrics["train/loss"].item() == pytest.approx(cost, abs=1e-6)


@pytest.mark.filterwarnings("ignore:Be aware that when using .ckpt_path.")  # without `keep`
def test_resumed_descent_stops_where_the_uninterrupted_one_does(tmp_path):
    keep = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    whole, theta = fit(8, 0.48, 200, callbacks=[keep], enable_checkpointing=True)
    steps = whole.global_step % 4  # of the last epoch: too few to know the cost without the others
    assert 0 < steps < 4
    resumed, later = fit(8, 0.48, 200, str(tmp_path / f"epoch={whole.global_step // 4 - 1}.ckpt"))
    assert resumed.global_step == whole.global_step
    np.testing.assert_array_equal(later.after, theta.after[-steps:])


@pytest.mark.parametrize("tolerance", [0.0, -1.0, float("nan"), float("inf")])
def test_tolerance_must_be_a_positive_number(tolerance):
    with pytest.raises(ValueError, match="`tolerance` must be a positive number, but is"):
        StopBelowTolerance(tolerance)


def test_scaled_losses_are_refused():
    with pytest.raises(ValueError, match="`accumulate_grad_batches` must be 1 with a tolerance"):
        fit(8, tolerance=0.5, max_iterations=10, accumulate_grad_batches=2)

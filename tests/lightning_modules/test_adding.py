"""The adding problem, and the rule that learns it."""

from __future__ import annotations

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from paceline.lightning_modules.data.sequences.adding import (
    GUESS,
    GUESS_ERROR,
    Adding,
    adding_samples,
)
from paceline.lightning_modules.pictures.long_term import error_over_length
from paceline.lightning_modules.sequence_regressor import SequenceRegressor
from torch.nn import functional as F


def drawn(count: int = 2000, length: int = 9, seed: int = 0):
    return adding_samples(np.random.default_rng(seed), count, length)


def test_one_number_of_each_half_is_marked_and_their_sum_is_the_target():
    samples = drawn()
    numbers, marks = samples.inputs.double().unbind(2)
    assert set(marks.unique().tolist()) == {0, 1}
    assert (marks[:, :4].sum(1) == 1).all()
    assert (marks[:, 4:].sum(1) == 1).all()
    expected = [float(n[m == 1].sum()) for n, m in zip(numbers, marks, strict=True)]
    np.testing.assert_allclose(samples.targets.numpy(), expected, rtol=0, atol=1e-6)


def test_each_place_is_marked_equally_often_within_its_half():
    share = drawn(20_000, 9).inputs[:, :, 1].mean(0)
    expected = torch.tensor([1 / 4] * 4 + [1 / 5] * 5)
    # 5 standard deviations of a share of 20,000: odds of a false alarm below 1 in 100,000.
    torch.testing.assert_close(share, expected, rtol=0, atol=5 * (0.25 * 0.75 / 20_000) ** 0.5)


def test_always_saying_one_has_an_error_of_a_sixth():
    targets = drawn(200_000, 2).targets
    assert abs((targets - GUESS).square().mean().item() - GUESS_ERROR) < 0.003  # 7 deviations
    assert abs(targets.mean().item() - GUESS) < 0.006


def test_splits_are_a_function_of_the_arguments_alone_and_share_no_sequence():
    one, other = Adding(length=6, num_samples=100), Adding(length=6, num_samples=100)
    assert one.digest == other.digest
    assert one.digest != Adding(length=6, num_samples=100, generator_seed=1).digest
    assert [len(getattr(one.splits, part)) for part in ("train", "val", "test")] == [100, 10, 10]
    rows = torch.cat([getattr(one.splits, part).inputs for part in ("train", "val", "test")])
    assert len(rows.flatten(1).unique(dim=0)) == 120


def test_batches_are_sequences_as_drawn():
    data = Adding(length=6, num_samples=20, batch_size=5)
    inputs, targets = next(iter(data.train_dataloader()))
    assert data.in_shape == inputs.shape[1:] == (6, 2)
    assert inputs.dtype == targets.dtype == torch.float32
    torch.testing.assert_close(inputs.prod(2).sum(1), targets)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 1}, "`length` must be a whole number of at least 2"),
        ({"num_samples": 5}, "`num_samples` must be a whole number of at least 10"),
        ({"length": True}, "`length` must be a whole number"),
    ],
)
def test_wrong_arguments_are_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        Adding(**arguments)


def trainer(**arguments) -> pl.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    defaults = {"accelerator": "cpu", "max_epochs": 1, "enable_checkpointing": False}
    return pl.Trainer(**{**quiet, **defaults, **arguments})


def regressor(cell: str, length: int, lr: float = 1e-2) -> SequenceRegressor:
    pl.seed_everything(1, verbose=False)
    model = SequenceRegressor([length, 2], 32, cell)
    model.configure_optimizers = lambda: torch.optim.Adam(model.parameters(), lr)
    return model


def test_logged_losses_are_means_over_all_examples_though_batches_differ_in_size():
    data = Adding(length=5, num_samples=12_500, batch_size=1000)  # evaluated in 1000 and 250
    model = regressor("gru", 5, lr=0.0)
    run = trainer()
    run.fit(model, datamodule=data)
    split = data.splits.train
    expected = F.mse_loss(model(split.inputs), split.targets).item()
    assert run.callback_metrics["train/loss"].item() == pytest.approx(expected, rel=1e-5)
    found = run.test(model, datamodule=data, verbose=False)[0]["test/loss"]
    split = data.splits.test
    assert found == pytest.approx(F.mse_loss(model(split.inputs), split.targets).item(), rel=1e-5)


def test_an_lstm_learns_to_add_over_ten_steps():
    data = Adding(length=10, num_samples=5000, batch_size=100)
    model = regressor("lstm", 10)
    run = trainer(max_epochs=8, gradient_clip_val=1.0)
    run.fit(model, datamodule=data)
    assert run.callback_metrics["val/loss"] < GUESS_ERROR / 10


def test_a_number_is_said_of_each_sequence_with_or_without_its_target():
    model, samples = regressor("rnn", 9).eval(), drawn(4)
    expected = model.network(samples.inputs)[:, 0]
    for batch in (samples.inputs, (samples.inputs, samples.targets)):
        assert torch.equal(model.predict_step(batch)["value"], expected)


def test_the_picture_has_a_line_for_each_cell_and_one_for_the_guess():
    results = {"rnn": {50: 0.16, 10: 0.01}, "lstm": {10: 0.001, 50: 0.002}}
    (axes,) = error_over_length(results, GUESS_ERROR).axes
    plain, gated, guess = axes.get_lines()
    assert plain.get_xydata().tolist() == [[10, 0.01], [50, 0.16]]
    assert gated.get_label() == "LSTM"
    assert set(guess.get_ydata()) == {GUESS_ERROR}

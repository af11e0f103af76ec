"""The recurrent classifier: how it reads, what it sums up, and its picture."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from paceline.lightning_modules.blocks.recurrent import CELLS, RecurrentLayers
from paceline.lightning_modules.data.digits import Digits
from paceline.lightning_modules.pictures.unrolled import unrolled_graph
from paceline.lightning_modules.rnn import RNN, RecurrentNetwork, step_shape
from torch import nn


def test_pictures_are_read_row_by_row_with_all_channels():
    network = RecurrentNetwork([3, 4, 5], 2, 8)
    x = torch.randn(2, 3, 4, 5)
    steps = network.steps(x)
    assert steps.shape == (2, 4, 15)
    for row in range(4):
        assert torch.equal(steps[:, row], x[:, :, row].flatten(1))


def test_signals_are_read_in_chunks_in_order():
    x = torch.arange(80.0).view(2, 40)
    assert torch.equal(RecurrentNetwork([40], 2, 8).steps(x)[0, :, 0], x[0])
    chunks = RecurrentNetwork([40], 2, 8, features_per_step=5).steps(x)
    assert chunks.shape == (2, 8, 5)
    assert torch.equal(chunks[1, 3], x[1, 15:20])


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_the_last_state_has_read_all_in_each_direction(cell, bidirectional):
    torch.manual_seed(0)
    network = RecurrentNetwork([6, 2], 3, 5, cell, 2, bidirectional).eval()
    x = torch.randn(4, 6, 2)
    reference = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[cell](
        2, 5, num_layers=2, bidirectional=bidirectional, batch_first=True
    )
    reference.load_state_dict(network.recurrent.layers.state_dict())
    outputs = reference(x)[0]
    read = outputs[:, -1, :5]
    if bidirectional:  # backwards, the last step read is the first of the sequence
        read = torch.cat((read, outputs[:, 0, 5:]), 1)
    torch.testing.assert_close(network(x), network.readout(read), rtol=0, atol=1e-6)


def test_the_mean_summary_is_the_mean_over_time():
    network = RecurrentNetwork([6, 2], 3, 5, "gru", bidirectional=True, summary="mean").eval()
    x = torch.randn(4, 6, 2)
    outputs, _ = network.recurrent(x)
    expected = network.readout(torch.stack(list(outputs.unbind(1))).mean(0))
    torch.testing.assert_close(network(x), expected, rtol=0, atol=1e-6)


def test_dropout_also_acts_before_the_scores_of_a_single_layer():
    torch.manual_seed(0)
    network = RecurrentNetwork([6, 2], 3, 50, dropout=0.5)
    x = torch.randn(4, 6, 2)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


def test_written_out_cells_give_the_scores_of_the_fused_ones():
    fused = RNN([1, 8, 8], 10, 16, "lstm", 2, True)
    written = RNN([1, 8, 8], 10, 16, "lstm", 2, True, fused=False)
    written.load_state_dict(fused.state_dict())
    x = torch.randn(4, 1, 8, 8)
    torch.testing.assert_close(written.eval()(x), fused.eval()(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("in_shape", "features", "message"),
    [
        ([40], 3, "`features_per_step` must be a divisor of the signal's length 40, but is 3"),
        ([40], 0, "`features_per_step` must be a divisor"),
        ([1, 8, 8], 2, "`features_per_step` must be left at 1 unless the inputs are signals"),
        ([1, 2, 3, 4], 1, r"`in_shape` must be \[C, H, W\], \[T, D\] or \[N\]"),
    ],
)
def test_inputs_that_cannot_be_read_are_told(in_shape, features, message):
    with pytest.raises(ValueError, match=message):
        step_shape(in_shape, features)


def test_an_unknown_summary_is_told():
    with pytest.raises(ValueError, match="`summary` must be one of last, mean, but is 'max'"):
        RNN([40], 10, summary="max")  # pyright: ignore[reportArgumentType]


def test_a_plain_rnn_learns_to_read_digits():
    pl.seed_everything(1, verbose=False)
    model = RNN([1, 8, 8], 10, 64, "rnn")
    model.configure_optimizers = lambda: torch.optim.Adam(model.parameters(), 5e-3)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=15,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, datamodule=Digits(batch_size=64))
    assert trainer.callback_metrics["val/accuracy"] > 0.9  # by guessing 0.1


def nodes(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def arrows(figure) -> int:
    return sum(not text.get_text() for text in figure.axes[0].texts)


def test_the_graph_of_a_long_sequence_shows_its_first_steps_and_its_last():
    figure = unrolled_graph(RecurrentLayers(28, 16, "lstm"), 28)
    shown = nodes(figure)
    assert [t for t in shown if t.startswith("$x")] == ["$x_{1}$", "$x_{2}$", "$x_{3}$", "$x_{28}$"]
    assert shown.count("$y$") == 1
    assert arrows(figure) == 4 + 4 + 1  # inputs, states along time, the last state to y
    assert figure.legends[0].get_texts()[0].get_text() == "layer 1: W 64 x 28 (dashed), U 64 x 16"


@pytest.mark.parametrize(("readout", "to_result"), [("last", 2), ("mean", 6), ("each", 6)])
def test_the_graph_of_deep_layers_in_both_directions_has_every_arrow(readout, to_result):
    figure = unrolled_graph(RecurrentLayers(4, 8, "gru", 2, True), 3, readout)
    upwards = 3 * 2 + 3 * 4  # each input to two states; both lower states to both upper ones
    along = 4 * 3
    assert arrows(figure) == upwards + along + to_result
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [name.partition(":")[0] for name in names] == [
        "layer 1, forwards",
        "layer 1, backwards",
        "layer 2, forwards",
        "layer 2, backwards",
    ]


def test_the_graph_of_one_step_can_be_drawn(tmp_path):
    figure = unrolled_graph(RecurrentLayers(4, 8, "rnn", 1, True), 1)
    figure.savefig(tmp_path / "unrolled.png")
    assert arrows(figure) == 2 + 2 + 2

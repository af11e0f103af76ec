"""Recurrent layers: the written-out cells and the fused ones against torch.nn and by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from paceline.lightning_modules.blocks.recurrent import (
    CELLS,
    RecurrentLayers,
    detach_state,
    zero_state,
)
from paceline.lightning_modules.blocks.recurrent_cells import (
    CellWeights,
    gru_step,
    lstm_step,
    rnn_step,
)
from torch import nn

TORCH = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
B, T, D, H = 3, 5, 4, 6
SHAPES = list(itertools.product(CELLS, (1, 3), (False, True)))


def parts(state) -> list[torch.Tensor]:
    return list(state) if isinstance(state, tuple) else [state]


def random_state(layers: RecurrentLayers):
    made = [torch.randn_like(part).requires_grad_() for part in parts(zero_state(layers, B))]
    return tuple(made) if len(made) == 2 else made[0]


def run(module: nn.Module, inputs: torch.Tensor, state) -> list[torch.Tensor]:
    """Outputs, state after, and the gradients of inputs, state and parameters, by name."""
    inputs = inputs.clone().requires_grad_()
    outputs, after = module(inputs, state)
    total = outputs.square().sum() + sum((part * 3).sin().sum() for part in parts(after))
    wanted = [inputs, *parts(state), *(p for _, p in sorted(module.named_parameters()))]
    return [outputs, *parts(after), *torch.autograd.grad(total, wanted)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize(("cell", "num_layers", "bidirectional"), SHAPES)
@pytest.mark.parametrize("fused", [False, True])
def test_outputs_states_and_gradients_are_those_of_torch(
    cell, num_layers, bidirectional, fused, dtype, tolerance
):
    torch.manual_seed(0)
    reference = TORCH[cell](
        D, H, num_layers=num_layers, bidirectional=bidirectional, batch_first=True
    ).to(dtype)
    ours = RecurrentLayers(D, H, cell, num_layers, bidirectional, fused=fused).to(dtype)
    ours.layers.load_state_dict(reference.state_dict())
    inputs, state = torch.randn(B, T, D, dtype=dtype), random_state(ours)
    expected, found = run(reference, inputs, state), run(ours, inputs, state)
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(b, a, rtol=tolerance, atol=tolerance)
    for a, b in zip(expected[:2], found[:2], strict=True):  # what is promised of the numbers
        torch.testing.assert_close(b, a, rtol=0, atol=min(tolerance, 1e-6))


@pytest.mark.parametrize(("cell", "num_layers", "bidirectional"), SHAPES)
def test_a_state_dict_moves_between_the_fused_and_the_written_out_cells(
    cell, num_layers, bidirectional
):
    fused = RecurrentLayers(D, H, cell, num_layers, bidirectional)
    written = RecurrentLayers(D, H, cell, num_layers, bidirectional, fused=False)
    written.load_state_dict(fused.state_dict(), strict=True)
    inputs = torch.randn(B, T, D)
    (a, a_state), (b, b_state) = fused(inputs), written(inputs)
    torch.testing.assert_close(b, a, rtol=0, atol=1e-6)
    for one, other in zip(parts(a_state), parts(b_state), strict=True):
        assert one.shape == other.shape == (num_layers * (1 + bidirectional), B, H)
        torch.testing.assert_close(other, one, rtol=0, atol=1e-6)


def numbers(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def weights_of(gates: int) -> tuple[list[np.ndarray], CellWeights]:
    shapes = ((gates * H, D), (gates * H, H), (gates * H,), (gates * H,))
    arrays = [numbers(shape, seed) for seed, shape in enumerate(shapes)]
    return arrays, CellWeights(*map(torch.from_numpy, arrays))


def assert_equal(found: torch.Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)


def test_the_plain_step_is_elmans_equation():
    (w, u, b, d), weights = weights_of(1)
    x, h = numbers((B, D), 7), numbers((B, H), 8)
    expected = np.tanh(x @ w.T + b + h @ u.T + d)
    assert_equal(rnn_step(torch.from_numpy(x), torch.from_numpy(h), weights), expected)


def test_the_gru_step_mixes_the_old_state_with_a_new_one():
    (w, u, b, d), weights = weights_of(3)
    x, h = numbers((B, D), 7), numbers((B, H), 8)
    r, z, n = (slice(k * H, (k + 1) * H) for k in range(3))
    reset = sigmoid(x @ w[r].T + b[r] + h @ u[r].T + d[r])
    update = sigmoid(x @ w[z].T + b[z] + h @ u[z].T + d[z])
    new = np.tanh(x @ w[n].T + b[n] + reset * (h @ u[n].T + d[n]))
    expected = (1 - update) * new + update * h
    assert_equal(gru_step(torch.from_numpy(x), torch.from_numpy(h), weights), expected)


def test_the_lstm_step_keeps_writes_and_reads_the_memory():
    (w, u, b, d), weights = weights_of(4)
    x, h, c = numbers((B, D), 7), numbers((B, H), 8), numbers((B, H), 9)
    i, f, g, o = (
        x @ w[k].T + b[k] + h @ u[k].T + d[k]
        for k in (slice(gate * H, (gate + 1) * H) for gate in range(4))
    )
    memory = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    state = torch.from_numpy(h), torch.from_numpy(c)
    output, kept = lstm_step(torch.from_numpy(x), state, weights)
    assert_equal(kept, memory)
    assert_equal(output, sigmoid(o) * np.tanh(memory))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_a_sequence_read_in_two_pieces_ends_in_the_same_state(cell, fused):
    layers, inputs = RecurrentLayers(D, H, cell, 2, fused=fused), torch.randn(B, T, D)
    outputs, state = layers(inputs)
    first, between = layers(inputs[:, :2])
    second, after = layers(inputs[:, 2:], detach_state(between))
    torch.testing.assert_close(torch.cat((first, second), 1), outputs, rtol=0, atol=1e-6)
    for one, other in zip(parts(after), parts(state), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_a_detached_state_has_no_past():
    _, state = RecurrentLayers(D, H, "lstm")(torch.randn(B, T, D))
    assert all(part.requires_grad for part in parts(state))
    assert not any(part.requires_grad for part in parts(detach_state(state)))


@pytest.mark.parametrize("cell", CELLS)
def test_both_directions_see_the_whole_sequence_and_one_direction_only_its_past(cell):
    for bidirectional in (False, True):
        layers = RecurrentLayers(D, H, cell, bidirectional=bidirectional)
        inputs = torch.randn(B, T, D, requires_grad=True)
        (gradient,) = torch.autograd.grad(layers(inputs)[0][:, 2].sum(), inputs)
        seen = gradient.abs().sum((0, 2)) > 0
        assert seen.tolist() == [True] * 3 + [bidirectional] * 2


def test_dropout_acts_between_the_layers_of_the_written_out_cells_and_only_in_training():
    layers = RecurrentLayers(D, 200, "gru", 2, dropout=0.5, fused=False)
    inputs = torch.randn(B, T, D)
    assert not torch.equal(layers(inputs)[0], layers(inputs)[0])
    layers.eval()
    assert torch.equal(layers(inputs)[0], layers(inputs)[0])
    kept = layers.train()(inputs)[1][0]  # the lower layer is not touched
    torch.testing.assert_close(kept, layers.eval()(inputs)[1][0])


@pytest.mark.parametrize(("cell", "gates"), [("rnn", 1), ("gru", 3), ("lstm", 4)])
def test_each_gates_weights_start_orthonormal_and_biases_at_zero_but_the_forget_gates(cell, gates):
    layers = RecurrentLayers(H, H, cell, 2, bidirectional=True)
    for layer, reverse in itertools.product((0, 1), (False, True)):
        weights = layers.weights(layer, reverse)
        for gate in weights.weight_hh.chunk(gates):
            torch.testing.assert_close(gate @ gate.T, torch.eye(H), rtol=0, atol=1e-5)
        bias = (weights.bias_ih + weights.bias_hh).view(gates, H)
        expected = torch.zeros(gates, H)
        if cell == "lstm":
            expected[1] = 1
        assert torch.equal(bias, expected)


def test_forget_gates_start_where_told():
    weights = RecurrentLayers(D, H, forget_bias=-2.0).weights(0)
    assert torch.equal((weights.bias_ih + weights.bias_hh)[H : 2 * H], torch.full((H,), -2.0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cell": "ltsm"}, "`cell` must be one of rnn, gru, lstm, but is 'ltsm'"),
        ({"hidden_size": 0}, "`hidden_size` must be at least 1"),
        ({"num_layers": 0}, "`num_layers` must be at least 1"),
        ({"dropout": 0.5}, "`dropout` must be 0 with one layer"),
        ({"dropout": 1.0, "num_layers": 2}, r"`dropout` must be in \[0, 1\)"),
        ({"cell": "gru", "forget_bias": 0.0}, "`forget_bias` must be left at 1"),
        ({"forget_bias": float("nan")}, "`forget_bias` must be a finite number"),
        ({"weight_init": "orthonormal"}, "`weight_init` must be one of"),
    ],
)
def test_wrong_arguments_are_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        RecurrentLayers(**{"in_features": D, "hidden_size": H, **arguments})

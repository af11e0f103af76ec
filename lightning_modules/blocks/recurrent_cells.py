"""One time step of the three recurrent cells, each as its equations.

Deck, slides "Recurrent Neural Network" ("applying a recurrence formula at every step") and "Long
short-term Memory". A cell maps the input x and the state before it to the state after it, with the
same weights at every step. The weights lie as in `torch.nn`: those of all gates below each other,
and each gate has two biases, of which one would do.
B batch, D features, H units, G gates (1, 3 or 4), T time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

LSTMState = tuple[Tensor, Tensor]


class CellWeights(NamedTuple):
    """The weights of one layer in one direction.

    Args:
        weight_ih: W, from the input, (G H, D).
        weight_hh: U, from the state, (G H, H).
        bias_ih: Of W x, (G H,).
        bias_hh: Of U h, (G H,).
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor
    bias_hh: Tensor

    def of_input(self, x: Tensor) -> Tensor:
        """W x + b: (B, D) to (B, G H)."""
        return F.linear(x, self.weight_ih, self.bias_ih)

    def of_state(self, h: Tensor) -> Tensor:
        """U h + b: (B, H) to (B, G H)."""
        return F.linear(h, self.weight_hh, self.bias_hh)


def rnn_step(x: Tensor, h: Tensor, weights: CellWeights) -> Tensor:
    """The plain cell: h' = tanh(W x + U h + b).

    Elman 1990, "Finding Structure in Time", with tanh for the logistic function.

    Args:
        x: Input of this step, (B, D).
        h: State before it, (B, H).
        weights: G = 1.

    Returns:
        h', (B, H).
    """
    return (weights.of_input(x) + weights.of_state(h)).tanh()


def gru_step(x: Tensor, h: Tensor, weights: CellWeights) -> Tensor:
    """The gated recurrent unit: h' = z h + (1 - z) n, an old state mixed with a new one.

    Reset gate r = sigmoid(W_r x + U_r h + b_r), update gate z = sigmoid(W_z x + U_z h + b_z), new
    state n = tanh(W_n x + b_n + r (U_n h + c_n)). Cho et al. 2014, "Learning Phrase Representations
    using RNN Encoder-Decoder", section 2.3; there r multiplies h before U_n does, here after, as
    in `torch.nn` and cuDNN: all products with U are then one.

    Args:
        x: Input of this step, (B, D).
        h: State before it, (B, H).
        weights: G = 3, in the order r, z, n.

    Returns:
        h', (B, H).
    """
    reset_x, update_x, new_x = weights.of_input(x).chunk(3, 1)  # (B, H) each
    reset_h, update_h, new_h = weights.of_state(h).chunk(3, 1)  # (B, H) each
    reset_gate = (reset_x + reset_h).sigmoid()
    update_gate = (update_x + update_h).sigmoid()
    new = (new_x + reset_gate * new_h).tanh()
    return update_gate * h + (1 - update_gate) * new


def lstm_step(x: Tensor, state: LSTMState, weights: CellWeights) -> LSTMState:
    """Long short-term memory: c' = f c + i g, what is kept plus what is written; h' = o tanh(c').

    Input, forget and output gate i, f, o = sigmoid(W x + U h + b) and candidate g = tanh(W x + U h
    + b), each with weights of its own. Hochreiter and Schmidhuber 1997, "Long Short-Term Memory",
    section 4; the forget gate is of Gers, Schmidhuber and Cummins 2000, "Learning to Forget". The
    gates do not look at the memory (no peepholes).

    Args:
        x: Input of this step, (B, D).
        state: Output h and memory c before it, (B, H) each.
        weights: G = 4, in the order i, f, g, o.

    Returns:
        h' and c', (B, H) each.
    """
    h, c = state
    gates = weights.of_input(x) + weights.of_state(h)  # (B, 4 H)
    input_gate, forget_gate, candidate, output_gate = gates.chunk(4, 1)  # (B, H) each
    c = forget_gate.sigmoid() * c + input_gate.sigmoid() * candidate.tanh()
    return output_gate.sigmoid() * c.tanh(), c


STEPS: dict[str, Callable[..., Any]] = {"rnn": rnn_step, "gru": gru_step, "lstm": lstm_step}


def run_cell(cell: str, inputs: Tensor, state: Any, weights: CellWeights) -> tuple[Tensor, Any]:
    """Apply a cell at every step, from the first to the last.

    Args:
        cell: One of `STEPS`.
        inputs: (B, T, D), T at least 1.
        state: The state before the first step, as the cell takes it.
        weights: Of the cell.

    Returns:
        The outputs h of all steps, (B, T, H), and the state after the last one.
    """
    step, outputs = STEPS[cell], []
    for x in inputs.unbind(1):  # (B, D)
        state = step(x, state, weights)
        outputs.append(state[0] if cell == "lstm" else state)
    return torch.stack(outputs, 1), state

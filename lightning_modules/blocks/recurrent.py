"""Recurrent layers: a cell along time, several layers deep, in one or both directions.

Deck, slides "Recurrent Neural Network", "More RNN Structures" (bidirectional: Schuster and Paliwal
1997, "Bidirectional Recurrent Neural Networks"; deep) and "Long short-term Memory". One set of
weights serves two ways of computing: `torch.nn`'s fused kernels, and the cells written out from
their equations, which are slower but can be read and changed. They give the same numbers.
B batch, T time, D features, H units, L layers, 2 directions where `bidirectional`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .checks import require, require_one_of
from .initializers import WeightInit, check_weight_init, init_weights
from .recurrent_cells import CellWeights, run_cell

Cell = Literal["rnn", "gru", "lstm"]
CELLS = ("rnn", "gru", "lstm")
State = Tensor | tuple[Tensor, Tensor]  # (L directions, B, H), of an LSTM h and c

_MODULES: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
_GATES = {"rnn": 1, "gru": 3, "lstm": 4}
_PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class RecurrentLayers(nn.Module):
    """Layers of recurrent cells; each layer reads the outputs of the one below.

    The parameters are those of `torch.nn.RNN`, `GRU` or `LSTM`, found in `layers`: `weight_ih_l0`,
    `weight_hh_l0`, ... and `..._reverse`. Biases start at zero, but for the LSTM's forget gates.

    Args:
        in_features: D.
        hidden_size: H, at least 1.
        cell: `rnn` (with tanh), `gru` or `lstm`.
        num_layers: L, at least 1.
        bidirectional: Whether each layer also reads from the last step to the first, with weights
            of its own; its outputs follow those of the first direction.
        dropout: Share of outputs silenced between layers while training, in [0, 1).
        weight_init: How each gate's weights start. `orthogonal` keeps the length of the plain
            cell's state from step to step.
        fused: Whether to run `torch.nn`'s kernels; else the cells as `recurrent_cells.py` has them.
        weight_init_std: Standard deviation of `normal`.
        forget_bias: Where the LSTM's forget gates start; at 1 they keep 73 % of the memory a step
            (Gers et al. 2000, section 5; Jozefowicz et al. 2015, section 2.2).

    Raises:
        ValueError: If an argument is outside its range, or set where it has no effect.
    """

    def __init__(
        self,
        in_features: int,
        hidden_size: int,
        cell: Cell = "lstm",
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        weight_init: WeightInit = "orthogonal",
        fused: bool = True,
        *,
        weight_init_std: float = 0.01,
        forget_bias: float = 1.0,
    ):
        super().__init__()
        check_recurrent(in_features, hidden_size, cell, num_layers, dropout, forget_bias)
        check_weight_init(weight_init, weight_init_std)
        self.in_features, self.hidden_size = in_features, hidden_size
        self.cell, self.num_layers = cell, num_layers
        self.num_directions = 2 if bidirectional else 1
        self.dropout, self.fused = dropout, fused
        self.layers = _MODULES[cell](
            in_features,
            hidden_size,
            num_layers=num_layers,
            batch_first=True,
            dropout=dropout,
            bidirectional=bidirectional,
        )
        self._start(weight_init, weight_init_std, forget_bias)

    @property
    def out_features(self) -> int:
        """Numbers in one step's output: H, twice that in both directions."""
        return self.hidden_size * self.num_directions

    @torch.no_grad()
    def _start(self, weight_init: str, std: float, forget_bias: float) -> None:
        for name, parameter in self.layers.named_parameters():
            for gate, rows in enumerate(parameter.chunk(_GATES[self.cell])):
                if name.startswith("weight"):
                    holder = nn.Module()
                    holder.weight = nn.Parameter(rows)  # shares its memory
                    init_weights(holder, weight_init, std=std)
                else:
                    forgets = self.cell == "lstm" and gate == 1 and name.startswith("bias_ih")
                    rows.fill_(forget_bias if forgets else 0.0)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read sequences to their end.

        Args:
            inputs: (B, T, D), T at least 1.
            state: State before the first step, (L directions, B, H), of an LSTM a pair (h, c);
                default: zeros.

        Returns:
            The top layer's outputs, (B, T, H directions), and the state after the last step (the
            reverse direction's: after the first), shaped as `state`.
        """
        if self.fused:
            return self.layers(inputs, state)
        state = zero_state(self, len(inputs)) if state is None else state
        pairs = self.cell == "lstm"
        before = list(zip(*state, strict=True)) if pairs else list(state)  # L directions
        after, outputs = [], inputs
        for layer in range(self.num_layers):
            if layer:
                outputs = F.dropout(outputs, self.dropout, self.training)
            directions = []
            for reverse in range(self.num_directions):
                weights = self.weights(layer, bool(reverse))
                x = outputs.flip(1) if reverse else outputs
                h, end = run_cell(self.cell, x, before[len(after)], weights)
                directions.append(h.flip(1) if reverse else h)
                after.append(end)
            outputs = torch.cat(directions, 2)  # (B, T, H directions)
        if pairs:
            h, c = (torch.stack(parts) for parts in zip(*after, strict=True))
            return outputs, (h, c)
        return outputs, torch.stack(after)

    def weights(self, layer: int, reverse: bool = False) -> CellWeights:
        """The parameters of one layer (from 0) in one direction."""
        ending = f"_l{layer}" + "_reverse" * reverse
        return CellWeights(*(getattr(self.layers, name + ending) for name in _PARAMETERS))


def zero_state(layers: RecurrentLayers, batch_size: int) -> State:
    """The state before a sequence: zeros (L directions, B, H), of an LSTM a pair of them."""
    like = layers.weights(0).weight_hh
    shape = (layers.num_layers * layers.num_directions, batch_size, layers.hidden_size)
    if layers.cell == "lstm":
        return like.new_zeros(shape), like.new_zeros(shape)
    return like.new_zeros(shape)


def detach_state(state: State) -> State:
    """The same state without its past, for truncated backpropagation through time."""
    if isinstance(state, tuple):
        return state[0].detach(), state[1].detach()
    return state.detach()


def check_recurrent(
    in_features: int,
    hidden_size: int,
    cell: str,
    num_layers: int,
    dropout: float,
    forget_bias: float = 1.0,
) -> None:
    """Raise ValueError unless sizes and dropout are in range and each has something to act on."""
    require(in_features >= 1, "in_features", "at least 1", in_features)
    require(hidden_size >= 1, "hidden_size", "at least 1", hidden_size)
    require_one_of("cell", cell, CELLS)
    require(num_layers >= 1, "num_layers", "at least 1", num_layers)
    require(0 <= dropout < 1, "dropout", "in [0, 1)", dropout)
    rule = "0 with one layer: it acts between layers"
    require(num_layers > 1 or not dropout, "dropout", rule, dropout)
    require(abs(forget_bias) < float("inf"), "forget_bias", "a finite number", forget_bias)
    rule = "left at 1 unless `cell` is lstm"
    require(cell == "lstm" or forget_bias == 1, "forget_bias", rule, forget_bias)

"""The recurrent network as a classifier: it reads a sequence to its end, then says the class.

Deck, slides "Recurrent Neural Network", "RNN: Computational Graph" (many inputs, one output), "More
RNN Structures" and "Long short-term Memory". A picture is read row by row, from the top (Le, Jaitly
and Hinton 2015, "A Simple Way to Initialize Recurrent Networks", section 4.2, read it pixel by
pixel), a signal step by step. What is read is summed up in the last state, or in the mean output.
B batch, C channels, H x W picture, T time, D features of a step, S units of a state, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from .blocks.checks import require, require_one_of
from .blocks.initializers import WeightInit, init_weights
from .blocks.recurrent import Cell, RecurrentLayers
from .classifier import Classifier
from .shapes import require_num_classes, resolve_input

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Summary = Literal["last", "mean"]


def step_shape(in_shape: Sequence[int], features_per_step: int = 1) -> tuple[int, int]:
    """How an example is read: its steps T and the features D of a step.

    Args:
        in_shape: (C, H, W) of a picture: its H rows; (T, D) of a sequence; (N,) of a signal.
        features_per_step: D of a signal, a divisor of its length.

    Raises:
        ValueError: If a signal falls into no whole number of steps, or D is set for other inputs.
    """
    if len(in_shape) == 1:
        fits = features_per_step >= 1 and in_shape[0] % features_per_step == 0
        rule = f"a divisor of the signal's length {in_shape[0]}"
        require(fits, "features_per_step", rule, features_per_step)
        return in_shape[0] // features_per_step, features_per_step
    rule = "left at 1 unless the inputs are signals"
    require(features_per_step == 1, "features_per_step", rule, features_per_step)
    known = len(in_shape) in (2, 3)
    require(known, "in_shape", "[C, H, W], [T, D] or [N]", list(in_shape))
    if len(in_shape) == 3:
        return in_shape[1], in_shape[0] * in_shape[2]
    return in_shape[0], in_shape[1]


class RecurrentNetwork(nn.Module):
    """Recurrent layers over a sequence, its summary, and one linear map: many inputs, one output.

    Args:
        in_shape: Shape of one example, see `step_shape`.
        out_features: Numbers that are said of a sequence; a classifier's are K scores.
        hidden_size: S, units of each layer's state in one direction.
        cell: `rnn`, `gru` or `lstm`.
        num_layers: Layers above each other.
        bidirectional: Whether each layer also reads from the end to the beginning.
        summary: `last`: the top layer's state after it has read all, in both directions where
            there are two; `mean`: the mean of its outputs.
        dropout: Share of outputs silenced between layers and before the linear map, in [0, 1).
        features_per_step: D of a signal.
        weight_init: How weights start, each gate's by itself; biases start at zero.
        weight_init_std: Standard deviation of `normal`.
        forget_bias: Where the LSTM's forget gates start.
        fused: Whether the cells run in `torch.nn`'s kernels.

    Raises:
        ValueError: If an argument is outside its range, or set where it has no effect.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        out_features: int,
        hidden_size: int = 128,
        cell: Cell = "gru",
        num_layers: int = 1,
        bidirectional: bool = False,
        summary: Summary = "last",
        dropout: float = 0.0,
        features_per_step: int = 1,
        weight_init: WeightInit = "orthogonal",
        weight_init_std: float = 0.01,
        forget_bias: float = 1.0,
        fused: bool = True,
    ):
        super().__init__()
        require_one_of("summary", summary, ("last", "mean"))
        require(0 <= dropout < 1, "dropout", "in [0, 1)", dropout)
        self.num_steps, step_features = step_shape(in_shape, features_per_step)
        self.is_for_pictures = len(in_shape) == 3
        self.summary: Summary = summary
        self.recurrent = RecurrentLayers(
            step_features,
            hidden_size,
            cell,
            num_layers,
            bidirectional,
            dropout if num_layers > 1 else 0.0,
            weight_init,
            fused,
            weight_init_std=weight_init_std,
            forget_bias=forget_bias,
        )
        self.dropout = nn.Dropout(dropout)
        self.readout = nn.Linear(self.recurrent.out_features, out_features)
        init_weights(self.readout, weight_init, std=weight_init_std)

    def steps(self, x: Tensor) -> Tensor:
        """Examples as sequences: (B, *in_shape) to (B, T, D)."""
        if self.is_for_pictures:
            x = x.transpose(1, 2)  # (B, H, C, W)
        return x.reshape(len(x), self.num_steps, self.recurrent.in_features)  # (B, T, D)

    def forward(self, x: Tensor) -> Tensor:
        """Map examples (B, *in_shape) to what is said of them, (B, out_features)."""
        outputs, state = self.recurrent(self.steps(x))
        if self.summary == "mean":
            read = outputs.mean(1)  # (B, S directions)
        else:
            h = state[0] if isinstance(state, tuple) else state  # (layers directions, B, S)
            top = h[-self.recurrent.num_directions :].transpose(0, 1)  # (B, directions, S)
            read = top.flatten(1)  # (B, S directions)
        return self.readout(self.dropout(read))


class RNN(Classifier):
    """A recurrent network under the rule of `Classifier`.

    Args:
        in_shape: (C, H, W) of pictures, (T, D) of sequences or (N,) of signals; default: that of
            the data.
        num_classes: K; default: that of the data.
        hidden_size: Units of each layer's state in one direction.
        cell: `rnn`, `gru` or `lstm`.
        num_layers: Layers above each other.
        bidirectional: Whether each layer also reads from the end to the beginning.
        summary: What stands for the sequence: the `last` state or the `mean` output.
        dropout: Share of outputs silenced between layers and before the scores, in [0, 1).
        features_per_step: Numbers of a signal that are read at once; pictures are read by rows.
        weight_init: How weights start; `orthogonal` suits states that live long.
        weight_init_std: Standard deviation of `normal`.
        forget_bias: Where the LSTM's forget gates start.
        fused: Whether the cells run in `torch.nn`'s kernels, or as written out.
        **objective: See `Classifier`.

    Raises:
        ValueError: If an argument is outside its range, or set where it has no effect.
    """

    network: RecurrentNetwork

    def __init__(
        self,
        in_shape: list[int] | None = None,
        num_classes: int | None = None,
        hidden_size: int = 128,
        cell: Cell = "gru",
        num_layers: int = 1,
        bidirectional: bool = False,
        summary: Summary = "last",
        dropout: float = 0.0,
        features_per_step: int = 1,
        weight_init: WeightInit = "orthogonal",
        weight_init_std: float = 0.01,
        forget_bias: float = 1.0,
        fused: bool = True,
        **objective: Any,
    ):
        _, shape = resolve_input(None, in_shape)
        classes = require_num_classes(num_classes)
        network = RecurrentNetwork(
            shape,
            classes,
            hidden_size,
            cell,
            num_layers,
            bidirectional,
            summary,
            dropout,
            features_per_step,
            weight_init,
            weight_init_std,
            forget_bias,
            fused,
        )
        super().__init__(network, classes, torch.zeros(2, *shape), **objective)
        self.save_hyperparameters()

    def figures(self) -> dict[str, Figure]:
        """The classifier's pictures, and `unrolled`: the computational graph along time."""
        from .pictures.unrolled import unrolled_graph  # matplotlib takes a while to import

        net = self.network
        return super().figures() | {
            "unrolled": unrolled_graph(net.recurrent, net.num_steps, net.summary)
        }

"""What a value function sees of a state, and the function itself: v(s, w) or q(s, a, w).

Deck, slide "Deep Reinforcement Learning". Sutton and Barto 2018, section 9.5: a state is told by
features x(s); a linear function is w x(s), a network goes on from them. All features of all states
are one table, so that a batch of states is a look into it.
S states, C coordinates, D features, B batch, A outputs (actions, or 1).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from ...lightning_modules.blocks.activations import Activation
from ...lightning_modules.blocks.checks import require, require_one_of
from ...lightning_modules.blocks.initializers import WeightInit
from ...lightning_modules.blocks.layers import LayerStyle
from .tables import Table

Features = Literal["one_hot", "aggregation", "polynomial", "fourier"]
MOST_FEATURES = 10_000


def state_features(table: Table, kind: Features, size: int) -> Tensor:
    """Features (S, D) of all states, from where they lie.

    Args:
        table: Has the states and their coordinates.
        kind: `one_hot`: the state itself, D = S. `aggregation`: which group of neighbours, D =
            size^C (section 9.3). `polynomial`: products of powers up to `size`, D = (size + 1)^C
            (9.5.1). `fourier`: cos(pi c x) for whole-numbered c up to `size`, D = (size + 1)^C
            (9.5.2).
        size: Groups, highest power or highest frequency along each coordinate, at least 1.

    Raises:
        ValueError: If an argument is outside its range.
    """
    require_one_of("features", kind, ("one_hot", "aggregation", "polynomial", "fourier"))
    if kind == "one_hot":
        return torch.eye(table.num_states)
    places = table.coordinates  # (S, C)
    num_features = (size if kind == "aggregation" else size + 1) ** places.shape[1]
    rule = f"at least 1, and such that there are at most {MOST_FEATURES} features"
    require(size >= 1 and num_features <= MOST_FEATURES, "feature_size", rule, size)
    if kind == "aggregation":
        group = np.minimum((places * size).astype(int), size - 1)  # (S, C)
        number = group @ size ** np.arange(places.shape[1])[::-1]  # (S,)
        return torch.eye(num_features)[number]
    orders = np.array(list(itertools.product(range(size + 1), repeat=places.shape[1])))  # (D, C)
    if kind == "polynomial":
        values = (places[:, None] ** orders).prod(2)  # (S, D)
    else:
        values = np.cos(np.pi * places @ orders.T)  # (S, D)
    return torch.tensor(values, dtype=torch.float32)


class ValueNetwork(nn.Module):
    """Values of numbered states: linear in the features, or a network over them.

    A linear function begins at zero and has no bias.

    Args:
        features: (S, D).
        num_outputs: A.
        hidden_sizes: Units of the hidden layers, each at least 1; none: linear.
        activation: Name of the non-linearity.
        weight_init: How the weights of a network start.

    Raises:
        ValueError: If an argument is outside its range.
    """

    features: Tensor

    def __init__(
        self,
        features: Tensor,
        num_outputs: int,
        hidden_sizes: Sequence[int] = (),
        activation: Activation = "tanh",
        weight_init: WeightInit = "xavier",
    ):
        super().__init__()
        self.register_buffer("features", features, persistent=False)
        sizes, width = list(hidden_sizes), features.shape[1]
        require(all(size >= 1 for size in sizes), "hidden_sizes", "sizes of at least 1", sizes)
        style = LayerStyle(activation, weight_init=weight_init)
        layers: list[nn.Module] = []
        for size in sizes:
            layers += style.linear(width, size)
            width = size
        last = style.scores(width, num_outputs) if sizes else nn.Linear(width, num_outputs, False)
        if not sizes:
            nn.init.zeros_(last.weight)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, states: Tensor) -> Tensor:
        """States int64 (B,) to values (B, A)."""
        return self.layers(self.features[states])


def states_of(observations: Tensor) -> Tensor:
    """Numbers (B,) of states that are told by number (B,) or one-hot (B, S)."""
    return observations.argmax(1) if observations.ndim == 2 else observations.long()

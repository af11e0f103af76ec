"""Networks from observations to one number per action: action values, or scores of a policy.

Deck, slide "DQN". `mlp` for vectors and for the numbered states of a `Discrete` space, which it
takes one-hot; `cnn` for stacks of pictures is the network of Mnih et al. 2015 (Methods, "Model
architecture"). `dueling` says a state's value and each action's advantage apart (Wang et al. 2016,
equation 9). B batch, (*O) observation, D features, A actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from gymnasium import Space, spaces
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..lightning_modules.blocks.activations import Activation
from ..lightning_modules.blocks.checks import require, require_one_of
from ..lightning_modules.blocks.initializers import WeightInit
from ..lightning_modules.blocks.layers import LayerStyle
from .learning.rectifier_mlp import RectifierMLP

Network = Literal["mlp", "cnn"]

# Channels, kernel, stride of each convolution, then the units of the full layer.
NATURE = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
NATURE_UNITS = 512


class OneHot(nn.Module):
    """Numbered states (B,) as vectors (B, D) with a single one."""

    def __init__(self, num_states: int, first: int = 0):
        super().__init__()
        self.num_states, self.first = num_states, first

    def forward(self, states: Tensor) -> Tensor:
        """(B,) whole numbers to (B, D)."""
        return F.one_hot(states.long() - self.first, self.num_states).float()


class Vector(nn.Module):
    """Vectors of whatever numbers as floats."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) to (B, D)."""
        return x.flatten(1).float()


class Grey(nn.Module):
    """Bytes 0 to 255 as numbers 0 to 1."""

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, *O) to (B, *O)."""
        return pictures.float() / 255


class Dueling(nn.Module):
    """Value of the state plus the advantage of each action over their mean (Wang et al. 2016).

    Args:
        in_features: D.
        num_actions: A.
        style: How layers are made.
    """

    def __init__(self, in_features: int, num_actions: int, style: LayerStyle):
        super().__init__()
        self.value = style.scores(in_features, 1)
        self.advantage = style.scores(in_features, num_actions)

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) to (B, A)."""
        advantage = self.advantage(features)
        return self.value(features) + advantage - advantage.mean(1, keepdim=True)


def observation_shape(space: Space, network: Network) -> tuple[int, ...]:
    """(*O) of a space of observations that the network can take.

    Raises:
        ValueError: If it cannot: pictures for an MLP, vectors for a CNN, or a space of parts.
    """
    require_one_of("network", network, ("mlp", "cnn"))
    rule = "an environment with observations that are one array (Box) or one number (Discrete)"
    known = isinstance(space, spaces.Box | spaces.Discrete)
    require(known, "environment", rule, space)
    shape = tuple(space.shape or ())
    is_picture = len(shape) >= 2
    fitting = "cnn" if is_picture else "mlp"
    rule = f"{fitting} for observations of shape {shape}"
    require(network == fitting, "network", rule, network)
    rule = "an environment with pictures of shape (channels, height, width)"
    require(not is_picture or len(shape) == 3, "environment", rule, shape)
    return shape


def make_network(
    space: Space,
    num_outputs: int,
    network: Network = "mlp",
    hidden_sizes: Sequence[int] = (64, 64),
    activation: Activation = "relu",
    weight_init: WeightInit = "kaiming",
    weight_init_std: float = 0.01,
    dueling: bool = False,
) -> nn.Module:
    """A network for the observations of a space.

    An MLP of rectifiers on vectors is a `RectifierMLP`.

    Args:
        space: `Box` of vectors or of pictures (C, H, W), or `Discrete`.
        num_outputs: A.
        network: `mlp` or `cnn`.
        hidden_sizes: Units of the hidden layers of an MLP, each at least 1.
        activation: Name of the non-linearity.
        weight_init: How weights start.
        weight_init_std: Standard deviation of `normal`.
        dueling: Whether value and advantage are said apart.

    Raises:
        ValueError: If an argument is outside its range or does not fit the observations.
    """
    shape = observation_shape(space, network)
    style = LayerStyle(activation, weight_init=weight_init, weight_init_std=weight_init_std)
    sizes = list(hidden_sizes)
    require(all(size >= 1 for size in sizes), "hidden_sizes", "whole numbers of at least 1", sizes)
    body, width = _convolutions(space, style) if network == "cnn" else _inputs(space, shape)
    for size in sizes if network == "mlp" else [NATURE_UNITS]:
        body += style.linear(width, size)
        width = size
    head = Dueling(width, num_outputs, style) if dueling else style.scores(width, num_outputs)
    layers = [*body, head]
    if len(shape) == 1 and activation == "relu" and not dueling:
        return RectifierMLP([layer for layer in layers if isinstance(layer, nn.Linear)])
    return nn.Sequential(*layers)


def _inputs(space: Space, shape: tuple[int, ...]) -> tuple[list[nn.Module], int]:
    if isinstance(space, spaces.Discrete):
        return [OneHot(int(space.n), int(space.start))], int(space.n)
    return [Vector()], shape[0]


def _convolutions(space: Space, style: LayerStyle) -> tuple[list[nn.Module], int]:
    shape = channels, height, width = tuple(space.shape or ())
    layers: list[nn.Module] = [Grey()] if space.dtype == np.uint8 else []
    for out_channels, kernel, stride in NATURE:
        layers += style.convolution(channels, out_channels, kernel, stride=stride, padding=0)
        channels = out_channels
        height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
        rule = "pictures of at least 36 x 36"
        require(min(height, width) >= 1, "environment", rule, shape)
    return [*layers, nn.Flatten()], channels * height * width


@torch.no_grad()
def outputs(network: nn.Module, observations: NDArray, device: torch.device) -> NDArray:
    """What a network says, from NumPy to NumPy: observations (N, *O) to (N, A).

    Acting asks this at every step, so the plainest networks are run without their layers' calls.
    """
    given = torch.from_numpy(observations).to(device)
    said = network.values(given)[-1] if isinstance(network, RectifierMLP) else network(given)
    return said.cpu().numpy()

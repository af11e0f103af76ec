"""A network's first convolution: what it looks for, and what it finds in one example.

Its filters and feature maps are what Zeiler and Fergus (2014, section 4) look at to see what a
network has learned.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def first_convolution(network: nn.Module) -> nn.Conv1d | nn.Conv2d | None:
    """The layer with weights that is defined first, if it is a convolution."""
    layers = (m for m in network.modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Linear))
    first = next(layers, None)
    return None if isinstance(first, nn.Linear) else first


@torch.no_grad()
def feature_maps(network: nn.Module, x: Tensor) -> Tensor | None:
    """What the first convolution makes of one example.

    Args:
        network: The network, which is left as it was.
        x: A batch of one.

    Returns:
        Channels (N, H, W) or (N, D); None where the network has no first convolution, or did not
        call it.
    """
    layer = first_convolution(network)
    if layer is None:
        return None
    kept: list[Tensor] = []
    modes = {module: module.training for module in network.modules()}
    # A clone: an activation that works in place would write over it.
    handle = layer.register_forward_hook(lambda _, __, out: kept.append(out.detach().clone()))
    network.eval()  # of one example there are no batch statistics
    try:
        network(x)
    finally:
        handle.remove()
        for module, mode in modes.items():
            module.training = mode
    return kept[0][0] if kept else None

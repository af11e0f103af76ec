"""What makes a step cost less: a mixin of every training rule, and the layout of convolutions.

Lightning notes the name of each hook that it calls in `_current_fx_name`, some forty times a step,
and `nn.Module.__setattr__` looks through parameters, modules and buffers each time: 0.2 ms of the
1.2 ms that a step of an MLP takes at batch 64. No hook has to be given up to spare it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class LeanStep:
    """Mixin for a `LightningModule`; write it before that class among the bases."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; Lightning's note of the running hook goes straight to the dict."""
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def log_step(self, metrics: dict[str, Tensor]) -> None:
        """Write one batch's scalars now and then to the loggers: `self.log` costs 0.1 ms a batch.

        They are written every `trainer.log_every_n_steps` optimizer steps, never averaged and
        never waited for.
        """
        trainer: Any = self.trainer  # pyright: ignore[reportAttributeAccessIssue] (of the module)
        every = trainer.log_every_n_steps
        # Lightning steps after the module's step, unless the module did so itself.
        step = trainer.global_step + int(self.automatic_optimization)  # pyright: ignore[reportAttributeAccessIssue]
        if every and trainer.loggers and step % every == 0:
            # Tensors, not floats: a logger may read them on a thread of its own.
            kept = {name: value.detach() for name, value in metrics.items()}
            for logger in trainer.loggers:
                logger.log_metrics(kept, step)


def channels_last(network: nn.Module) -> nn.Module:
    """Lay the weights of a network's convolutions out with the channels next to each other.

    What they compute is the same up to rounding. On two CPU cores LeNet-5 then trains as fast as
    in a loop that does so too (1.02, without it 0.83); for ResNet-20 it makes no clear difference.

    Args:
        network: Changed in place.

    Returns:
        The network.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return network

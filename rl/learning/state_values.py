"""The value of a state under the policy, v(s), as a baseline of REINFORCE.

Deck, slide "Deep Reinforcement Learning": v(s, w). Sutton and Barto 2018, section 13.4. Returns may
be hundreds or hundredths, and grow as the policy learns; the network says them in units of the
returns seen last, so that one learning rate fits all (as van Hasselt et al. 2016, "Learning values
across many orders of magnitude", but without their correction of the last layer: a baseline may be
off for a while). B states, (*O) shape of an observation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class StateValues(nn.Module):
    """v(s) = mean + standard deviation * network(s).

    Args:
        network: Observations (B, *O) to (B, 1).
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))

    def forward(self, observations: Tensor) -> Tensor:
        """(B, *O) to (B,)."""
        return self.mean + self.deviation * self.network(observations).squeeze(1)

    def rescale(self, mean: Tensor, deviation: Tensor) -> None:
        """Say values in units of returns with this mean and standard deviation, scalars."""
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(deviation > 1e-6, deviation, 1.0))

    def loss(self, observations: Tensor, returns: Tensor) -> Tensor:
        """Mean squared error in units of the returns' variance, a scalar.

        Args:
            observations: (B, *O).
            returns: (B,), what followed.
        """
        wanted = (returns - self.mean) / self.deviation
        return F.mse_loss(self.network(observations).squeeze(1), wanted)

"""The deck's optimizers that torch has only as options of SGD.

Deck, recap "Zooming In": SGD, Momentum, RMSProp, Adagrad, Adam. All but these two are the classes
of `torch.optim` themselves, under the catalog's names.
"""

from __future__ import annotations

from torch.optim import SGD
from torch.optim.optimizer import ParamsT

from .checks import require


class Momentum(SGD):
    """Gradient descent with a heavy ball: v <- momentum v + g, w <- w - lr v (Polyak 1964).

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate, > 0.
        momentum: Share of the velocity kept at each step, in [0, 1).
        weight_decay: L2 shrinking, w <- w - lr weight_decay w; >= 0.
        foreach: See `torch.optim.SGD`.
        fused: See `torch.optim.SGD`.

    Raises:
        ValueError: If a number is outside its range.
    """

    nesterov = False

    def __init__(
        self,
        params: ParamsT,
        lr: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        fused: bool | None = None,
    ):
        require(0 < lr < float("inf"), "lr", "a positive number", lr)
        require(0 <= momentum < 1, "momentum", "in [0, 1)", momentum)
        require(0 <= weight_decay < float("inf"), "weight_decay", "0 or above", weight_decay)
        super().__init__(
            params,
            lr,
            momentum,
            weight_decay=weight_decay,
            # torch refuses Nesterov's form of a momentum of 0; without momentum both are SGD.
            nesterov=self.nesterov and momentum > 0,
            foreach=foreach,
            fused=fused,
        )


class Nesterov(Momentum):
    """Momentum whose gradient looks one step ahead (Nesterov 1983).

    In the form of Sutskever et al. 2013, section 2, as torch has it, with `Momentum`'s arguments.
    """

    nesterov = True

from __future__ import annotations

import numpy as np
import pytest
import torch
from paceline.lightning_modules.blocks.optimizers import Momentum, Nesterov

SCALE = torch.tensor([1.0, 10.0], dtype=torch.float64)  # f(w) = (w1^2 + 10 w2^2) / 2


def descend(optimizer_class: type, steps: int = 20, **options) -> np.ndarray:
    w = torch.nn.Parameter(torch.tensor([3.0, -2.0], dtype=torch.float64))
    optimizer = optimizer_class([w], **options)
    for _ in range(steps):
        optimizer.zero_grad()
        (SCALE * w * w).sum().div(2).backward()
        optimizer.step()
    return w.detach().numpy()


def by_hand(nesterov: bool, lr: float, momentum: float, weight_decay: float) -> np.ndarray:
    """The update rule of the docstring, written out."""
    w, v = np.array([3.0, -2.0]), np.zeros(2)
    for _ in range(20):
        g = SCALE.numpy() * w + weight_decay * w
        v = momentum * v + g
        w = w - lr * (g + momentum * v if nesterov else v)
    return w


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize(("kind", "nesterov"), [(Momentum, False), (Nesterov, True)])
def test_steps_follow_the_rule_written_out(kind, nesterov, momentum):
    found = descend(kind, lr=0.05, momentum=momentum, weight_decay=0.1)
    np.testing.assert_allclose(found, by_hand(nesterov, 0.05, momentum, 0.1), atol=1e-12)


def test_momentum_is_nine_tenths_unless_told_otherwise():
    np.testing.assert_array_equal(
        descend(Momentum, lr=0.02), descend(Momentum, lr=0.02, momentum=0.9)
    )


def test_fused_steps_are_the_same():
    plain, fused = (descend(Nesterov, lr=0.02, fused=fused) for fused in (False, True))
    np.testing.assert_allclose(plain, fused, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -0.1}, "`lr` must be a positive number, but is -0.1."),
        ({"lr": float("nan")}, "`lr` must be a positive number, but is nan."),
        ({"momentum": 1.0}, "`momentum` must be in [0, 1), but is 1.0."),
        ({"weight_decay": -1.0}, "`weight_decay` must be 0 or above, but is -1.0."),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match="must be") as caught:
        descend(Momentum, **options)
    assert str(caught.value) == message

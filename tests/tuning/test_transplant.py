"""A copy's checkpoint: the donor's moments and counters, the copy's own settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from paceline.lightning_modules.blocks import schedules as ours
from paceline.tuning.population.transplant import Fresh, transplanted
from pytorch_lightning import LightningModule
from torch import nn
from torch.optim import lr_scheduler as theirs

TOTAL, BEFORE = 40, 13
DONOR_LR, OWN_LR = 0.2, 0.05
Make = Callable[[torch.optim.Optimizer], Any]

SCHEDULES: dict[str, Make] = {
    "step": lambda o: theirs.StepLR(o, 5, 0.5),
    "multistep": lambda o: theirs.MultiStepLR(o, [7, 20], 0.3),
    "exponential": lambda o: theirs.ExponentialLR(o, 0.9),
    "cosine": lambda o: theirs.CosineAnnealingLR(o, TOTAL),
    "linear": lambda o: theirs.LinearLR(o, 0.1, 1.0, 20),
    "constant": lambda o: theirs.ConstantLR(o, 0.5, 20),
    "polynomial": lambda o: theirs.PolynomialLR(o, TOTAL, 2.0),
    "restarts": lambda o: theirs.CosineAnnealingWarmRestarts(o, 9),
    "lambda": lambda o: theirs.LambdaLR(o, lambda t: 0.95**t),
    "sequence": lambda o: theirs.SequentialLR(
        o, [theirs.LinearLR(o, 0.1, 1.0, 5), theirs.LambdaLR(o, lambda t: 0.95**t)], [5]
    ),
    "step decay of ours": lambda o: ours.StepDecay(o, total_steps=TOTAL),
    "cosine of ours": lambda o: ours.CosineDecay(o, total_steps=TOTAL),
    "one cycle of ours": lambda o: ours.OneCycle(o, total_steps=TOTAL),
    "warm-up of ours": lambda o: ours.WarmUp(o, total_steps=TOTAL),
}


class Net(LightningModule):
    """One layer and a buffer."""

    def __init__(self, beta: float = 1.0):
        super().__init__()
        self.save_hyperparameters()
        self.layer = nn.Linear(2, 1)
        self.register_buffer("beta", torch.tensor(beta))


def started(lr: float, make: Make | None = None, beta: float = 1.0, **settings: Any) -> Any:
    torch.manual_seed(0)
    net = Net(beta)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, **settings)
    return net, optimizer, make(optimizer) if make else None


def settings_of(net: Net, optimizer: Any, schedule: Any) -> Fresh:
    states = [schedule.state_dict()] if schedule else []
    return Fresh([optimizer.state_dict()], states, {"beta": net.beta}, dict(net.hparams))


def train(net: Net, optimizer: Any, schedule: Any, steps: int) -> list[float]:
    rates = []
    for _ in range(steps):
        optimizer.zero_grad()
        net.layer(torch.ones(1, 2)).sum().backward()
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if schedule:
            schedule.step()
    return rates


def checkpoint(net: Net, optimizer: Any, schedule: Any) -> dict[str, Any]:
    return {
        "state_dict": net.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [schedule.state_dict()] if schedule else [],
        "hyper_parameters": dict(net.hparams),
    }


def copy_of(donor: Any, fresh_donor: Any, own: Any) -> dict[str, Any]:
    """The copy's checkpoint, loaded into its own objects as Lightning does it."""
    made = transplanted(checkpoint(*donor), settings_of(*fresh_donor), settings_of(*own))
    net, optimizer, schedule = own
    net.load_state_dict(made["state_dict"])
    optimizer.load_state_dict(made["optimizer_states"][0])
    if schedule:
        schedule.load_state_dict(made["lr_schedulers"][0])
    return made


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_copy_s_rates_go_on_as_if_its_own_schedule_had_run_from_the_start(name: str):
    make = SCHEDULES[name]
    donor, own = started(DONOR_LR, make), started(OWN_LR, make)
    train(*donor, BEFORE)
    copy_of(donor, started(DONOR_LR, make), own)
    expected = train(*started(OWN_LR, make), TOTAL)
    assert train(*own, TOTAL - BEFORE) == pytest.approx(expected[BEFORE:], rel=1e-9, abs=1e-15)
    donors = train(*started(DONOR_LR, make), TOTAL)
    assert donors[BEFORE] != pytest.approx(expected[BEFORE])  # an undone change would be seen


def test_without_a_change_the_checkpoint_is_the_donor_s():
    make = SCHEDULES["cosine"]
    donor = started(DONOR_LR, make, momentum=0.9)
    train(*donor, BEFORE)
    same = started(DONOR_LR, make, momentum=0.9)
    made = transplanted(checkpoint(*donor), settings_of(*same), settings_of(*same))
    assert made["optimizer_states"] == [donor[1].state_dict()]
    assert made["lr_schedulers"] == [donor[2].state_dict()]


def test_momentum_is_the_donor_s_and_its_decay_the_copy_s():
    donor, own = started(0.1, momentum=0.9), started(0.1, momentum=0.5, weight_decay=0.01)
    train(*donor, BEFORE)
    copy_of(donor, started(0.1, momentum=0.9), own)
    (group,) = own[1].param_groups
    assert (group["momentum"], group["weight_decay"], group["lr"]) == (0.5, 0.01, 0.1)
    for mine, yours in zip(own[0].parameters(), donor[0].parameters(), strict=True):
        assert torch.equal(mine, yours)
        buffers = [o.state[p]["momentum_buffer"] for o, p in ((own[1], mine), (donor[1], yours))]
        assert torch.equal(*buffers)
        assert buffers[0].abs().sum() > 5  # many steps are in it


def test_a_schedule_s_own_argument_changes_and_its_position_stays():
    slow, fast = (lambda o: theirs.ExponentialLR(o, 0.9)), (lambda o: theirs.ExponentialLR(o, 0.5))
    donor, own = started(0.1, slow), started(0.1, fast)
    train(*donor, 3)
    copy_of(donor, started(0.1, slow), own)
    assert own[2].last_epoch == 3
    assert train(*own, 2) == pytest.approx([0.1 * 0.9**3, 0.1 * 0.9**3 * 0.5])


def test_a_plateau_schedule_keeps_the_reductions_that_the_donor_has_made():
    def make(o: Any) -> Any:
        return theirs.ReduceLROnPlateau(o, factor=0.1, patience=0)

    donor, own = started(0.2, make), started(0.1, make)
    for loss in (1.0, 2.0):
        donor[2].step(loss)
    copy_of(donor, started(0.2, make), own)
    assert own[1].param_groups[0]["lr"] == pytest.approx(0.01)
    assert own[2].best == 1.0


def test_a_rate_that_began_at_nothing_is_set_and_not_scaled():
    donor, own = started(0.0), started(0.1)
    train(*donor, 2)
    copy_of(donor, started(0.0), own)
    assert own[1].param_groups[0]["lr"] == 0.1


def test_a_one_cycle_schedule_has_the_copy_s_peak():
    def make(peak: float) -> Make:
        return lambda o: theirs.OneCycleLR(o, peak, total_steps=TOTAL, cycle_momentum=False)

    donor, own = started(0.1, make(1.0)), started(0.1, make(0.5))
    train(*donor, BEFORE)
    copy_of(donor, started(0.1, make(1.0)), own)
    expected = train(*started(0.1, make(0.5)), TOTAL)[BEFORE:]
    assert train(*own, TOTAL - BEFORE) == pytest.approx(expected)


def test_an_argument_of_the_model_that_stands_in_a_buffer_is_the_copy_s():
    donor, own = started(0.1, beta=4.0), started(0.1, beta=2.0)
    made = copy_of(donor, started(0.1, beta=4.0), own)
    assert own[0].beta == 2.0
    assert made["hyper_parameters"] == {"beta": 2.0}


def test_optimizers_that_do_not_match_are_refused():
    donor = started(0.1)
    other = Fresh([], [], {}, {})
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        transplanted(checkpoint(*donor), other, other)

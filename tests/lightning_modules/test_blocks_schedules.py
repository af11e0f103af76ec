from __future__ import annotations

import pytest
import torch
from paceline.lightning_modules.blocks.schedules import (
    CosineDecay,
    OneCycle,
    Schedule,
    StepDecay,
    WarmUp,
)
from torch.optim import SGD
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
)

STEPS, LR = 100, 0.4


def optimizer() -> SGD:
    return SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)


def rates(scheduler: LRScheduler, steps: int = STEPS) -> list[float]:
    """The rate of each step, and the one after the last."""
    found = []
    for _ in range(steps):
        found.append(scheduler.get_last_lr()[0])
        scheduler.optimizer.step()
        scheduler.step()
    return [float(rate) for rate in (*found, scheduler.get_last_lr()[0])]


def test_step_decay_equals_torch():
    ours = StepDecay(optimizer(), drop_at=[0.3, 0.8], gamma=0.2, total_steps=STEPS)
    torchs = MultiStepLR(optimizer(), milestones=[30, 80], gamma=0.2)
    assert rates(ours) == pytest.approx(rates(torchs), abs=1e-12)


def test_cosine_decay_equals_torch():
    ours = CosineDecay(optimizer(), final=0.05, total_steps=STEPS)
    torchs = CosineAnnealingLR(optimizer(), T_max=STEPS, eta_min=0.05 * LR)
    assert rates(ours) == pytest.approx(rates(torchs), abs=1e-12)


def test_one_cycle_equals_torch():
    ours = OneCycle(optimizer(), peak_at=0.25, start=0.1, final=0.001, total_steps=STEPS)
    # torch counts points, not steps between them: one more point, its peak at the same place.
    torchs = OneCycleLR(
        optimizer(),
        max_lr=LR,
        total_steps=STEPS + 1,
        pct_start=(0.25 * STEPS + 1) / (STEPS + 1),
        div_factor=10,
        final_div_factor=100,
        cycle_momentum=False,
    )
    assert rates(ours) == pytest.approx(rates(torchs), abs=1e-12)


def test_warm_up_is_a_line_and_then_constant_or_torchs_cosine():
    constant = rates(WarmUp(optimizer(), share=0.2, then="constant", start=0.1, total_steps=STEPS))
    line = [LR * (0.1 + 0.9 * step / 20) for step in range(20)]
    assert constant == pytest.approx(line + [LR] * 81, abs=1e-12)
    cosine = rates(WarmUp(optimizer(), share=0.2, start=0.1, final=0.1, total_steps=STEPS))
    torchs = CosineAnnealingLR(optimizer(), T_max=80, eta_min=0.1 * LR)
    assert cosine == pytest.approx(line + rates(torchs, 80), abs=1e-12)


SCHEDULES = [StepDecay, CosineDecay, OneCycle, WarmUp]


@pytest.mark.parametrize("kind", SCHEDULES)
def test_lr_is_the_largest_rate_and_the_last_one_stays(kind):
    scheduler = kind(optimizer(), total_steps=STEPS)
    found = rates(scheduler, STEPS + 20)
    assert max(found) == pytest.approx(LR, rel=1e-3)
    assert set(found[STEPS:]) == {found[STEPS]}


@pytest.mark.parametrize("kind", SCHEDULES)
def test_restored_schedule_goes_on_where_it_was(kind):
    whole = rates(kind(optimizer(), total_steps=STEPS))
    first = kind(optimizer(), total_steps=STEPS)
    rates(first, 40)
    second = kind(optimizer(), total_steps=STEPS)
    second.load_state_dict(first.state_dict())
    assert rates(second, 60) == whole[40:]


def test_longer_run_follows_the_new_length_after_a_restore():
    first = CosineDecay(optimizer(), total_steps=STEPS)
    rates(first)
    second = CosineDecay(optimizer(), total_steps=2 * STEPS)
    second.load_state_dict(first.state_dict())
    assert rates(second)[1:] == rates(CosineDecay(optimizer(), total_steps=2 * STEPS), 200)[101:]


@pytest.mark.parametrize("steps", [None, 0, float("inf")])
def test_missing_number_of_steps_is_refused_with_the_remedy(steps):
    with pytest.raises(ValueError, match="`total_steps` must be a whole number") as caught:
        CosineDecay(optimizer(), total_steps=steps)
    assert "max_epochs" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (StepDecay, {"drop_at": [0.5, 1.5]}, "`drop_at` must be shares in \\(0, 1\\)"),
        (StepDecay, {"gamma": 0.0}, "`gamma` must be in \\(0, 1\\], but is 0.0"),
        (CosineDecay, {"final": float("nan")}, "`final` must be in \\[0, 1\\], but is nan"),
        (OneCycle, {"peak_at": 1.0}, "`peak_at` must be in \\(0, 1\\), but is 1.0"),
        (WarmUp, {"then": "cosin"}, "`then` must be one of constant, cosine, but is 'cosin'"),
        (WarmUp, {"share": 0.0}, "`share` must be in \\(0, 1\\), but is 0.0"),
    ],
)
def test_arguments_out_of_range_are_refused(kind: type[Schedule], options, message):
    with pytest.raises(ValueError, match=message):
        kind(optimizer(), total_steps=STEPS, **options)

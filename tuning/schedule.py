"""Which trials are stopped early: ASHA, or none.

Asynchronous successive halving (Li et al., "A System for Massively Parallel Hyperparameter Tuning",
2020, section 3): at the rungs r, r*eta, r*eta^2, ... epochs a trial goes on only when it is among
the best 1/eta of those that reached the rung so far. Its clock is the epoch that we report, which
survives a restart; Tune's own iteration count would not.
"""

from __future__ import annotations

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from ..platform.options import Sweep

TIME = "epoch"
SCORE = "score"
UNBOUNDED_EPOCHS = 1000  # Lightning's own limit when a config gives none


def rungs(sweep: Sweep, max_epochs: int) -> list[int]:
    """The epochs at which ASHA compares; none at the last epoch, where there is nothing to save."""
    found, epoch = [], sweep.grace_epochs
    while epoch < max_epochs:
        found.append(epoch)
        epoch *= sweep.reduction_factor
    return found


def make_scheduler(sweep: Sweep, max_epochs: int | None) -> TrialScheduler:
    """The scheduler that a config asks for.

    Args:
        sweep: The config's section.
        max_epochs: Epochs of one trial; None or negative: no limit.
    """
    if max_epochs is None or max_epochs < 0:
        max_epochs = UNBOUNDED_EPOCHS
    if sweep.scheduler == "none" or not rungs(sweep, max_epochs):
        return FIFOScheduler()
    return ASHAScheduler(
        time_attr=TIME,
        metric=SCORE,
        mode=sweep.mode,
        max_t=max_epochs - 1,
        grace_period=sweep.grace_epochs,
        reduction_factor=sweep.reduction_factor,
        stop_last_trials=False,  # a trial that is not the worst ends by itself, checkpoint and all
    )

"""K-FAC by its name in a sweep: as the optimizer of all trials, as one of several, its damping."""

from __future__ import annotations

import math
from typing import Any

import pytest
from paceline.lightning_modules.blocks.kfac import KFAC
from paceline.platform.arguments import parse
from paceline.platform.configuration.config import Config, load
from paceline.platform.examining.dry_run import Look, prepare_one_batch, run_one_batch
from paceline.tuning.plan import Plan, check_values, plan_sweep
from torch.optim import SGD, Optimizer


def plan_of(*words: str, space: dict[str, Any] | None = None) -> Plan:
    """What `paceline sweep WORDS` would try, every value of it built."""
    changes = parse(["sweep", *words]).changes
    if space is not None:
        changes["sweep.space"] = (space, "the test")
    plan = plan_sweep(load(words[0], changes))
    check_values(plan)
    return plan


def optimizer_after_a_step(config: Config) -> Optimizer:
    """What one training step was taken with."""
    one, built = prepare_one_batch(config)
    look = Look()
    trainer = run_one_batch(one, built, look)
    assert look.found.loss is not None
    assert math.isfinite(look.found.loss)
    return trainer.optimizers[0]


def test_all_trials_take_steps_by_k_fac_with_the_rate_and_the_decay_drawn():
    plan = plan_of("mlp", "--vary", "learning_rate,decay", "--optimizer", "KFAC")
    assert [knob.name for knob in plan.space.knobs] == ["learning_rate", "decay"]
    values = plan.space.sample(1, 0)
    optimizer = optimizer_after_a_step(plan.config.override(plan.space.assignments(values)))
    assert isinstance(optimizer, KFAC)
    (group,) = optimizer.param_groups
    # The schedule has already moved the rate; where it began is kept.
    assert group["initial_lr"] == pytest.approx(values["learning_rate"])
    assert group["weight_decay"] == pytest.approx(values["decay"])
    layers = optimizer._records
    assert layers is not None
    assert len(layers) == 3  # attached to the layers of 64-256-128-10


def test_k_fac_stands_beside_plain_gradient_descent_in_one_space():
    space = {
        "optimizer": {"to": ["optimizer.class_path"], "choice": ["KFAC", "SGD"]},
        "learning_rate": {"to": ["optimizer.init_args.lr"], "loguniform": [1e-3, 0.3]},
        "damping": {
            "to": ["optimizer.init_args.damping"],
            "loguniform": [1e-3, 1.0],
            "when": {"optimizer.class_path": ["KFAC"]},
        },
    }
    plan = plan_of("mlp", space=space)
    seen = {}
    for trial in range(6):
        values = plan.space.sample(1, trial)
        assert ("damping" in values) == (values["optimizer"] == "KFAC")
        seen[values["optimizer"]] = values
    assert set(seen) == {"KFAC", "SGD"}
    for name, kind in (("KFAC", KFAC), ("SGD", SGD)):
        config = plan.config.override(plan.space.assignments(seen[name]))
        assert type(optimizer_after_a_step(config)) is kind


def test_damping_is_a_knob_of_a_recipe_that_offers_k_fac():
    plan = plan_of("lenet-mnist")  # every bound and choice of it builds
    trial = next(t for t in range(50) if "damping" in plan.space.sample(1, t))  # one of six
    values = plan.space.sample(1, trial)
    assert values["optimizer"] == "KFAC"
    optimizer = optimizer_after_a_step(plan.config.override(plan.space.assignments(values)))
    assert isinstance(optimizer, KFAC)
    assert optimizer.damping == pytest.approx(values["damping"])

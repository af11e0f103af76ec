"""The spaces of the sequence, the coding and the generative families: each value builds and trains.

`paceline sweep` checks a space before its first trial; here that is done for a recipe of each
family, with one training step from random draws of the space, on few examples.
"""

from __future__ import annotations

import math

import pytest
import torch
from paceline.platform.configuration import config
from paceline.platform.errors import UserError
from paceline.platform.examining.dry_run import Look, prepare_one_batch, run_one_batch
from paceline.platform.training.fitting import prepare
from paceline.tuning.search.probe import check, probes
from paceline.tuning.search.space import Space, read_space

# Recipe -> what makes its data small.
RECIPES: dict[str, dict[str, int]] = {
    "rnn-digits": {},
    "lstm-adding": {"data.num_samples": 500, "data.length": 10},
    "reverse": {"data.num_train_pairs": 300, "data.num_held_out": 2},
    "tagger-recurring": {"data.num_samples": 300},
    "textcnn-language": {},
    "spell-digits": {},
    "recursive": {"data.num_samples": 300},
    "hello": {},
    "charlm": {"data.window": 8},
    "autoencoder-digits": {},
    "vae-digits": {},
    "gan-digits": {},
    "wgan-gp-ring": {"data.num_samples": 3000},
    "dcgan-fashion-mnist": {},
    "kmeans-digits": {},
}
KNOBS = {"learning_rate", "decay", "layer_size", "weight_init", "beta", "momentum", "gradient_clip"}


def small(recipe: str) -> tuple[config.Config, Space]:
    """A recipe's config with little data, and its space."""
    found = config.load(recipe, {k: (v, f"--{k}") for k, v in RECIPES[recipe].items()})
    try:
        prepare(found)
    except UserError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            pytest.skip(f"{recipe}: {error.what}")
        raise
    return found, read_space(found.sweep.space, found.resolved)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_bound_and_choice_of_a_familys_space_builds(recipe):
    found, space = small(recipe)
    tried = probes(space)
    for knob in space.knobs:
        values = [v[knob.name] for v in tried if knob.name in v]
        assert all(any(end is v or end == v for v in values) for end in knob.draws.ends()), knob
    assert check(space, lambda changes: prepare(found.override(changes))) == len(tried)


@pytest.mark.parametrize("trial", [0, 1])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_random_draw_of_a_familys_space_makes_a_step(recipe, trial):
    found, space = small(recipe)
    draw = space.assignments(space.sample(1, trial))
    one, built = prepare_one_batch(found.override(draw))
    before = {name: p.detach().clone() for name, p in built.model.named_parameters()}
    look = Look()
    run_one_batch(one, built, look)
    loss = look.found.loss
    assert loss is None or math.isfinite(loss)
    after = dict(built.model.named_parameters())
    assert all(p.isfinite().all() for p in after.values())
    assert not before or any(not torch.equal(before[name], p) for name, p in after.items())
    assert one.sweep.metric in look.found.metrics


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != "kmeans-digits"])
def test_the_decks_knobs_are_in_a_familys_space(recipe):
    names = {knob.name for knob in small(recipe)[1].knobs}
    assert names >= KNOBS
    assert recipe in ("hello", "charlm") or "batch_size" in names

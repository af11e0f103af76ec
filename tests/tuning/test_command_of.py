"""The command in a trial's note trains that trial again."""

from __future__ import annotations

import shlex
from pathlib import Path

from paceline.platform.arguments import parse
from paceline.platform.configuration.config import load
from paceline.tuning.trial import command_of


def test_command_of_a_trial_resolves_to_the_trial():
    flags = {"trainer.max_epochs": (3, "--trainer.max_epochs"), "sweep.trials": (2, "--trials")}
    base = load("mlp", flags)
    assignments = {
        "optimizer.class_path": "SGD",
        "optimizer.init_args.momentum": 0.5,
        "model.init_args.hidden_sizes": [8, 8],
        "data.init_args.augmentation": {"shift": 1},
        "seed_everything": 77,
    }
    words = shlex.split(command_of(base, assignments))
    again = load(words[2], parse(words[1:]).changes)
    expected = base.override(assignments)
    assert words[:3] == ["paceline", "fit", "mlp"]
    assert {**again.resolved, "sweep": None} == {**expected.resolved, "sweep": None}


def test_top_level_keys_are_flags_too():
    assert parse(["fit", "mlp", "--seed_everything", "3"]).changes["seed_everything"][0] == 3


def test_a_recipe_of_the_catalog_is_named_wherever_its_package_lies(tmp_path: Path):
    base = load("mlp", {}, ())
    base.source = "/elsewhere/py_modules/paceline/lightning_modules/recipes/mlp.yaml"
    assert shlex.split(command_of(base, {}))[:3] == ["paceline", "fit", "mlp"]
    own = tmp_path / "mlp.yaml"
    own.write_text(Path(load("mlp", {}, ()).source).read_text())
    assert shlex.split(command_of(load(str(own), {}, ()), {}))[2] == str(own)

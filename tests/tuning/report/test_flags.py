from __future__ import annotations

import shlex

import pytest
from paceline.platform.arguments import parse
from paceline.platform.configuration.file import parse_value
from paceline.platform.configuration.keys import full_key
from paceline.tuning.report.flags import flow, knob_data, space_flag, space_yaml, trial_command
from paceline.tuning.report.sweep_report import SweepReport
from paceline.tuning.search.space import read_space


def test_a_knob_s_flag_declares_the_same_knob(space_of):
    space = space_of()
    for knob in space.knobs:
        flag, text = space_flag(knob)
        changes = parse(["sweep", "mlp", flag, text]).changes
        data = {**_data(space), knob.name: changes[f"sweep.space.{knob.name}"][0]}
        again = read_space(data, space.base)
        assert next(k for k in again.knobs if k.name == knob.name) == knob


def _data(space) -> dict:
    return {knob.name: knob_data(knob) for knob in space.knobs}


def test_a_knob_with_a_dotted_name_has_no_flag_but_a_line_of_yaml():
    space = read_space({"model.dropout": {"uniform": [0.0, 0.5]}}, {})
    assert space_flag(space.knobs[0]) == ()
    line = space_yaml(space.knobs[0])
    assert line == "model.dropout: {to: [model.dropout], uniform: [0.0, 0.5]}"
    assert read_space(parse_value(line, ""), {}) == space


@pytest.mark.parametrize(
    "value",
    [
        "none",
        "null",
        "1e-3",
        "1",
        "on",
        "a: b",
        "",
        "[",
        1e-5,
        3,
        True,
        None,
        [1, "2"],
        {"a": ["x"]},
    ],
)
def test_a_value_on_one_line_is_read_back_as_it_was(value):
    text = flow(value)
    assert "\n" not in text
    assert parse_value(text, "") == value
    assert type(parse_value(text, "")) is type(value)


def test_a_trial_s_command_sets_what_the_sweep_set_for_it(space_of, report_of):
    where = {"sweep.metric": "val/loss", "launch.address": "auto", "tracking.uri": "http://host"}
    report = report_of(3, changes={"trainer.max_epochs": 5, **where})
    row = report.rows.by_number[0]
    words = shlex.split(trial_command(report, row))
    assert words[:3] == ["paceline", "fit", "mlp"]
    changes = {full_key(k): value for k, (value, _) in parse(words[1:]).changes.items()}
    expected = {"trainer.max_epochs": 5, "seed_everything": row.seed}
    assert changes == {**expected, **space_of().assignments(row.values)}


def test_without_a_recipe_or_a_space_there_is_no_command(report_of):
    report = report_of(1, recipe="")
    assert trial_command(report, report.rows.by_number[0]) == ""
    bare = SweepReport("x", report.rows, None, recipe="mlp")
    assert trial_command(bare, report.rows.by_number[0]) == ""

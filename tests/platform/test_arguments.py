from __future__ import annotations

from itertools import permutations

import pytest
from paceline.platform.arguments import parse
from paceline.platform.errors import UserError
from paceline.platform.flags import COMMON
from paceline.platform.verbs import VERBS, help_text

TABLE = [
    # flag, value, key of the config, what it becomes
    ("--seed", "7", "seed_everything", 7),
    ("--data", "mnist1d", "data.class_path", "mnist1d"),
    ("--model", "pkg.Net", "model.class_path", "pkg.Net"),
    ("--optimizer", "SGD", "optimizer.class_path", "SGD"),
    ("--lr-scheduler", "StepDecay", "lr_scheduler.class_path", "StepDecay"),
    ("--workers", "4", "launch.num_workers", "4"),
    ("--address", "auto", "launch.address", "auto"),
    ("--cpus-per-worker", "0.5", "launch.cpus_per_worker", 0.5),
    ("--gpus-per-worker", "1", "launch.gpus_per_worker", 1),
    ("--storage", "/tmp/x", "launch.storage", "/tmp/x"),
    ("--tracking-uri", "http://h:1", "tracking.uri", "http://h:1"),
    ("--experiment", "2026-01-31", "tracking.experiment", "2026-01-31"),
    ("--ckpt-path", "a.ckpt", "ckpt_path", "a.ckpt"),
    ("--model.dropout", "0.2", "model.dropout", 0.2),
    ("--optimizer.lr", "3e-4", "optimizer.lr", 3e-4),
    ("--trainer.max_epochs", "5", "trainer.max_epochs", 5),
]


@pytest.mark.parametrize(("flag", "value", "key", "parsed"), TABLE)
def test_a_flag_sets_its_key(flag: str, value: str, key: str, parsed: object):
    assert parse(["fit", "mlp", flag, value]).changes == {key: (parsed, flag)}


@pytest.mark.parametrize(("flag", "value", "key", "parsed"), TABLE)
def test_a_value_may_be_joined_by_an_equals_sign(flag: str, value: str, key: str, parsed: object):
    assert parse(["fit", "mlp", f"{flag}={value}"]).changes == {key: (parsed, flag)}


# A dotted key is spelled as its class spells it.
@pytest.mark.parametrize(
    ("flag", "value", "key", "parsed"), [row for row in TABLE if "." not in row[0]]
)
def test_dashes_and_underscores_are_the_same(flag: str, value: str, key: str, parsed: object):
    written = "--" + flag[2:].replace("-", "_")
    assert parse(["fit", "mlp", written, value]).changes == {key: (parsed, written)}


def test_flags_may_stand_before_and_after_the_recipe():
    groups = (["mlp"], ["--seed", "1"], ["--model.dropout", "0.1"], ["--json"])
    for order in permutations(groups):
        parsed = parse(["fit", *(word for group in order for word in group)])
        assert parsed.positional == {"RECIPE": "mlp"}
        assert parsed.changes.keys() == {"seed_everything", "model.dropout"}
        assert parsed.flag("json")


def test_the_last_of_two_equal_flags_counts():
    assert parse(["fit", "mlp", "--seed", "1", "--seed", "2"]).changes["seed_everything"][0] == 2


def test_a_negative_number_is_a_value():
    assert parse(["fit", "mlp", "--model.margin", "-1"]).changes["model.margin"][0] == -1


def test_config_files_gather_in_their_order():
    parsed = parse(["fit", "mlp", "--config", "a.yaml", "--config=b.yaml"])
    assert parsed.options["config"] == ["a.yaml", "b.yaml"]


def test_knobs_are_split_at_commas():
    parsed = parse(["sweep", "mlp", "--vary", "learning_rate, dropout,"])
    assert parsed.changes["sweep.vary"][0] == ["learning_rate", "dropout"]


def test_an_optional_word_may_be_left_out():
    assert parse(["list"]).positional == {"KIND": None}
    assert parse(["list", "models"]).positional == {"KIND": "models"}


def test_the_last_word_may_be_repeated_where_the_verb_says_so():
    parsed = parse(["compare", "a", "--json", "b", "c", "d"])
    assert parsed.positional == {"NAME": "a", "OTHER": "b"}
    assert parsed.more == ["c", "d"]
    assert parse(["compare", "a", "b"]).more == []
    assert "paceline compare NAME OTHER [OTHER...]:" in help_text(VERBS["compare"])


def test_seconds_of_a_verb_are_a_number():
    assert parse(["stop", "x", "--timeout", "1.5"]).options["timeout"] == 1.5


def test_help_wants_nothing_else():
    assert parse(["fit", "--help"]).flag("help")
    assert parse(["test", "-h", "--seed", "1"]).flag("help")


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_help_tells_every_flag(verb):
    text = help_text(verb)
    for flag in (*verb.flags, *COMMON):
        assert f"--{flag.name}" in text
    assert verb.name in help_text()


def test_no_verb_gives_two_flags_one_name():
    for verb in VERBS.values():
        names = [flag.name for flag in (*COMMON, *verb.flags)]
        assert len(names) == len(set(names)), verb.name


def test_every_flag_that_sets_a_key_sets_one_that_there_is():
    from paceline.platform.configuration.parser import parser

    keys = {action.dest for action in parser()._actions}
    for verb in VERBS.values():
        for flag in verb.flags:
            if flag.key and not flag.key.endswith("class_path"):
                assert flag.key in keys or flag.key.partition(".")[0] in keys, flag


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["fti"], "fit"),
        (["fit"], "RECIPE"),
        (["fit", "mlp", "--sed", "1"], "--seed"),
        (["fit", "mlp", "--modle", "MLP"], "--model"),
        (["list", "--model.dropout", "1"], "--model.dropout"),
        (["fit", "mlp", "--seed"], "--seed"),
        (["fit", "mlp", "--seed", "--json"], "--seed"),
        (["fit", "mlp", "--name", ""], "--name"),
        (["fit", "mlp", "--json=yes"], "--json"),
        (["fit", "mlp", "--seeds", "0"], "--seeds"),
        (["fit", "mlp", "more"], "more"),
        (["status", "a", "b"], "b"),
        (["compare", "a"], "`OTHER`"),
        (["stop", "x", "--timeout", "soon"], "--timeout"),
        (["fit", "mlp", "-s", "1"], "-s"),
        (["fit", "mlp", "--..", "1"], "--.."),
    ],
)
def test_what_is_wrong_on_a_command_line_is_named(argv: list[str], named: str):
    with pytest.raises(UserError) as error:
        parse(argv)
    assert named in str(error.value)

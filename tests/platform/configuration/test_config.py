from __future__ import annotations

import copy
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from paceline.platform.configuration.config import Config, load
from paceline.platform.configuration.file import parse_value, read
from paceline.platform.errors import UserError
from paceline.platform.training.building import build

THEIRS = """
model:
  class_path: theirs.Net
  init_args:
    width: 5
    counts: {a: 1}
data:
  class_path: theirs.Points
trainer:
  max_epochs: 1
"""

# What `fit --print_config` of a LightningCLI without classes of its own writes, in short.
PRINTED = """
# pytorch_lightning==2.6.6
seed_everything: true
trainer:
  accelerator: auto
  strategy: auto
  devices: auto
  logger: null
  callbacks: null
  max_epochs: 1
  max_time: null
  gradient_clip_val: null
  default_root_dir: null
  enable_autolog_hparams: true
  model_registry: null
model:
  class_path: theirs.Net
  init_args:
    width: 4
    rate: 0.1
    counts: null
data:
  class_path: theirs.Points
  init_args:
    size: 32
    batch: 8
optimizer:
  class_path: torch.optim.Adam
  init_args:
    lr: 0.001
    betas:
    - 0.9
    - 0.999
    eps: 1.0e-08
    foreach: null
    fused: null
lr_scheduler:
  class_path: torch.optim.lr_scheduler.StepLR
  init_args:
    step_size: 2
    gamma: 0.1
    last_epoch: -1
ckpt_path: null
weights_only: null
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a third party's module, from which one works."""
    shutil.copy(Path(__file__).parents[1] / "theirs.py", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(**keys: object) -> dict[str, tuple[object, str]]:
    """Changes as flags make them; `__` stands for a dot."""
    names = {key.replace("__", "."): value for key, value in keys.items()}
    return {name: (value, f"--{name}") for name, value in names.items()}


def test_a_yaml_of_a_third_party_is_taken_as_it_is(work: Path):
    (work / "theirs.yaml").write_text(THEIRS)
    config = load("theirs.yaml")
    built = build(config)
    assert type(built.model).__name__ == "Net"
    assert built.model.hparams["counts"] == {"a": 1}
    assert type(built.data).__name__ == "Points"
    assert built.optimizer is None


def test_what_lightnings_own_command_prints_is_taken_as_it_is(work: Path):
    (work / "printed.yaml").write_text(PRINTED)
    built = build(load("printed.yaml"))
    assert built.optimizer is not None
    assert built.optimizer["class_path"] == "torch.optim.Adam"
    assert built.lr_scheduler is not None
    assert built.lr_scheduler["init_args"]["step_size"] == 2


def test_a_yaml_for_one_fixed_class_runs_with_the_class_named_beside_it(work: Path):
    (work / "fixed.yaml").write_text(
        "model: {width: 6}\ndata: {size: 16}\ntrainer: {max_epochs: 1}"
    )
    config = load(
        "fixed.yaml", change(model__class_path="theirs.Net", data__class_path="theirs.Points")
    )
    assert (config.get("model.width"), config.get("data.size")) == (6, 16)
    with pytest.raises(UserError, match="class's name or import path") as error:
        load("fixed.yaml")
    assert "--model package.Class" in error.value.remedy


def test_a_schedule_is_left_out_where_none_is_named(tmp_path: Path):
    as_flag = load("mlp", change(lr_scheduler__class_path="none"))
    (tmp_path / "none.yaml").write_text("lr_scheduler: none\n")
    as_file = load("mlp", files=(str(tmp_path / "none.yaml"),))
    as_knob = load("mlp").override({"lr_scheduler.class_path": "none"})
    for config in (as_flag, as_file, as_knob):
        assert build(config).lr_scheduler is None
        (tmp_path / "again.yaml").write_text(config.text())
        assert build(load(str(tmp_path / "again.yaml"))).lr_scheduler is None
    back = as_flag.override({"lr_scheduler.class_path": "StepLR", "lr_scheduler.step_size": 3})
    assert build(back).lr_scheduler is not None
    with pytest.raises(UserError, match="must be a known name"):
        load("mlp", change(optimizer__class_path="none"))


def test_a_name_of_torchs_module_that_is_no_schedule_is_unknown():
    for name in ("Counter", "Any", "Optimizer"):
        with pytest.raises(UserError, match="must be a known name"):
            load("mlp", change(lr_scheduler__class_path=name))


def test_a_printed_config_loads_again_to_the_same_config(tmp_path: Path):
    first = load("mlp", change(model__dropout=0.3, optimizer__betas__0=0.8))
    (tmp_path / "again.yaml").write_text(first.text())
    again = load(str(tmp_path / "again.yaml"))
    assert again.resolved == first.resolved
    assert again.text() == first.text()


def test_a_config_survives_the_trip_to_another_process():
    config = load("mlp", change(model__dropout=0.3))
    twin = Config.from_dict(config.to_dict())
    assert twin.resolved == config.resolved
    assert twin.where("model.dropout") == "--model.dropout"


def test_the_trip_takes_plain_data_only():
    import json

    data = load("mlp", change(optimizer__betas=[0.8, 0.99])).to_dict()
    assert json.loads(json.dumps(data)) == data


def test_a_seed_is_drawn_once_and_kept(work: Path):
    (work / "theirs.yaml").write_text(THEIRS)
    config = load("theirs.yaml")
    assert isinstance(config.seed, int)
    assert config.seed == Config.from_dict(config.to_dict()).seed == config.override({}).seed
    assert load("theirs.yaml").seed != config.seed  # odds of a false alarm 1 in 2**31


@pytest.mark.parametrize("off", [False, None])
def test_seeding_can_be_switched_off(off: object):
    assert load("mlp", change(seed_everything=off)).seed is None


def test_init_args_may_be_left_out_in_files_and_in_keys(work: Path):
    (work / "short.yaml").write_text(
        "model: {class_path: theirs.Net, width: 7}\ndata: theirs.Points\ntrainer: {max_epochs: 1}"
    )
    config = load("short.yaml", change(model__rate=0.5, data__init_args__size=16))
    assert config.get("model.width") == config.get("model.init_args.width") == 7
    assert config.get("model.rate") == 0.5
    assert config.get("data.size") == 16


def test_a_model_follows_the_data_where_it_was_left_open():
    module = build(load("mlp", change(data__class_path="points"))).model
    assert module.hparams["in_features"] == 2
    assert module.hparams["num_classes"] == 2


def test_what_the_user_gave_is_kept_when_the_data_agrees():
    assert build(load("mlp", change(model__num_classes=10))).model.hparams["num_classes"] == 10


def test_what_contradicts_the_data_is_refused_where_it_was_written():
    with pytest.raises(UserError, match=r"`model.num_classes` must be 10, as the data has it"):
        build(load("mlp", change(model__num_classes=7)))
    assert build(load("mlp", change(model__in_shape=[1, 8, 8]))).model.hparams["in_shape"]
    with pytest.raises(
        UserError, match=r"`model.in_shape` must be \[1, 8, 8\], as the data has it"
    ):
        build(load("mlp", change(model__in_shape=[3, 8, 8])))


def test_a_swapped_class_keeps_the_arguments_it_has_and_tells_the_others(work: Path):
    (work / "theirs.yaml").write_text(THEIRS + "optimizer: {class_path: Adam, lr: 0.3, eps: 0.1}\n")
    config = load("theirs.yaml", change(optimizer__class_path="theirs.Steady"))
    assert config.resolved["optimizer"]["init_args"] == {"lr": 0.3}
    assert config.notes == ["theirs.Steady has no eps: left out"]


def test_naming_the_same_class_again_drops_nothing():
    config = load("mlp", change(optimizer__class_path="Adam", model__class_path="MLP"))
    assert config.resolved == load("mlp").resolved
    assert config.notes == []


def test_arguments_given_with_a_swap_are_the_new_class_own():
    config = load("mlp", change(optimizer__momentum=0.5, optimizer__class_path="Momentum"))
    assert config.get("optimizer.momentum") == 0.5
    assert config.get("optimizer.lr") == 0.002


def test_an_item_of_a_list_is_set_by_its_index():
    config = load("mlp", change(model__hidden_sizes__1=64, optimizer__betas__0=0.7))
    assert config.get("model.hidden_sizes") == [256, 64]
    assert config.get("optimizer.betas") == [0.7, 0.999]  # the second is the optimizer's default


def test_an_item_of_a_callback_is_set_through_the_list(work: Path):
    (work / "stop.yaml").write_text(
        THEIRS + "  callbacks:\n  - class_path: EarlyStopping\n    init_args: {monitor: val_loss}\n"
    )
    config = load("stop.yaml", change(trainer__callbacks__0__init_args__patience=7))
    assert config.get("trainer.callbacks.0.init_args.patience") == 7


def test_a_second_file_lies_over_the_recipe_and_a_flag_over_both(tmp_path: Path):
    over = tmp_path / "over.yaml"
    over.write_text("model: {dropout: 0.4}\noptimizer: {class_path: Momentum, momentum: 0.3}\n")
    config = load("mlp", change(model__dropout=0.1), (str(over),))
    assert config.get("model.dropout") == 0.1
    assert config.get("optimizer.class_path").endswith(".Momentum")
    assert config.get("optimizer.momentum") == 0.3
    assert config.get("optimizer.lr") == 0.002
    assert config.where("optimizer.momentum") == f"{over}:2"


def test_every_key_knows_where_it_was_written(work: Path):
    (work / "theirs.yaml").write_text(THEIRS)
    config = load("theirs.yaml", change(model__rate=0.2))
    assert config.where("model.rate") == "--model.rate"
    assert config.where("model.width") == "theirs.yaml:5"
    assert config.where("model.counts") == "theirs.yaml:6"
    assert config.where("data.size") == "theirs.yaml:7"  # a default: where its section stands
    assert config.where("optimizer") == "theirs.yaml"


def test_override_leaves_the_config_it_came_from_alone():
    config = load("mlp", change(seed_everything=3))
    before = copy.deepcopy(config.to_dict())
    other = config.override({"model.hidden_sizes": [8], "optimizer.class_path": "SGD"})
    assert config.to_dict() == before
    assert other.get("model.hidden_sizes") == [8]


def test_an_empty_section_is_as_if_left_out():
    config = load("mlp", change(sweep=None, launch=None))
    assert config.sweep.trials == 16
    assert config.launch.num_workers == 1


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.e-3", ".001", "0.001", "+1e-3"])
def test_a_number_is_read_however_it_is_written(text: str):
    assert parse_value(text, "--x") == 0.001


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-01-31", "2026-01-31"),  # YAML 1.1 would make a date
        ("1:30.5", "1:30.5"),  # and of this 90.5
        ("1e", "1e"),
        ("e-3", "e-3"),
        ("1.2.3", "1.2.3"),
        ("[256, 128]", [256, 128]),
        ("{a: 1e-1}", {"a": 0.1}),
        ("null", None),
        ("", None),
        ("'1'", "1"),
        ("1_000", 1000),
    ],
)
def test_a_flags_value_is_read_as_plain_yaml(text: str, value: object):
    assert parse_value(text, "--x") == value


def test_lines_are_known_for_every_key_of_a_file(tmp_path: Path):
    (tmp_path / "a.yaml").write_text("# head\na:\n  b: 1\n  c:\n  - d: 2\n  - 3\n")
    values, lines = read(tmp_path / "a.yaml")
    assert values == {"a": {"b": 1, "c": [{"d": 2}, 3]}}
    assert lines == {"a": 2, "a.b": 3, "a.c": 4, "a.c.0.d": 5}


def test_anchors_and_merges_are_plain_data(tmp_path: Path):
    (tmp_path / "a.yaml").write_text("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}\n")
    assert read(tmp_path / "a.yaml")[0] == {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}


def test_every_recipe_of_the_catalog_is_a_whole_config():
    from paceline.platform.catalog import entries

    for name, entry in entries("recipes").items():
        config = load(name)
        assert yaml.safe_load(config.text()), entry.target


def test_the_trainer_gets_objects_where_the_config_names_classes(work: Path):
    from paceline.platform.training.building import trainer_arguments
    from pytorch_lightning.callbacks import EarlyStopping

    (work / "stop.yaml").write_text(
        THEIRS + "  callbacks:\n  - class_path: EarlyStopping\n    init_args: {monitor: val_loss}\n"
    )
    callbacks = trainer_arguments(load("stop.yaml"))["callbacks"]
    assert isinstance(callbacks[0], EarlyStopping)


def test_two_builds_of_one_config_start_with_the_same_weights():
    from paceline.platform.training.fitting import prepare

    one, two = (prepare(load("mlp")).model for _ in range(2))
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, two.state_dict()[name]), name

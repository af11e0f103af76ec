"""Values of a cluster: defaults, a file, flags, and what each may be."""

from __future__ import annotations

from pathlib import Path

import pytest
from paceline.deploy.rules import RULES, is_image
from paceline.deploy.values import NAMES, ClusterValues, read_values
from paceline.platform.errors import UserError


def test_every_value_has_a_rule_that_its_default_keeps():
    assert set(RULES) == set(NAMES)
    defaults = ClusterValues()
    for name in NAMES:
        value = getattr(defaults, name)
        assert value == "" or RULES[name].holds(value), name


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path):
    file = tmp_path / "values.yaml"
    file.write_text("workers: 5\ncpus: 8\n")
    values = read_values(str(file), ["cpus=2", "cpus=3"], {"storage": "/srv/runs"})
    assert (values.workers, values.cpus, values.gpus, values.storage) == (5, 3, 0, "/srv/runs")


def test_an_empty_value_is_that_of_the_target():
    assert read_values(None, ["storage="], {"storage": "/srv/runs"}).storage == "/srv/runs"


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("worker=3", "did you mean: workers"),
        ("workers=0", "`workers` must be an integer from 1 to 10000, but is 0."),
        ("workers=two", "`workers` must be an integer from 1 to 10000, but is 'two'."),
        ("workers=1.5", "`workers` must be an integer"),
        ("gpus=-1", "`gpus` must be an integer from 0 to 64, but is -1."),
        ("workers", "`--set` must be KEY=VALUE, but is 'workers'."),
        ("name=Team A", "`name` must be at most 40 lower-case letters"),
        ("image=paceline:latest", "`image` must be an image with a tag other than `latest`"),
        ("image=paceline", "`image` must be an image with a tag other than `latest`"),
        ("s3_image=quay.io/minio", "`s3_image` must be an image with a tag"),
        ("storage=runs", "`storage` must be an absolute folder or s3://bucket/folder"),
        ("storage=/srv/$(id)", "`storage` must be an absolute folder"),
        ("tracking_uri=sqlite:///x.db", "`tracking_uri` must be an address http://host:port"),
        ("tracking_uri=http://me:hunter2@host:5000", "`tracking_uri` must hold no password"),
        ("time_limit=1 day", "`time_limit` must be [DAYS-]HH:MM:SS"),
        ("head_ip=10.0.0.256", "`head_ip` must be an address or a host's name"),
        ("worker_ips=10.0.0.2,,10.0.0.3", "`worker_ips` must be addresses or host names"),
        ("ssh_user=root", "`ssh_user` must be an account's name other than root"),
        ("command=sweeep mlp", "`command` must be a command line that begins with"),
        ("command=sweep mlp --trails 3", "`command` must be a command line"),
        ("command=sweep mlp; rm -rf ~", "`command` must be a command line"),
        ("command=sweep $(id)", "`command` must be a command line"),
        ("command=doctor", "`command` must be a command line"),
        ("partition=gpu\n#SBATCH --uid=0", "`partition` must be letters"),
    ],
)
def test_a_wrong_value_is_one_message(setting: str, told: str):
    with pytest.raises(UserError) as error:
        read_values(None, [setting])
    assert told in str(error.value)


@pytest.mark.parametrize("key", ["password", "RAY_AUTH_TOKEN", "aws_secret_access_key"])
def test_a_secret_is_refused_and_not_repeated(key: str):
    with pytest.raises(UserError) as error:
        read_values(None, [f"{key}=hunter2"])
    assert "secret" in str(error.value)
    assert "paceline.env" in error.value.remedy
    assert "hunter2" not in str(error.value)


def test_a_value_of_a_file_is_what_is_written(tmp_path: Path):
    file = tmp_path / "values.yaml"
    file.write_text("time_limit: 24:00:00\nworkers: 3\nname: 'lab'\n")
    values = read_values(str(file), [])
    assert (values.time_limit, values.workers, values.name) == ("24:00:00", 3, "lab")
    file.write_text("region: no\n")
    assert read_values(str(file), []).region == "no"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("workers: [1", "must be YAML"),
        ("- workers", "must be a mapping"),
        ("workers: true", "`workers` must be an integer"),
        ("name: {a: b}", "`name` must be a text"),
        ("name:", "`name` must be a text"),
        ("a: !!python/object/apply:os.system [id]", "must be YAML"),
    ],
)
def test_a_file_of_nonsense_is_one_message(tmp_path: Path, text: str, told: str):
    file = tmp_path / "values.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        read_values(str(file), [])
    assert told in str(error.value)
    assert str(file) in str(error.value)


def test_a_file_that_is_not_there_is_one_message(tmp_path: Path):
    with pytest.raises(UserError, match="`--values` must be a file that can be read"):
        read_values(str(tmp_path / "none.yaml"), [])


@pytest.mark.parametrize(
    ("image", "holds"),
    [
        ("python:3.11-slim", True),
        ("registry.example.org:5000/team/paceline:1.0", True),
        ("registry.example.org:5000/team/paceline", False),
        ("paceline@sha256:" + "a" * 64, True),
        ("paceline@sha256:abc", False),
        ("paceline:latest", False),
        ("Paceline:1.0", False),
    ],
)
def test_an_image_is_pinned_by_tag_or_digest(image: str, holds: bool):
    assert is_image(image) is holds

from __future__ import annotations

from pathlib import Path

import pytest
from paceline.platform.configuration.config import load
from paceline.platform.configuration.file import parse_value
from paceline.platform.configuration.options import Launch
from paceline.platform.errors import UserError


def launch_of(workers: object) -> Launch:
    return load("mlp", {"launch.num_workers": (workers, "--workers")}).launch


@pytest.mark.parametrize(
    ("given", "least", "most", "many"),
    [(1, 1, 1, False), (2, 2, 2, True), ("2:4", 2, 4, True), ("1:2", 1, 2, True)],
)
def test_workers_are_a_number_or_a_range(given, least, most, many):
    launch = launch_of(given)
    assert (launch.num_workers, launch.most_workers) == (least, most)
    assert launch.has_many_workers is many


def test_a_range_survives_the_config_file_of_a_run(tmp_path: Path):
    written = load("mlp", {"launch.num_workers": ("2:4", "--workers")}).text()
    (tmp_path / "again.yaml").write_text(written)
    again = load(str(tmp_path / "again.yaml")).launch
    assert (again.num_workers, again.most_workers) == (2, 4)


@pytest.mark.parametrize("given", ["4:2", "0:2", "2:", ":2", "a:b", "1:2:3", "2:-4"])
def test_a_range_of_no_counts_is_refused(given: str):
    with pytest.raises(UserError, match="an integer >= 1, or MIN:MAX as in 2:4"):
        launch_of(given)


@pytest.mark.parametrize(
    ("text", "value"),
    [("2:4", "2:4"), ("12", 12), ("-3", -3), ("1_000", 1000), ("0x1f", 31), ("1e-3", 0.001)],
)
def test_a_colon_makes_no_time_of_a_flags_value(text: str, value: object):
    assert parse_value(text, "--workers") == value

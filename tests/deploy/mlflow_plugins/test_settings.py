"""What a backend config may say."""

from __future__ import annotations

from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from paceline.deploy.mlflow_plugins.settings import Settings, read_settings


def test_entries_of_mlflows_own_are_left_aside():
    config = {"ENV_MANAGER": None, "build_image": False, "docker_auth": None, "num_cpus": 2}
    assert read_settings(config) == Settings(num_cpus=2)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"adress": "x"}, "address"),
        ({"num_cpus": "two"}, "`backend_config.num_cpus` must be a number >= 0"),
        ({"num_gpus": -1}, "`backend_config.num_gpus`"),
        ({"num_cpus": True}, "`backend_config.num_cpus`"),
        ({"address": 8265}, "`backend_config.address` must be text"),
        ({"follow": "yes"}, "`backend_config.follow` must be true or false"),
        ({"exclude": "*.md"}, "`backend_config.exclude` must be a list"),
    ],
)
def test_a_wrong_entry_is_told(config: dict[str, Any], told: str):
    with pytest.raises(MlflowException) as caught:
        read_settings(config)
    assert told in str(caught.value)

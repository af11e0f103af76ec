"""Train's config family, as made of our options; nothing is started here."""

from __future__ import annotations

import dataclasses

import pytest
from paceline.platform.configuration.options import Launch
from paceline.platform.launch.ray_train import run_config, scaling_config
from ray.tune import RunConfig as TuneRunConfig


@pytest.mark.parametrize(
    ("launch", "workers", "resources", "use_gpu"),
    [
        (Launch(num_workers=2), 2, {"CPU": 1.0}, False),
        (Launch(num_workers=4, cpus_per_worker=2), 4, {"CPU": 2.0}, False),
        (Launch(num_workers=2, gpus_per_worker=0.5), 2, {"CPU": 1.0, "GPU": 0.5}, True),
        (Launch(num_workers=2, max_workers=4), (2, 4), {"CPU": 1.0}, False),
        (Launch(num_workers=2, max_workers=2), 2, {"CPU": 1.0}, False),
    ],
)
def test_the_shape_of_the_workers_is_told_to_train(launch, workers, resources, use_gpu):
    config = scaling_config(launch)
    assert config.num_workers == workers
    assert config.elasticity_enabled is isinstance(workers, tuple)
    assert config.resources_per_worker == resources
    assert config.use_gpu is use_gpu


def test_train_tries_nothing_again_by_itself_and_has_a_name_for_each_attempt(tmp_path):
    first, second = (run_config(str(tmp_path), name) for name in ("a1", "b2"))
    assert first.failure_config.max_failures == 0
    assert (first.storage_path, first.name, second.name) == (str(tmp_path), "a1", "b2")


def test_the_config_is_trains_and_not_tunes(tmp_path):
    config = run_config(str(tmp_path), "a1")
    assert not isinstance(config, TuneRunConfig)
    fields = {field.name for field in dataclasses.fields(config)}
    assert "worker_runtime_env" in fields

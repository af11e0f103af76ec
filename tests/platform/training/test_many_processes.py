from __future__ import annotations

import pytest
import torch
from paceline.platform.configuration.config import load
from paceline.platform.errors import UserError
from paceline.platform.training.many_processes import (
    GivenDeviceDDP,
    GivenRanks,
    arguments_of_one,
    check_strategy,
)

RANKS = {"RANK": "5", "LOCAL_RANK": "1", "NODE_RANK": "2", "WORLD_SIZE": "6"}


def test_ranks_are_those_that_were_given(monkeypatch: pytest.MonkeyPatch):
    for name, value in {**RANKS, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "1234"}.items():
        monkeypatch.setenv(name, value)
    ranks = GivenRanks()
    ranks.set_global_rank(0)
    ranks.set_world_size(1)
    assert (ranks.global_rank(), ranks.local_rank(), ranks.node_rank()) == (5, 1, 2)
    assert (ranks.world_size(), ranks.main_address, ranks.main_port) == (6, "10.0.0.1", 1234)
    assert ranks.creates_processes_externally


def test_shares_of_the_data_follow_the_given_ranks_though_nodes_are_unequal(
    monkeypatch: pytest.MonkeyPatch,
):
    for name, value in RANKS.items():
        monkeypatch.setenv(name, value)
    strategy = GivenDeviceDDP(torch.device("cpu"), cluster_environment=GivenRanks())
    assert strategy.distributed_sampler_kwargs == {"num_replicas": 6, "rank": 5}
    assert strategy.root_device == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "looks"),
    [
        ("auto", False),
        ("ddp", False),
        ("ddp_find_unused_parameters_true", True),
        ("ddp_find_unused_parameters_false", False),
    ],
)
def test_ddp_is_told_what_the_strategys_name_says(name: str, looks: bool):
    config = load("mlp", {"trainer.strategy": (name, "--trainer.strategy")})
    check_strategy(config)
    made = arguments_of_one(config, torch.device("cpu"))["strategy"]
    assert made._ddp_kwargs == {"find_unused_parameters": looks, "gradient_as_bucket_view": True}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("trainer.strategy", "fsdp"),
        ("trainer.devices", 3),
        ("trainer.num_nodes", 2),
        ("trainer.strategy", {"class_path": "pytorch_lightning.strategies.DDPStrategy"}),
    ],
)
def test_a_trainer_that_places_its_processes_itself_is_refused(key: str, value: object):
    config = load("mlp", {key: (value, f"--{key}")})
    with pytest.raises(UserError, match=f"`{key}` must be") as caught:
        check_strategy(config)
    assert caught.value.where == f"--{key}"

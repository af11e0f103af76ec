from __future__ import annotations

import pytest
from paceline.platform.external import Launched, draw_seed, launched

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "10.0.0.1",
    "MASTER_PORT": "29500",
}
SLURM = {
    "SLURM_JOB_ID": "77",
    "SLURM_PROCID": "1",
    "SLURM_NTASKS": "8",
    "SLURM_NTASKS_PER_NODE": "4",
}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (TORCHRUN, Launched(3, 4, 2)),
        (SLURM, Launched(1, 8, 4)),
        ({**SLURM, "SLURM_NTASKS": "1"}, None),
        ({**TORCHRUN, "WORLD_SIZE": "1"}, None),
        ({"RANK": "1", "WORLD_SIZE": "2"}, None),
        ({"SLURM_JOB_ID": "77"}, None),  # a shell within an allocation
        ({}, None),
    ],
)
def test_a_launchers_ranks_are_known_by_its_variables(environment, expected):
    assert launched(environment) == expected


def test_all_ranks_of_a_job_draw_one_seed():
    seeds = {draw_seed({**TORCHRUN, "RANK": str(rank)}) for rank in range(4)}
    assert len(seeds) == 1
    assert 0 <= seeds.pop() < 2**31
    assert draw_seed({**TORCHRUN, "MASTER_PORT": "29501"}) != draw_seed(TORCHRUN)


def test_alone_each_draws_another():
    assert draw_seed({}) != draw_seed({})  # odds of a false alarm: one in two thousand million

from __future__ import annotations

import pytest
from paceline.platform.configuration.options import Launch
from paceline.platform.errors import UserError
from paceline.platform.launch.capacity import check_fits, slots

NODE = {"CPU": 8.0, "memory": 1e9}
GPU_NODE = {"CPU": 16.0, "GPU": 4.0}


@pytest.mark.parametrize(
    ("nodes", "launch", "found"),
    [
        ([NODE], Launch(num_workers=2), 8),
        ([NODE, NODE], Launch(num_workers=2, cpus_per_worker=5), 2),
        ([GPU_NODE], Launch(num_workers=8, gpus_per_worker=0.5), 8),
        ([GPU_NODE, NODE], Launch(num_workers=4, gpus_per_worker=1), 4),
        ([NODE], Launch(num_workers=2, max_workers=64), 8),
    ],
)
def test_workers_that_fit_are_counted(nodes, launch, found):
    assert check_fits(nodes, launch) == found


@pytest.mark.parametrize(
    ("nodes", "launch", "numbers"),
    [
        ([NODE], Launch(num_workers=9), ["9 worker(s)", "8 such", "1 node(s)"]),
        ([NODE], Launch(num_workers=2, gpus_per_worker=1), ["1 GPU", "8 CPU and 0 GPU"]),
        ([NODE, NODE], Launch(num_workers=3, cpus_per_worker=5), ["5 CPU", "2 such"]),
        ([NODE], Launch(num_workers=9, max_workers=20), ["9 worker(s)"]),
        ([], Launch(num_workers=2), ["0 node(s) with nothing"]),
    ],
)
def test_workers_that_can_never_fit_are_refused_with_the_numbers(nodes, launch, numbers):
    with pytest.raises(UserError) as caught:
        check_fits(nodes, launch)
    assert caught.value.what.startswith("`launch` must be a run that fits")
    assert all(number in caught.value.what for number in numbers), caught.value.what
    assert "--workers" in caught.value.remedy


def test_fractions_fit_as_often_as_ray_counts_them():
    assert slots({"GPU": 1.0}, {"GPU": 1 / 3}) == 3
    assert slots({"CPU": 0.3}, {"CPU": 0.1}) == 3  # 0.3 / 0.1 is 2.9999999999999996

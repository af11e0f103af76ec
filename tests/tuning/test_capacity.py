from __future__ import annotations

import pytest
from paceline.platform.configuration.options import Launch
from paceline.platform.errors import UserError
from paceline.tuning.capacity import concurrency

LAPTOP = {"CPU": 8.0, "memory": 1e9}
GPU_NODE = {"CPU": 16.0, "GPU": 4.0}


@pytest.mark.parametrize(
    ("nodes", "launch", "limit", "expected"),
    [
        ([LAPTOP], Launch(), None, 8),
        ([LAPTOP], Launch(), 3, 3),
        ([LAPTOP], Launch(), 30, 8),
        ([LAPTOP], Launch(cpus_per_worker=3), None, 2),
        ([LAPTOP], Launch(cpus_per_worker=0.5), None, 16),
        ([GPU_NODE], Launch(gpus_per_worker=1), None, 4),
        ([GPU_NODE], Launch(gpus_per_worker=0.25), None, 16),
        ([GPU_NODE], Launch(gpus_per_worker=1, cpus_per_worker=8), None, 2),
        ([LAPTOP, GPU_NODE], Launch(gpus_per_worker=2), None, 2),
        ([LAPTOP, LAPTOP], Launch(cpus_per_worker=5), None, 2),
        ([GPU_NODE, GPU_NODE], Launch(num_workers=3, gpus_per_worker=1), None, 2),
        ([LAPTOP], Launch(num_workers=2, max_workers=4), None, 2),
        ([LAPTOP], Launch(num_workers=2, max_workers=40), None, 1),
    ],
)
def test_concurrency_is_what_fits(nodes, launch, limit, expected):
    assert concurrency(nodes, launch, limit) == expected


@pytest.mark.parametrize(
    ("nodes", "launch", "numbers"),
    [
        ([LAPTOP], Launch(gpus_per_worker=1), ["1 GPU", "8 CPU and 0 GPU"]),
        ([LAPTOP], Launch(cpus_per_worker=9), ["9 CPU", "8 CPU"]),
        ([LAPTOP, LAPTOP], Launch(cpus_per_worker=9), ["2 node"]),
        ([GPU_NODE], Launch(num_workers=5, gpus_per_worker=1), ["5 worker", "4 such"]),
        ([], Launch(), ["0 node"]),
    ],
)
def test_a_shape_that_can_never_fit_fails_with_the_numbers(nodes, launch, numbers):
    with pytest.raises(UserError) as caught:
        concurrency(nodes, launch)
    assert all(number in caught.value.what for number in numbers), caught.value.what
    assert "--gpus-per-worker" in caught.value.remedy

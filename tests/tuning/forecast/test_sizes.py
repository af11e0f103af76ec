"""Which configurations stand for all, and what an earlier record says of time."""

from __future__ import annotations

import pytest
from paceline.platform.configuration.options import Launch
from paceline.tuning.forecast.past_times import _pace_of_points
from paceline.tuning.forecast.room import Room, nodes_here, share_bytes
from paceline.tuning.forecast.sizes import Size, choose, nearest


def size(parameters: int, batch: int = 64, optimizer: str = "Adam") -> Size:
    return Size({}, parameters, batch, (optimizer,))


def test_those_that_stand_for_all_are_unlike_each_other():
    sizes = [size(1000), size(1000), size(1100), size(64_000), size(1000, 512), size(1000)]
    chosen = choose(sizes, 3)
    assert {sizes[i].num_parameters for i in chosen} >= {64_000}
    assert {sizes[i].batch_size for i in chosen} == {64, 512}


def test_equal_ones_are_measured_once():
    assert len(choose([size(1000)] * 5, 3)) == 1
    assert choose([], 3) == []


def test_an_optimizer_of_another_class_is_no_near_neighbour():
    assert nearest(size(1000, 64, "KFAC"), [size(1000), size(1500, 64, "KFAC")]) == 1


def test_a_trial_has_its_share_of_the_memory():
    room = Room("", [{"CPU": 8, "memory": 32e9}], 4, 32_000_000_000)
    assert share_bytes(room, Launch(cpus_per_worker=2)) == 8_000_000_000
    assert share_bytes(Room("", [{"CPU": 8}], 4, 0), Launch()) == 0


def test_this_machine_is_counted_without_starting_ray():
    import ray

    was_running = ray.is_initialized()
    (node,) = nodes_here()
    assert node["CPU"] >= 1
    assert node["memory"] > 1e8
    assert ray.is_initialized() == was_running


@pytest.mark.parametrize(
    ("axis", "per_unit", "overhead"), [("epoch", 2.0, 4.0), ("step", 0.2, 4.0)]
)
def test_a_runs_validations_tell_its_pace(axis: str, per_unit: float, overhead: float):
    moments = [(100.0, 10), (102.0, 20), (104.0, 30)]
    pace = _pace_of_points(moments, axis, 10.0)
    assert pace is not None
    assert pace.per_unit_s == pytest.approx(per_unit)
    assert pace.overhead_s == pytest.approx(overhead)


@pytest.mark.parametrize("axis", ["epoch", "step"])
def test_one_validation_tells_no_pace(axis: str):
    assert _pace_of_points([(100.0, 10)], axis, 10.0) is None


def test_steps_that_do_not_grow_tell_no_pace():
    assert _pace_of_points([(100.0, 10), (101.0, 10)], "step", 10.0) is None
    assert _pace_of_points([(100.0, 10), (101.0, 20)], "env/frames", 10.0) is None

"""Runs that are killed again and again: no step is lost or doubled, few are trained twice."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from paceline.tests.platform.launch.work import NODE, Work, train_workers

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SAVED_EVERY = 4  # steps


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """One node of two cores, which outlives every command."""
    from paceline.platform.launch import ray_settings  # noqa: F401 - before Ray
    from ray.cluster_utils import Cluster

    node = NODE | {"num_cpus": 2, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=node)
    yield made
    made.shutdown()


def test_a_run_whose_workers_are_killed_ten_times_trains_few_steps_twice(cluster: Any, work: Work):
    rng = random.Random(7)
    flags = ["--workers", 2, "--address", cluster.address, "--launch.max_failures", -1]
    flags += ["--launch.save_every_n_steps", SAVED_EVERY, "--trainer.max_epochs", 24]
    run = work.fit("killed", *flags, "--model.step_s", 0.05, "--model.notes", "steps.txt")

    def kill_one() -> None:
        time.sleep(rng.uniform(0, 0.4))  # anywhere in an interval
        rng.choice(train_workers()).kill()

    for _ in range(10):
        step = work.step_of("killed") + rng.randint(1, 8)
        work.when_at("killed", step, run, kill_one)
    done = work.end_of(run)
    assert done.code == 0, done.err
    assert done.err.count("Starting again from the latest checkpoint") == 10
    found = work.run()
    assert (found.info.status, found.data.tags["attempt"]) == ("FINISHED", "11")
    assert work.points("train/number") == [(n, float(n)) for n in range(192)]
    assert [step for step, _ in work.points("val/loss")] == [*range(7, 192, 8)]
    trained = [int(line) for line in (work.folder / "steps.txt").read_text().split()]
    assert {*trained} == {*range(192)}
    assert len(trained) - 192 <= 10 * SAVED_EVERY


def test_a_run_whose_driver_is_killed_again_and_again_is_one_run(cluster: Any, work: Work):
    rng = random.Random(3)
    flags = ["--workers", 2, "--address", cluster.address, "--trainer.max_epochs", 30]
    flags += ["--launch.save_every_n_steps", SAVED_EVERY, "--model.step_s", 0.05]
    run = work.fit("orphan", *flags)
    for _ in range(4):
        step = work.step_of("orphan") + rng.randint(1, 8)
        work.when_at("orphan", step, run, run.kill)
        run.communicate()
        _, alive = psutil.wait_procs(train_workers(), timeout=20)
        assert not alive  # none writes on into the run that goes on
        run = work.start("resume", "orphan", "--json")

    lock = work.home / "runs" / "orphan" / "lock"
    while lock.read_text() != str(run.pid):
        assert run.poll() is None, work.log.read_text()
        time.sleep(0.05)
    seconds = [work.fit("orphan", *flags), work.start("resume", "orphan", "--json")]
    for second in map(work.end_of, seconds):
        assert second.code == 2, second.err
        error = second.json["error"]
        assert error["what"].startswith("`--name` must be a name that no living process uses")
        assert f"process {run.pid} holds" in error["where"]

    done = work.end_of(run)
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    found = work.run()
    assert (found.info.status, found.data.tags["attempt"]) == ("FINISHED", "5")
    assert found.info.run_id == done.json["run_id"]
    assert work.points("train/number") == [(n, float(n)) for n in range(240)]
    assert [step for step, _ in work.points("val/loss")] == [*range(7, 240, 8)]

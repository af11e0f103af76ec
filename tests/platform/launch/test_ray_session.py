"""What Ray itself says while we use it."""

from __future__ import annotations

import contextlib
import os
import time

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]


def printed_after_a_death(capfd: pytest.CaptureFixture[str]) -> str:
    """What stands on standard output soon after a worker has died."""
    import ray

    capfd.readouterr()
    with contextlib.suppress(ray.exceptions.WorkerCrashedError):
        ray.get(ray.remote(num_cpus=0, max_retries=0)(lambda: os._exit(1)).remote())
    time.sleep(2)
    return capfd.readouterr().out


def test_that_a_worker_died_is_kept_off_standard_output(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    assert printed_after_a_death(capfd) == ""
    monkeypatch.setattr("ray._private.worker._worker_logs_enabled", True)
    assert "died" in printed_after_a_death(capfd)  # else there is nothing to hush any more

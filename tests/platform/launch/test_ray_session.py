"""What Ray itself says while we use it."""

from __future__ import annotations

import contextlib
import os
import time

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]


def printed_after_a_death(capfd: pytest.CaptureFixture[str], wait_s: float) -> str:
    """What stands on standard output once a worker has died, at the latest after the wait."""
    import ray

    capfd.readouterr()
    with contextlib.suppress(ray.exceptions.WorkerCrashedError):
        ray.get(ray.remote(num_cpus=0, max_retries=0)(lambda: os._exit(1)).remote())
    printed, end = "", time.monotonic() + wait_s
    while "died" not in printed and time.monotonic() < end:
        time.sleep(0.1)
        printed += capfd.readouterr().out
    return printed


def test_that_a_worker_died_is_kept_off_standard_output(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as unhushed:
        unhushed.setattr("ray._private.worker._worker_logs_enabled", True)
        begin = time.monotonic()
        assert "died" in printed_after_a_death(capfd, 60)  # else there is nothing to hush
        took_s = time.monotonic() - begin
    assert printed_after_a_death(capfd, 1 + 2 * took_s) == ""

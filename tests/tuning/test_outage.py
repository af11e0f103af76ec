"""A sweep whose tracking server goes away in the middle, for a while and for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from paceline.platform.tracking.store import Store
from paceline.tests.platform.tracking.proxy import Proxy
from paceline.tests.platform.tracking.server import Server, serving

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), empty_store) as server:
        yield server


def go_away(proxy: Proxy, after_runs: int, for_s: float | None) -> threading.Thread:
    """Refuse connections once so many runs were created, for a while or for ever."""

    def watch() -> None:
        deadline = time.monotonic() + 150
        while sum(asked.endswith("runs/create") for asked in proxy.requests) < after_runs:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        proxy.refuse()
        if for_s is not None:
            time.sleep(for_s)
            proxy.start()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def assert_whole(store: Store, run_id: str, num_trials: int) -> None:
    """Every trial has one run, which ended well, and each of its steps once."""
    children = store.children_with(run_id, "paceline.trial")
    assert [trial for _, trial in children.values()] == [str(n) for n in range(num_trials)]
    for child, (status, _) in children.items():
        assert status == "finished"
        history = store.client.get_metric_history(child, "val/loss")
        steps = [point.step for point in history]
        assert len(steps) == len(set(steps)) == 4
        files = {file.path for file in store.client.list_artifacts(child)}
        assert {"config.yaml", "model_summary.txt"} <= files
    assert store.status(run_id) == "finished"


SWEEP = ("sweep", "linear", "--seed", "1", "--scheduler", "none", "--trainer.max_epochs", "4")


def test_trials_train_on_and_new_ones_wait_for_the_server(run_command, server: Server):
    proxy = Proxy(server.port)
    watcher = go_away(proxy, after_runs=3, for_s=10.0)
    answer = run_command(*SWEEP, "--trials", "5", "--tracking-uri", proxy.uri, "--json")
    watcher.join()
    assert answer.code == 0, answer.err
    assert answer.json["finished"] == 5
    assert run_command("sync", "--json").code == 0
    assert_whole(Store(server.uri), answer.json["run_id"], 5)
    proxy.refuse()


def test_a_sweep_whose_trials_have_begun_ends_without_the_server(run_command, server: Server):
    proxy = Proxy(server.port)
    watcher = go_away(proxy, after_runs=3, for_s=None)
    answer = run_command(*SWEEP, "--trials", "2", "--tracking-uri", proxy.uri, "--json")
    watcher.join()
    assert answer.code == 0, answer.err
    assert answer.json["finished"] == 2
    proxy.start()
    done = run_command("sync", answer.json["name"], "--json")
    assert (done.code, done.json["left"]) == (0, 0), done.err
    assert_whole(Store(server.uri), answer.json["run_id"], 2)
    proxy.refuse()

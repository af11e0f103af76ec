"""`paceline fit` through an outage that never ends, and `paceline sync` after it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paceline.platform.tracking.spool_folder import all_spools
from paceline.platform.tracking.store import Store
from paceline.tests.platform.tracking.proxy import Proxy

TOKEN, PASSWORD = "tok-5ecret", "hunter22"
# A user who writes a secret where it does not belong must not find it in the record.
TAGS = f"{{mirror: 'postgresql://me:{PASSWORD}@host/db'}}"
FIT = ("fit", "linear", "--seed", "1", "--trainer.max_epochs", "3", "--tracking.tags", TAGS)


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)


def go_away_after(proxy: Proxy, request: str) -> threading.Thread:
    """Refuse connections for ever once something was asked."""

    def watch() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if any(request in asked for asked in proxy.requests):
                proxy.refuse()
                return
            time.sleep(0.005)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def record_of(store: Store, run_id: str) -> dict[str, Any]:
    """What MLflow has of a run, without what differs between any two runs."""
    run = store.client.get_run(run_id)
    names = [name for name in run.data.metrics if not name.startswith("system/")]
    points = {
        name: sorted((p.step, p.value) for p in store.client.get_metric_history(run_id, name))
        for name in names
    }
    return {
        "status": run.info.status,
        "points": points,
        "params": run.data.params,
        "tags": sorted(run.data.tags),
        "files": sorted(files(store, run_id)),
        "data": [i.dataset.digest for i in run.inputs.dataset_inputs],
        "models": len(run.outputs.model_outputs),
    }


def files(store: Store, run_id: str, folder: str = "") -> Iterator[str]:
    for file in store.client.list_artifacts(run_id, folder):
        if file.is_dir:
            yield from files(store, run_id, file.path)
        else:
            yield file.path


def texts(store: Store, run_id: str, folder: Path) -> str:
    """Every text of a run's record, and every byte that waits for it."""
    run = store.client.get_run(run_id)
    parts = [*run.data.params.values(), *run.data.tags.values()]
    for path in files(store, run_id):
        if path.endswith((".yaml", ".txt", ".json")):
            parts.append(Path(store.client.download_artifacts(run_id, path)).read_text())
    parts += [p.read_text(errors="replace") for p in folder.rglob("spool/**/*") if p.is_file()]
    return "\n".join(parts)


def test_a_run_whose_server_never_comes_back_ends_well_and_is_uploaded_later(
    run_command,
    paceline_home: Path,
    proxy: Proxy,
    secrets: None,
    caplog: pytest.LogCaptureFixture,
):
    to = ("--tracking-uri", proxy.uri, "--json")
    calm = run_command(*FIT, "--name", "calm", *to)
    assert calm.code == 0, calm.err
    proxy.requests.clear()
    watcher = go_away_after(proxy, "runs/create")
    storm = run_command(*FIT, "--name", "storm", *to)
    watcher.join()
    assert storm.code == 0, storm.err
    assert storm.json["status"] == "finished"
    assert storm.json["metrics"] == calm.json["metrics"]
    assert "`paceline sync` uploads them" in caplog.text
    folder = paceline_home / "runs" / "storm"
    assert all_spools(folder)

    still = run_command("sync", "storm", "--json")
    assert still.code == 1
    assert still.json["left"] > 0
    assert "Connection refused" in still.json["runs"][0]["error"]

    proxy.start()
    store = Store(proxy.uri)
    run_id = storm.json["run_id"]
    assert store.status(run_id) == "running"
    before = texts(store, run_id, folder)
    done = run_command("sync", "storm", "--json")
    assert done.code == 0, done.err
    [row] = done.json["runs"]
    assert (row["left"], row["there"], row["refused"], row["error"]) == (0, 0, 0, "")
    assert row["points"] > 10
    assert record_of(store, run_id) == record_of(store, calm.json["run_id"])
    assert all_spools(folder) == []
    assert not (folder / "spool").exists()

    again = run_command("sync", "storm", "--json")
    assert (again.code, again.json["runs"][0]["points"]) == (0, 0)
    assert run_command("sync").out == "Nothing waits.\n"

    said = before + texts(store, run_id, folder) + storm.out + storm.err + done.out + done.err
    said += caplog.text
    assert TOKEN not in said
    assert PASSWORD not in said
    assert "postgresql://me:***@host/db" in said


def test_a_changed_spool_is_refused_and_the_others_are_uploaded(
    run_command, paceline_home: Path, proxy: Proxy
):
    for name in ("mine", "theirs"):
        watcher = go_away_after(proxy, "runs/create")
        answer = run_command(*FIT, "--name", name, "--tracking-uri", proxy.uri)
        watcher.join()
        assert answer.code == 0, answer.err
        proxy.start()
        proxy.requests.clear()
    [path, *_] = all_spools(paceline_home / "runs" / "theirs")
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b"1", b"2", 1)
    path.write_bytes(b"".join(lines))
    one = run_command("sync", "theirs", "--json")
    assert one.code == 2
    assert f"{path}:4" in one.json["error"]["where"]
    every = run_command("sync", "--json")
    assert every.code == 2
    told = {row["name"]: row for row in every.json["runs"]}
    assert "line 4" in told["theirs"]["error"]
    assert told["mine"]["left"] == 0
    assert told["mine"]["points"] > 0
    assert path.exists()


def test_an_unknown_name_is_told_with_the_nearest(run_command):
    answer = run_command("sync", "nobody")
    assert answer.code == 2
    assert "NAME" in answer.err


@pytest.mark.parametrize("trouble", ["refuse", 500, 429])
def test_a_run_that_cannot_be_created_is_refused_at_once(
    run_command, paceline_home: Path, proxy: Proxy, trouble: str | int
):
    if trouble == "refuse":
        proxy.refuse()
    else:
        proxy.status = int(trouble)
    start = time.monotonic()
    answer = run_command(*FIT, "--name", "early", "--tracking-uri", proxy.uri, "--json")
    assert answer.code == 2
    assert "tracking.uri" in answer.json["error"]["what"]
    assert time.monotonic() - start < 30
    assert not (paceline_home / "runs" / "early").exists()
    if trouble == "refuse":
        proxy.start()

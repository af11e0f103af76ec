from __future__ import annotations

import hashlib
import json
import resource
from pathlib import Path

import pytest
from paceline.platform.errors import UserError
from paceline.platform.sealed_lines import seal_line
from paceline.platform.tracking.delivery import Refused, Target, deliver, merge
from paceline.platform.tracking.drain import drain
from paceline.platform.tracking.redaction import redact
from paceline.platform.tracking.spool import Spool, Write
from paceline.platform.tracking.spool_folder import spools
from paceline.platform.tracking.store import Store


def point(step: int) -> list[object]:
    return ["a", step / 7, 1000 + step, step]


def fill(folder: Path, count: int, run_id: str = "f" * 32) -> Path:
    """A spool that its process left with so many writes of one point each."""
    spool = Spool(folder, run_id)
    for step in range(count):
        spool.append("metrics", {"points": [point(step)]})
    spool.close()
    assert spool.path is not None
    return spool.path


def everything(spool: Spool) -> list[int]:
    """The steps that wait in a spool, taken in the order in which they would be sent."""
    steps = []
    while waiting := spool.first(late=False):
        steps += [p[3] for write in waiting for p in write.content["points"]]
        spool.done(waiting)
    return steps


def test_what_was_appended_is_there_for_the_next_process(tmp_path: Path):
    path = fill(tmp_path, 500)
    spool = Spool.take_up(path)
    assert spool is not None
    assert spool.num_waiting == 500
    assert everything(spool) == list(range(500))
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_what_has_arrived_is_not_there_again(tmp_path: Path):
    spool = Spool.take_up(fill(tmp_path, 5000))
    assert spool is not None
    first = spool.first(late=False)
    spool.done(first)
    spool.close()
    [path] = spools(tmp_path)
    again = Spool.take_up(path)
    assert again is not None
    assert everything(again) == list(range(len(first), 5000))
    again.close()


def test_an_outage_takes_disk_and_not_memory(tmp_path: Path):
    spool = Spool(tmp_path, "f" * 32)
    for step in range(3000):
        spool.append("metrics", {"points": [point(step)] * 10})
    assert len(spool.cached()) <= 32
    assert spool.num_waiting == 30_000
    assert len(spool.first(late=False)) < 300
    spool.done(spool.first(late=False))
    assert everything(spool)[-1] == 2999
    spool.close()


def test_a_spool_whose_writes_all_arrived_does_not_grow(tmp_path: Path):
    spool = Spool(tmp_path, "f" * 32)
    for step in range(100):
        spool.append("metrics", {"points": [point(step)] * 1000})
        spool.done(spool.first(late=False))
    assert spool.path is not None
    assert spool.path.stat().st_size < 2 << 20
    spool.append("metrics", {"points": [point(100)]})
    spool.close()
    again = Spool.take_up(spool.path)
    assert again is not None
    assert everything(again) == [100]
    again.close()


def test_the_spool_of_a_living_process_is_left_alone(tmp_path: Path):
    spool = Spool(tmp_path, "f" * 32)
    spool.append("metrics", {"points": [point(0)]})
    assert spool.path is not None
    assert Spool.take_up(spool.path) is None
    assert drain("http://127.0.0.1:9", [spool.path]).held == 1
    spool.close()


def test_a_line_torn_by_a_crash_is_left_out(tmp_path: Path):
    path = fill(tmp_path, 2)
    path.write_bytes(path.read_bytes() + b'{"n": 2, "op": "metrics", ' + b" " * 500)
    spool = Spool.take_up(path)
    assert spool is not None
    spool.append("metrics", {"points": [point(9)]})
    spool.close()
    again = Spool.take_up(path)
    assert again is not None
    assert everything(again) == [0, 1, 9]
    again.close()


@pytest.mark.parametrize("change", ["value", "left out", "put in", "first"])
def test_a_changed_spool_is_refused_with_its_line(tmp_path: Path, change: str):
    path = fill(tmp_path, 5)
    lines = path.read_bytes().splitlines(keepends=True)
    if change == "value":
        lines[2] = lines[2].replace(b"1001", b"1002")
    elif change == "left out":
        del lines[2]
    elif change == "put in":
        lines.insert(2, lines[1])
    else:
        lines[0] = lines[0].replace(b"ffff", b"eeee", 1)
    path.write_bytes(b"".join(lines))
    number = 1 if change == "first" else 3
    with pytest.raises(UserError, match=f"line {number} or the one before") as caught:
        Spool.take_up(path)
    assert caught.value.where == f"{path}:{number}"
    assert path.exists()


def test_a_spool_that_others_can_write_is_refused(tmp_path: Path):
    path = fill(tmp_path, 1)
    path.chmod(0o666)
    with pytest.raises(UserError, match="nobody else can write"):
        Spool.take_up(path)
    assert path.exists()


def test_a_line_that_we_never_write_is_refused_though_it_is_sealed(tmp_path: Path):
    path = fill(tmp_path, 1)
    seal = json.loads(path.read_bytes().splitlines()[-1])["sum"]
    line, _ = seal_line({"n": 7, "op": "unpickle", "data": "gASV"}, seal)
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(UserError, match="line 3"):
        Spool.take_up(path)


@pytest.mark.parametrize(
    "file", ["../../secret.txt", "/etc/hostname", "box/../../../secret.txt", "x"]
)
def test_a_file_outside_of_the_spool_is_never_sent(store: Store, tmp_path: Path, file: str):
    files = tmp_path / "spool" / "files"
    (files / "box").mkdir(parents=True)
    for path in (tmp_path / "secret.txt", files / "x"):
        path.write_text("mine")
    run_id = store.create_run("one")
    digest = hashlib.sha256((files / file).read_bytes()).hexdigest()
    write = Write(0, "artifact", {"file": file, "sha256": digest, "folder": None})
    with pytest.raises(Refused):
        deliver(Target(store.uri, run_id, files), write)
    assert store.client.list_artifacts(run_id) == []


def test_a_link_or_a_changed_file_is_never_sent(store: Store, tmp_path: Path):
    (tmp_path / "secret.txt").write_text("mine")
    box = tmp_path / "files" / "box"
    box.mkdir(parents=True)
    (box / "link.txt").symlink_to(tmp_path / "secret.txt")
    (box / "other.txt").write_text("changed")
    run_id = store.create_run("one")
    for name in ("link.txt", "other.txt"):
        content = {"file": f"box/{name}", "sha256": "0" * 64, "folder": None}
        with pytest.raises(Refused):
            deliver(Target(store.uri, run_id, tmp_path / "files"), Write(0, "artifact", content))
    assert store.client.list_artifacts(run_id) == []


def test_a_full_disk_keeps_writes_in_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    spool = Spool(tmp_path, "f" * 32)
    spool.append("metrics", {"points": [point(0)]})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert spool.path is not None
    resource.setrlimit(resource.RLIMIT_FSIZE, (spool.path.stat().st_size + 50, before[1]))
    try:
        for step in range(1, 700):
            spool.append("metrics", {"points": [point(step)]})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert spool.num_lost == 700 - 1 - 512
    assert len([r for r in caplog.records if "stay in memory" in r.message]) == 1
    spool.append("metrics", {"points": [point(700)]})
    assert everything(spool) == [*range(513), 700]
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_metrics_that_waited_travel_together():
    writes = [Write(n, "metrics", {"points": [point(n)] * 400}) for n in range(4)]
    taken, one = merge([*writes[:3], Write(3, "tags", {"tags": {}})], 1000)
    assert [write.number for write in taken] == [0, 1]
    assert len(one.content["points"]) == 800
    taken, one = merge([Write(3, "tags", {"tags": {}}), *writes], 1000)
    assert [write.number for write in taken] == [3]
    assert one.op == "tags"


def test_a_batch_sent_twice_is_stored_once_to_the_bit(store: Store, tmp_path: Path):
    odd = [float("nan"), float("inf"), -float("inf"), -0.0, 5e-324, 0.1 + 0.2, 1e300]
    rows = [["a", value, 10**12 + n, n] for n, value in enumerate(odd)]
    run_id = store.create_run("one")
    target = Target(store.uri, run_id, tmp_path)
    deliver(target, Write(0, "metrics", {"points": rows[:4]}))
    for _ in range(3):
        deliver(target, Write(0, "metrics", {"points": rows}))
    history = store.client.get_metric_history(run_id, "a")
    assert [(p.step, p.timestamp) for p in history] == [(n, 10**12 + n) for n in range(len(odd))]
    assert [p.value for p in history[3:]] == odd[3:]


def test_a_step_that_a_later_attempt_wrote_is_not_written_again(store: Store, tmp_path: Path):
    run_id = store.create_run("one")
    left = fill(tmp_path, 10, run_id)  # by a process that died, on a disk that was away
    for step in range(5, 20):
        store.client.log_metric(run_id, "a", step / 7, timestamp=5000 + step, step=step)
    told = drain(store.uri, [left])
    assert (told.points, told.there, told.left) == (5, 5, 0)
    history = store.client.get_metric_history(run_id, "a")
    assert sorted(p.step for p in history) == list(range(20))


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("postgresql://me:hunter2@host/db", "postgresql://me:***@host/db"),
        ("paceline fit mlp --tracking-uri 'mysql+x://a:p%40w@h'", None),
        ("https://host/x?token=hunter2&a=1", "https://host/x?token=***&a=1"),
        ("http://127.0.0.1:5000/#/a@b", "http://127.0.0.1:5000/#/a@b"),
        ("lr: 0.1", "lr: 0.1"),
        ("Bearer hunter2-token", "Bearer ***"),
    ],
)
def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch, text: str, public: str | None):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "hunter2-token")
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD", raising=False)
    redacted = redact(text)
    assert redacted == (public or "paceline fit mlp --tracking-uri 'mysql+x://a:***@h'")

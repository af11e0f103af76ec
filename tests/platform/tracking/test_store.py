from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from paceline.platform.errors import RunError, UserError
from paceline.platform.tracking.client import MlflowException, cut, entity_name, reason
from paceline.platform.tracking.params import flatten
from paceline.platform.tracking.store import Store
from paceline.platform.tracking.uri import resolve_uri


def tags(store: Store, run_id: str) -> dict[str, str]:
    return store.client.get_run(run_id).data.tags


def artifacts(store: Store, run_id: str, folder: str | None = None) -> list[str]:
    return [file.path for file in store.client.list_artifacts(run_id, folder)]


def test_a_fresh_store_appears_whole_and_can_be_opened_again(tmp_path: Path):
    home = tmp_path / "a home with spaces, # and é"
    store = Store(resolve_uri(None, home), "first").open()
    page = f"http://127.0.0.1:5000/#/experiments/{store.experiment_id}/runs/abc"
    assert store.link("abc") == f"{page}?workflowType=machine_learning"
    again = Store(resolve_uri(None, home), "first").open()
    assert again.experiment_id == store.experiment_id
    run_id = store.create_run("one")
    store.client.log_text(run_id, "hello", "note.txt")
    assert (home / "artifacts" / run_id / "artifacts" / "note.txt").read_text() == "hello"
    # Nothing of the building is left behind.
    assert {p.name.partition("-")[0] for p in home.iterdir()} == {"mlflow.db", "artifacts"}


def test_a_sweep_is_a_parent_and_its_trials_are_children(store: Store):
    parent = store.create_run("sweep-1", tags={"team": "red"})
    children = [store.create_run(f"trial-{n}", parent=parent) for n in range(3)]
    assert store.children(parent) == dict.fromkeys(children, "running")
    assert tags(store, children[0])["mlflow.parentRunId"] == parent
    assert tags(store, children[0])["mlflow.runName"] == "trial-0"
    assert tags(store, parent)["team"] == "red"
    # A child's name is not taken for a sweep's.
    assert store.run_names() == {"sweep-1"}
    assert store.find_run("sweep-1") == parent
    assert store.find_run("trial-0") is None
    assert store.find_run("it's") is None
    assert store.find_run("""both ' and " """) is None


def test_runs_are_found_across_experiments_newest_first(store: Store):
    old = store.create_run("mlp-1")
    new = Store(store.uri, "other").open().create_run("mlp-1")
    assert old != new
    assert store.find_run("mlp-1") == new


@pytest.mark.parametrize("status", ["finished", "failed", "killed"])
def test_a_finished_run_says_how_it_ended(store: Store, status):
    run_id = store.create_run("one")
    store.finish(run_id, status, stop_reason="early_stopped")
    run = store.client.get_run(run_id)
    assert run.info.status == status.upper()
    assert run.info.end_time >= run.info.start_time
    assert run.data.tags["stop_reason"] == "early_stopped"
    assert "exception" not in run.data.tags


def test_a_failed_run_keeps_its_exception_and_traceback(store: Store):
    run_id = store.create_run("one")
    try:
        raise ValueError("loss is NaN\n" + "x" * 9000)
    except ValueError as error:
        store.finish(run_id, "failed", error=error)
    assert tags(store, run_id)["exception"] == "ValueError: loss is NaN"
    file = store.client.download_artifacts(run_id, "exception.txt")
    text = Path(file).read_text()
    assert text.startswith("Traceback (most recent call last)")
    assert "x" * 9000 in text


def test_an_exception_told_as_text_is_known_by_its_last_line(store: Store):
    run_id = store.create_run("one")
    store.finish(run_id, "failed", error="Traceback...\n  File ...\nOSError: " + "y" * 9000)
    line = tags(store, run_id)["exception"]
    assert line.startswith("OSError: yyy")
    assert line.endswith("... (cut, 9009 characters)")
    assert len(line) == 500


def test_the_runs_of_a_sweep_are_found_with_their_status_and_their_tag(store: Store):
    parent = store.create_run("sweep", tags={"paceline.sweep": "abc"})
    runs = [store.create_run(f"t-{n}", parent=parent, tags={"n": str(n)}) for n in range(2)]
    store.finish(runs[0], "finished", stop_reason="completed")
    assert store.children(parent) == {runs[0]: "finished", runs[1]: "running"}
    assert store.children_with(parent, "n")[runs[1]] == ("running", "1")
    assert store.find_tagged("paceline.sweep", "abc") == parent
    assert store.find_tagged("paceline.sweep", "abd") is None


def test_a_write_that_the_store_refuses_is_told(store: Store, tmp_path: Path):
    run_id = store.create_run("one")
    with pytest.raises(RunError, match="refused tags"):
        store.outlet.write(run_id, "tags", tags={"a(": "b"})
    store.keep_in(tmp_path / "run")
    store.outlet.write(run_id, "tags", tags={"a(": "b"})  # told, and ends nothing
    store.set_tags(run_id, {"a": "c"})
    assert tags(store, run_id)["a"] == "c"


def test_a_resumed_run_runs_again_and_counts_its_attempts(store: Store):
    run_id = store.create_run("one")
    assert tags(store, run_id)["attempt"] == "1"
    store.finish(run_id, "failed", stop_reason="budget", error="boom")
    store.reopen(run_id)
    run = store.client.get_run(run_id)
    assert run.info.status == "RUNNING"
    assert run.data.tags["attempt"] == "2"
    assert not {"exception", "stop_reason"} & run.data.tags.keys()
    store.finish(run_id, "finished", stop_reason="completed")
    assert store.client.get_run(run_id).info.status == "FINISHED"


def test_a_config_of_any_size_becomes_params(store: Store):
    config = {"model": {"class_path": "MLP", "init_args": {f"a{n}": n for n in range(250)}}}
    config["model"]["init_args"]["long"] = "ä" * 7000
    run_id = store.create_run("one", params=config)
    params = store.client.get_run(run_id).data.params
    assert len(params) == 252
    assert params["model.a249"] == "249"
    assert len(params["model.long"]) == 6000
    assert params["model.long"].endswith("ä... (cut, 7000 characters)")
    # Written twice they stay as they are.
    store.set_params(run_id, config)
    assert store.client.get_run(run_id).data.params == params


def test_a_run_that_goes_on_with_another_value_keeps_its_param_and_gets_a_tag(store: Store):
    run_id = store.create_run("one", params={"trainer": {"max_epochs": 5}})
    store.set_params(run_id, {"trainer": {"max_epochs": 9, "precision": 32}})
    run = store.client.get_run(run_id)
    assert run.data.params == {"trainer.max_epochs": "5", "trainer.precision": "32"}
    assert run.data.tags["trainer.max_epochs"] == "9"


def test_flatten_names_keys_as_the_command_line_does():
    config = {
        "seed_everything": 1,
        "model": {"class_path": "MLP", "init_args": {"hidden_sizes": [128, 64], "dropout": 0.1}},
        "trainer": {"logger": False, "callbacks": [{"class_path": "A"}], "precision": None},
        "sweep": {"space": {}},
        "name": "null",
    }
    assert flatten(config) == {
        "seed_everything": "1",
        "model.class_path": "MLP",
        "model.hidden_sizes": "[128, 64]",
        "model.dropout": "0.1",
        "trainer.logger": "false",
        "trainer.callbacks": '[{"class_path": "A"}]',
        "trainer.precision": "null",
        "sweep.space": "{}",
        "name": "null",
    }


def test_flatten_keeps_long_names_where_short_ones_would_clash():
    config = {"model": {"lr": 1, "init_args": {"lr": 2}}}
    assert flatten(config) == {"model.lr": "1", "model.init_args.lr": "2"}


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("train/loss", "train/loss"),
        ("größe 1:2", "größe 1:2"),
        ("loss(train)", "loss_train_"),
        ("a//b/../c/", "a/b/c"),
        ("/abs", "abs"),
        ("..", "_"),
        ("", "_"),
        ("line\nbreak", "line_break"),
        ("x" * 300, "x" * 250),
    ],
)
def test_names_are_made_such_that_mlflow_takes_them(store: Store, name: str, allowed: str):
    assert entity_name(name) == allowed
    run_id = store.create_run("one")
    store.client.log_metric(run_id, entity_name(name), 1.0)
    assert store.metrics(run_id) == {allowed: 1.0}


def test_cut_leaves_short_text_alone():
    assert cut("abc", 3) == "abc"
    assert cut("a" * 100, 40) == "a" * 15 + "... (cut, 100 characters)"


def test_a_tag_with_a_forbidden_name_is_told(store: Store):
    with pytest.raises(UserError, match=r"`tracking.tags` must be named with .* but is 'a=b'"):
        store.create_run("one", tags={"a=b": "c"})


@pytest.mark.parametrize("name", ["", "  ", "x" * 501])
def test_an_experiment_needs_a_name(store: Store, name: str):
    with pytest.raises(UserError, match=r"`tracking.experiment` must be a name"):
        Store(store.uri, name).open()


def test_a_deleted_experiment_is_told_with_the_way_to_restore_it(store: Store):
    store.client.delete_experiment(store.experiment_id)
    with pytest.raises(UserError, match=r"`tracking.experiment` .* which was deleted") as caught:
        Store(store.uri, "test").open()
    assert f"experiments restore -x {store.experiment_id}" in caught.value.remedy


def test_a_store_of_an_older_mlflow_is_told_with_the_way_to_upgrade_it(
    migrated_store: Path, tmp_path: Path
):
    import sqlite3

    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    database.close()
    with pytest.raises(UserError, match="this version") as caught:
        Store(resolve_uri(None, tmp_path), "test").open()
    assert "mlflow db upgrade sqlite:///" in caught.value.remedy


HAMMER = """
import sys
from pathlib import Path
from paceline.platform.tracking.store import Store
from paceline.platform.tracking.uri import resolve_uri
from paceline.platform.tracking.writer import MetricWriter
store = Store(resolve_uri(None, Path(sys.argv[1])), "shared").open()
parent = store.create_run("sweep")
run_id = store.create_run("trial", parent=parent, params={"number": 1})
writer = MetricWriter(store.uri, run_id, interval_s=0.01)
for step in range(600):
    writer.add({"a": step, "b": -step}, step)
    if step % 50 == 0:
        store.set_tags(run_id, {"step": step})
    if step % 200 == 0:
        writer.flush()
assert writer.close() and writer.error is None
store.finish(run_id, "finished", stop_reason="completed")
store.finish(parent, "finished", stop_reason="completed")
"""


def test_three_processes_create_one_store_and_write_at_once_and_lose_nothing(tmp_path: Path):
    trials = [
        subprocess.Popen([sys.executable, "-c", HAMMER, str(tmp_path)], stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    # A fourth one goes on reading and writing meanwhile, as a driver does.
    store = Store(resolve_uri(None, tmp_path), "shared").open()
    driver = store.create_run("driver")
    while any(trial.poll() is None for trial in trials):
        store.set_tags(driver, {"runs": len(store.run_names())})
        time.sleep(0.02)
    assert [trial.communicate()[1].decode() for trial in trials] == ["", "", ""]
    assert [trial.returncode for trial in trials] == [0, 0, 0]
    runs = store.client.search_runs([store.experiment_id], "attributes.run_name = 'trial'")
    assert [run.info.status for run in runs] == ["FINISHED"] * 3
    for run in runs:
        for name, sign in (("a", 1), ("b", -1)):
            points = store.client.get_metric_history(run.info.run_id, name)
            assert [(p.step, p.value) for p in points] == [(n, sign * n) for n in range(600)]


def test_of_a_list_of_failures_the_last_is_told_with_what_announces_it():
    text = "The following failures occurred:\n##### a.txt #####\nNo room.\n"
    assert reason(MlflowException(text)) == "The following failures occurred: No room."
    assert reason(MlflowException("No such run\nTry another")) == "No such run"

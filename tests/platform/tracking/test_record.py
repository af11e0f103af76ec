from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import matplotlib.figure
import pytest
import pytorch_lightning as pl
import torch
from paceline.platform.tracking import artifacts as tracking_artifacts
from paceline.platform.tracking import model as tracking_model
from paceline.platform.tracking import record as tracking_record
from paceline.platform.tracking.client import now_ms
from paceline.platform.tracking.logger import RunLogger
from paceline.platform.tracking.pictures import group, learning_curves
from paceline.platform.tracking.store import Store
from paceline.platform.tracking.system import SystemMonitor
from paceline.platform.tracking.writer import MetricWriter


class Net(pl.LightningModule):
    """A module of no family of ours."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)
        self.dropout = torch.nn.Dropout(0.5)
        self.example_input_array = torch.randn(2, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.layer(x))

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        loss = self(batch[0]).square().mean()
        self.log("train/loss", loss, on_step=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def figures(self) -> dict[str, matplotlib.figure.Figure]:
        figure = matplotlib.figure.Figure(figsize=(1, 1))
        figure.subplots().imshow([[0, 1], [1, 0]])
        return {"templates": figure}


class Data(pl.LightningDataModule):
    name, digest, num_train = "toy", "ab" * 32, 12

    def train_dataloader(self) -> torch.utils.data.DataLoader:
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(12, 4)), 2)


RECORD = {
    "config": {"model": {"class_path": "Net"}, "seed_everything": 7},
    "config_text": "seed_everything: 7\n",
    "name": "net-1",
    "seed": 7,
    "command": "paceline fit net.yaml --seed 7",
}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "net.py").write_text("x = 1\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for args in (["init", "-q"], ["add", "net.py"], [*who, "commit", "-qm", "one"]):
        subprocess.run(["git", *args], cwd=folder, check=True)
    monkeypatch.chdir(folder)
    tracking_record.code_state.cache_clear()
    yield folder
    tracking_record.code_state.cache_clear()


def tags(store: Store, run_id: str) -> dict[str, str]:
    return store.client.get_run(run_id).data.tags


def text(store: Store, run_id: str, path: str) -> str:
    return Path(store.client.download_artifacts(run_id, path)).read_text()


def test_a_run_says_how_to_repeat_it(store: Store, repository: Path):
    run_id = store.create_run("net-1")
    tracking_record.begin(store, run_id, **RECORD, world_size=2)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    found = tags(store, run_id)
    assert found["paceline.git_commit"] == found["mlflow.source.git.commit"] == commit
    assert found["paceline.git_dirty"] == "false"
    assert found["paceline.seed"] == "7"
    assert found["paceline.world_size"] == "2"
    assert found["paceline.version.torch"] == torch.__version__
    assert {"paceline", "ray", "mlflow", "pytorch-lightning", "python", "numpy"} <= {
        name.removeprefix("paceline.version.") for name in found
    }
    for word in (RECORD["command"], commit, "seed: 7, 2 processes", "`config.yaml`"):
        assert word in found["mlflow.note.content"]
    assert "uncommitted" not in found["mlflow.note.content"]
    assert text(store, run_id, "config.yaml") == RECORD["config_text"]
    params = store.client.get_run(run_id).data.params
    assert params == {"model.class_path": "Net", "seed_everything": "7"}


def test_changed_code_is_called_dirty(store: Store, repository: Path):
    (repository / "net.py").write_text("x = 2\n")
    run_id = store.create_run("net-1")
    tracking_record.begin(store, run_id, **RECORD)
    assert tags(store, run_id)["paceline.git_dirty"] == "true"
    assert "with uncommitted changes" in tags(store, run_id)["mlflow.note.content"]


def test_a_trial_that_ray_moved_elsewhere_has_its_sweeps_commit(
    store: Store, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sweep = store.create_run("sweep")
    tracking_record.begin(store, sweep, **RECORD)
    elsewhere = tmp_path / "trial"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    trial = store.create_run("trial", parent=sweep)
    tracking_record.begin(store, trial, **RECORD)
    commit = tags(store, sweep)["paceline.git_commit"]
    assert tags(store, trial)["paceline.git_commit"] == commit
    assert tags(store, trial)["mlflow.source.git.commit"] == commit


@pytest.mark.parametrize("state", ["no repository", "no commit", "no git"])
def test_without_git_the_rest_is_recorded(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
):
    folder = tmp_path / "plain"
    folder.mkdir()
    if state == "no commit":
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    if state == "no git":
        monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.chdir(folder)
    run_id = store.create_run("net-1")
    tracking_record.begin(store, run_id, **RECORD)
    assert not [name for name in tags(store, run_id) if "git" in name]
    assert "commit" not in tags(store, run_id)["mlflow.note.content"]


def test_data_is_known_by_name_and_digest(store: Store):
    import mlflow.data

    run_id = store.create_run("net-1")
    tracking_record.begin(store, run_id, **RECORD, data=Data())
    [entry] = store.client.get_run(run_id).inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("toy", ("ab" * 18))
    assert json.loads(entry.dataset.profile) == {"num_train": 12, "sha256": "ab" * 32}
    assert [(tag.key, tag.value) for tag in entry.tags] == [("mlflow.data.context", "training")]
    assert mlflow.data.get_source(entry.dataset).to_dict() == {
        "tags": {"mlflow.source.name": f"{__name__}.Data"}
    }
    assert tags(store, run_id)["paceline.data_digest"] == "ab" * 32


def test_foreign_data_is_known_by_its_class(store: Store):
    run_id = store.create_run("net-1")
    tracking_record.record_data(store, run_id, pl.LightningDataModule())
    [entry] = store.client.get_run(run_id).inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("LightningDataModule", "unknown")


def test_trials_that_record_one_data_set_at_once_all_do(store: Store):
    """Eight threads at a gate collide nearly always: without the retry 5 of 5 tries failed."""
    runs = [store.create_run(f"trial {number}") for number in range(8)]
    gate = threading.Barrier(len(runs))

    def record(run_id: str) -> None:
        gate.wait()
        tracking_record.record_data(Store(store.uri), run_id, Data())

    with ThreadPoolExecutor(len(runs)) as pool:
        for done in [pool.submit(record, run_id) for run_id in runs]:
            done.result()
    digests = [store.client.get_run(run).inputs.dataset_inputs[0].dataset.digest for run in runs]
    assert len(set(digests)) == 1


def test_a_models_size_is_recorded(store: Store):
    run_id = store.create_run("net-1")
    tracking_record.record_model(store, run_id, tracking_record.summary_of(Net()))
    assert tags(store, run_id)["paceline.num_parameters"] == "15"
    assert "layer" in text(store, run_id, "model_summary.txt")


def fit(store: Store, run_id: str, module: Net) -> None:
    writer = MetricWriter(store.uri, run_id)
    trainer = pl.Trainer(
        max_epochs=2,
        logger=RunLogger(writer, "net-1"),
        log_every_n_steps=1,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    loader = torch.utils.data.DataLoader([(torch.ones(4),)] * 6, batch_size=2)
    trainer.fit(module, loader)
    # Lightning's `finalize` has flushed, and the writer is still open for a test.
    assert len(store.client.get_metric_history(run_id, "train/loss")) == 6
    assert writer.close()


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
def test_a_trained_module_leaves_pictures_signature_and_model(store: Store):
    import mlflow
    from mlflow.pytorch import load_model

    run_id = store.create_run("net-1")
    module = Net()
    fit(store, run_id, module)
    logger = module.trainer.logger
    assert (logger.name, logger.version, logger.save_dir) == ("net-1", run_id, None)
    assert tracking_artifacts.finish_artifacts(store, run_id, module, log_model=True) == []
    pictures = {file.path for file in store.client.list_artifacts(run_id, "figures")}
    assert pictures == {"figures/learning_curves.png", "figures/templates.png"}
    picture = store.client.download_artifacts(run_id, "figures/templates.png")
    assert Path(picture).read_bytes().startswith(b"\x89PNG")
    signature = json.loads(text(store, run_id, "signature.json"))
    assert signature["inputs"][0]["tensor-spec"] == {"dtype": "float32", "shape": [-1, 4]}
    assert signature["outputs"][0]["tensor-spec"] == {"dtype": "float32", "shape": [-1, 3]}
    assert module.training
    assert module.trainer is not None
    mlflow.set_tracking_uri(store.uri)
    loaded = load_model(f"runs:/{run_id}/model")
    batch = torch.randn(7, 4)
    assert torch.equal(loaded(batch), module.eval()(batch))
    [output] = store.client.get_run(run_id).outputs.model_outputs
    assert torch.equal(load_model(f"models:/{output.model_id}")(batch), module(batch))


def test_the_logged_model_has_the_checkpoints_weights(store: Store, tmp_path: Path):
    import mlflow
    from mlflow.pytorch import load_model

    best, last = Net(), Net()
    torch.save({"state_dict": best.state_dict()}, tmp_path / "best.ckpt")
    run_id = store.create_run("net-1")
    signature = tracking_artifacts.infer(last)
    tracking_model.log_mlflow_model(store, run_id, last, signature, str(tmp_path / "best.ckpt"))
    mlflow.set_tracking_uri(store.uri)
    batch = torch.randn(3, 4)
    assert torch.equal(load_model(f"runs:/{run_id}/model")(batch), best.eval()(batch))


def test_a_picture_that_fails_spoils_nothing_else(store: Store, caplog: pytest.LogCaptureFixture):
    class Broken(Net):
        def figures(self):
            raise ZeroDivisionError("no samples")

    run_id = store.create_run("net-1")
    [failure] = tracking_artifacts.finish_artifacts(store, run_id, Broken())
    assert failure == "figures: ZeroDivisionError: no samples"
    assert "no samples" in caplog.text
    left = [file.path for file in store.client.list_artifacts(run_id)]
    assert left == ["failures", "signature.json"]


def test_a_model_that_cannot_be_exported_is_one_line_and_the_rest_in_the_run(
    store: Store, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture
):
    class Undecided(Net):
        def forward(self, x):
            return self.layer(x) if x.sum() > 0 else self.layer(2 * x)

    run_id = store.create_run("net-1")
    [failure] = tracking_artifacts.finish_artifacts(store, run_id, Undecided(), log_model=True)
    assert failure.startswith("MLflow model: ")
    assert "\n" not in failure
    [record] = [r for r in caplog.records if r.name == "paceline.tracking"]
    assert record.exc_info is None
    assert "\n" not in record.getMessage()
    assert record.getMessage().endswith("(details in the run: failures/MLflow_model.txt)")
    details = text(store, run_id, "failures/MLflow_model.txt")
    assert "Traceback" in details
    assert "def forward(self, " in details  # the graph
    assert capfd.readouterr() == ("", "")
    models = store.client.search_logged_models(["0"])
    assert [model.status for model in models] in ([], ["FAILED"])


def test_warnings_are_still_seen_after_a_model_was_exported(tmp_path: Path):
    """A handler that is added during the export would keep what is said later to itself."""
    code = """
import logging, sys
from paceline.platform.tracking.model import printed_kept
with printed_kept():
    import torch.export
    logging.basicConfig(level=logging.ERROR)
logging.getLogger("paceline.tracking").warning("still seen")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stderr == "still seen\n"


@pytest.mark.parametrize(
    ("example", "names"),
    [
        ((torch.ones(2, 4), torch.ones(2, 1)), ["0", "1"]),
        ({"x": torch.ones(2, 4), "scale": torch.ones(2, 1)}, ["x", "scale"]),
    ],
)
def test_signatures_of_several_inputs_name_each(store: Store, example, names: list[str]):
    class Scaled(Net):
        def forward(self, x, scale):
            return {"scores": self.layer(x) * scale}

    module = Scaled()
    module.example_input_array = example
    signature = tracking_artifacts.infer(module)
    assert [spec.name for spec in signature.inputs] == names
    assert [spec.name for spec in signature.outputs] == ["scores"]


class TestPictures:
    histories: ClassVar = {
        "train/loss": [(1, 2.0), (2, 1.0)],
        "train/loss_step": [(n, 1.0) for n in range(5000)],
        "val/loss": [(1, 3.0), (2, 1.7976931348623157e308)],
        "val/accuracy": [(1, 0.5), (2, 0.6)],
        "test/accuracy": [(2, 0.6)],
        "test/f1": [(2, 0.6)],
        "epoch": [(1, 0.0), (2, 1.0)],
    }

    def test_metrics_of_one_quantity_share_a_panel_and_losses_come_first(self):
        assert {quantity: sorted(curves) for quantity, curves in group(self.histories).items()} == {
            "loss": ["train/loss", "train/loss_step", "val/loss"],
            "accuracy": ["test/accuracy", "val/accuracy"],
        }
        assert next(iter(group(self.histories))) == "loss"

    def test_an_infinite_loss_does_not_flatten_the_panel(self):
        figure = learning_curves(self.histories)
        assert figure is not None
        loss, accuracy = figure.axes
        assert loss.get_ylim()[1] < 4
        assert [len(line.get_xdata()) for line in loss.lines] == [2, 1667, 2]
        assert accuracy.get_title() == "accuracy"

    def test_a_place_without_a_panel_stays_white(self):
        three = {name: [(1, 1.0), (2, 2.0)] for name in ("a", "b", "c")}
        figure = learning_curves(three)
        assert figure is not None
        assert [axes.axison for axes in figure.axes] == [True, True, True, False]

    def test_a_run_without_curves_has_no_picture(self):
        assert learning_curves({"test/loss": [(1, 1.0)]}) is None


def test_system_metrics_come_under_mlflows_names(store: Store):
    a_minute_ago = now_ms() - 60_000
    run_id = store.client.create_run(store.experiment_id, start_time=a_minute_ago).info.run_id
    writer = MetricWriter(store.uri, run_id)
    monitor = SystemMonitor(writer, interval_s=0.2).start()
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        pass  # keep a CPU busy
    monitor.stop()
    assert writer.close()
    metrics = store.metrics(run_id)
    assert {
        "system/cpu_utilization_percentage",
        "system/system_memory_usage_megabytes",
        "system/system_memory_usage_percentage",
        "system/disk_usage_percentage",
        "system/disk_usage_megabytes",
        "system/disk_available_megabytes",
        "system/network_receive_megabytes",
        "system/network_transmit_megabytes",
    } <= metrics.keys()
    assert 0 < metrics["system/system_memory_usage_percentage"] < 100
    history = store.client.get_metric_history(run_id, "system/cpu_utilization_percentage")
    assert len(history) >= 3
    assert min(point.value for point in history) > 0
    # The step is the second of the run.
    assert {point.step for point in history} <= {60, 61, 62, 63}


def test_nodes_write_under_their_own_names(store: Store):
    writer = MetricWriter(store.uri, store.create_run("net-1"))
    names = SystemMonitor(writer, node="worker-1").sample()
    assert "system/worker-1/cpu_utilization_percentage" in names
    assert writer.close()

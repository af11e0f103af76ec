"""`paceline sample NAME`, and what a generative module makes while it learns."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
from paceline.platform.tracking.snapshots import MOST, is_due

MODULE = '''
import torch
from matplotlib.figure import Figure
from paceline.lightning_modules.mlp import MLP


class Maker(MLP):
    """Makes lines of its own; says what it was asked for."""

    def sample(self, *, seed: int = 0, prompt: str = "a", count: int = 2, scale: float = 1.0,
               loud: bool = False, top: int | None = None) -> dict[str, object]:
        if not prompt.isalpha():
            raise ValueError(f"`prompt` must be of letters, but is {prompt!r}.")
        assert not self.training and not torch.is_grad_enabled()
        weight = next(iter(self.network.parameters())).flatten()[0].item()
        text = f"{prompt * count} {scale} {loud} {top} {seed} {weight:.6f}"
        return {"text": text, "drawing": Figure()}

    def snapshots(self) -> dict[str, object]:
        torch.rand(100)  # must not change what is learned afterwards
        return {"line": f"epoch {self.trainer.current_epoch + 1}", "grid": Figure()}


class Silent(MLP):
    """As it is, without samples and snapshots."""


class Slips(MLP):
    def snapshots(self):
        raise KeyError("a slip")
'''
QUICK = ("--trainer.max_epochs", 2, "--tracking.log_model", "false", "--seed", 1)


@pytest.fixture
def fit(run_command):
    """Fit one of the modules above under a name."""
    Path("maker.py").write_text(MODULE)

    def fit(model: str, name: str, *more: object):
        answer = run_command(
            "fit", "mlp", "--model", f"maker.{model}", *QUICK, *more, "--name", name, "--json"
        )
        assert answer.code == 0, answer.err
        return answer.json

    return fit


def test_flags_reach_the_trained_module_with_their_types(run_command, fit, paceline_home: Path):
    fit("Maker", "made")
    flags = ("--prompt", "ab", "--count=3", "--scale", -0.5, "--top", 4, "--seed", 7, "--loud")
    answer = run_command("sample", "made", *flags, "--json")
    assert answer.code == 0, answer.err
    made = answer.json["samples"]
    again = run_command("sample", "made", *flags, "--json").json["samples"]
    assert made["text"].startswith("ababab -0.5 True 4 7 ")
    assert made == again
    picture = Path(made["drawing"])
    assert picture.parent == paceline_home / "runs" / "made"
    assert picture.read_bytes().startswith(b"\x89PNG")
    told = run_command("sample", "made", *flags).out
    assert "ababab -0.5" in told
    assert str(picture) in told
    assert "MLflow" not in told  # nothing was recorded


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--promt", "a"), "--prompt"),
        (("--count", "two"), "`--count` must be of type int, but is 'two'."),
        (("--prompt", "1"), "`prompt` must be of letters, but is '1'.\n  at: --prompt"),
    ],
)
def test_a_wrong_option_is_one_message(run_command, fit, flags, told):
    fit("Maker", "made")
    answer = run_command("sample", "made", *flags)
    assert answer.code == 2
    assert told in answer.err
    assert "Traceback" not in answer.err


def test_a_module_that_makes_nothing_is_told_so(run_command, fit):
    fit("Silent", "mute")
    answer = run_command("sample", "mute")
    assert answer.code == 2
    assert "it has a method `sample`" in answer.err
    assert run_command("sample", "nobody").code == 2


def test_snapshots_are_kept_epoch_by_epoch_and_change_nothing(fit):
    made, mute = fit("Maker", "made"), fit("Silent", "mute")
    client = mlflow.MlflowClient(made["tracking_uri"])
    epochs = [item.path for item in client.list_artifacts(made["run_id"], "snapshots")]
    assert epochs == ["snapshots/epoch-0001", "snapshots/epoch-0002"]
    files = {item.path for item in client.list_artifacts(made["run_id"], epochs[1])}
    assert files == {f"{epochs[1]}/grid.png", f"{epochs[1]}/line.txt"}
    text = mlflow.artifacts.load_text(
        f"{client.get_run(made['run_id']).info.artifact_uri}/{epochs[1]}/line.txt"
    )
    assert text == "epoch 2"
    assert made["metrics"] == mute["metrics"]


def test_a_slip_in_a_snapshot_is_told_and_ends_nothing(fit, caplog):
    assert fit("Slips", "slips")["status"] == "finished"
    assert "The snapshots could not be made" in caplog.text


def test_a_long_run_takes_twenty_snapshots_and_an_open_one_ever_fewer():
    due = [epoch for epoch in range(1, 1001) if is_due(epoch, 1000)]
    assert due[:2] == [1, 50]
    assert due[-1] == 1000
    assert len(due) == MOST + 1
    assert [e for e in range(1, 4) if is_due(e, 3)] == [1, 2, 3]
    assert [e for e in range(1, 30) if is_due(e, -1)] == [1, 2, 3, 4, 6, 8, 12, 16, 24]

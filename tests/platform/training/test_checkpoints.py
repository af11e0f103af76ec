from __future__ import annotations

import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from paceline.platform.errors import RunError, UserError
from paceline.platform.training.checkpoint_file import (
    check_network,
    check_resumable,
    digest,
    publish,
    read,
)
from paceline.platform.training.checkpoint_names import BEST, LATEST, digest_file
from paceline.platform.training.checkpoints import Checkpoints
from pytorch_lightning import LightningModule


def content(value: float) -> dict[str, Any]:
    return {"state_dict": {"weight": torch.full((16,), value)}, "epoch": 3}


def save(path: Path, value: float) -> Path:
    torch.save(content(value), path)
    return path


def value_of(path: Path) -> float:
    return read(path)["state_dict"]["weight"][0].item()


@pytest.fixture
def published(tmp_path: Path) -> Path:
    publish(save(tmp_path / "new", 1.0), tmp_path / "a.ckpt")
    return tmp_path / "a.ckpt"


class Crash(BaseException):
    """The process ends here."""


def crash_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process end before its step-th change to the disk, counted from 0."""
    steps = iter(range(1000))

    def counted(act: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if next(steps) == step:
                raise Crash
            return act(*args, **kwargs)

        return call

    monkeypatch.setattr(os, "replace", counted(os.replace))
    monkeypatch.setattr(Path, "write_text", counted(Path.write_text))


def publish_until(step: int, folder: Path, value: float) -> bool:
    """Publish, ending at a step; whether it came to its end."""
    with pytest.MonkeyPatch.context() as patch:
        new = save(folder / "new", value)
        crash_at(step, patch)
        try:
            publish(new, folder / "a.ckpt")
        except Crash:
            return False
    return True


def test_whole_checkpoints_survive_a_crash_at_any_step_and_a_second_one_after_it(tmp_path: Path):
    num_steps = 5  # two small files, each written and renamed, and the checkpoint renamed
    for first in range(num_steps + 1):
        for second in range(num_steps + 1):
            folder = tmp_path / f"{first}-{second}"
            folder.mkdir()
            path = folder / "a.ckpt"
            publish(save(folder / "new", 1.0), path)
            assert publish_until(first, folder, 2.0) == (first == num_steps)
            assert value_of(path) in (1.0, 2.0)
            assert publish_until(second, folder, 3.0) == (second == num_steps)
            assert value_of(path) in (1.0, 2.0, 3.0)
            publish(save(folder / "new", 4.0), path)
            assert value_of(path) == 4.0
            assert digest_file(path).read_text().split() == [digest(path)]


def test_a_first_checkpoint_is_whole_or_not_there(tmp_path: Path):
    for step in range(5):
        folder = tmp_path / str(step)
        folder.mkdir()
        publish_until(step, folder, 1.0)
        assert not (folder / "a.ckpt").exists() or value_of(folder / "a.ckpt") == 1.0


def test_publishing_leaves_nothing_but_the_checkpoint_and_its_digest(published: Path):
    assert {p.name for p in published.parent.iterdir()} == {"a.ckpt", "a.ckpt.sha256"}


def test_a_flipped_bit_is_found_by_the_digest(published: Path):
    raw = published.read_bytes()
    rng = random.Random(0)
    for place in rng.sample(range(len(raw)), 200):
        flipped = bytearray(raw)
        flipped[place] ^= 1 << rng.randrange(8)
        published.write_bytes(flipped)
        with pytest.raises(UserError, match="SHA-256"):
            read(published)


def test_a_flipped_bit_is_never_loaded_silently_where_there_is_no_digest(tmp_path: Path):
    path = save(tmp_path / "theirs.ckpt", 1.0)
    raw = path.read_bytes()
    refused = 0
    for place in range(0, len(raw), 3):  # each of them holds too, in three times the time
        flipped = bytearray(raw)
        flipped[place] ^= 1 << (place % 8)
        path.write_bytes(flipped)
        try:
            loaded = read(path)
        except UserError:
            refused += 1
        else:  # a date or a name in the archive, which means nothing to torch
            assert loaded["epoch"] == 3, place
            assert torch.equal(loaded["state_dict"]["weight"], torch.ones(16)), place
    assert refused > len(raw) / 6


@pytest.mark.parametrize("with_digest", [True, False])
def test_a_truncated_file_is_refused_wherever_it_ends(published: Path, with_digest: bool):
    raw = published.read_bytes()
    if not with_digest:
        digest_file(published).unlink()
    for length in range(0, len(raw), 37):
        published.write_bytes(raw[:length])
        with pytest.raises(UserError):
            read(published)


def test_a_digest_that_is_empty_or_garbled_trusts_nothing(published: Path):
    for text in (b"", b"\xff\xfe\x00", b"not a digest\n"):
        digest_file(published).write_bytes(text)
        with pytest.raises(UserError, match="SHA-256"):
            read(published)


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    for path in (tmp_path / "none.ckpt", tmp_path):
        with pytest.raises(UserError, match="file that exists"):
            read(path)


class Hostile:
    """A pickle that makes a file when it is opened without care."""

    def __init__(self, canary: Path, by: str = "system"):
        self.canary, self.by = canary, by

    def __reduce__(self):
        if self.by == "system":
            return os.system, (f"touch {self.canary}",)
        return eval, (f"open({str(self.canary)!r}, 'w')",)


@pytest.mark.parametrize("by", ["system", "eval"])
@pytest.mark.parametrize("kind", ["zip", "old torch", "pickle", "pickle 0"])
@pytest.mark.parametrize("listed", [True, False])
def test_a_hostile_pickle_is_refused_and_does_not_run(
    tmp_path: Path, kind: str, by: str, listed: bool
):
    canary, path = tmp_path / "canary", tmp_path / "a.ckpt"
    hostile = {"state_dict": {"weight": Hostile(canary, by)}}
    if kind.startswith("pickle"):
        path.write_bytes(pickle.dumps(hostile, protocol=0 if kind.endswith("0") else 4))
    else:
        torch.save(hostile, path, _use_new_zipfile_serialization=kind == "zip")
    if listed:
        digest_file(path).write_text(digest(path))
    with pytest.raises(UserError, match="plain tensors and values"):
        read(path)
    assert not canary.exists()


def test_a_hostile_pickle_hidden_in_a_good_archive_does_not_run(published: Path, tmp_path: Path):
    canary = tmp_path / "canary"
    forged = tmp_path / "forged.ckpt"
    with zipfile.ZipFile(published) as good, zipfile.ZipFile(forged, "w") as bad:
        for name in good.namelist():
            evil = name.endswith("data.pkl")
            bad.writestr(name, pickle.dumps(Hostile(canary), 2) if evil else good.read(name))
    with pytest.raises(UserError, match="plain tensors and values"):
        read(forged)
    assert not canary.exists()


@pytest.mark.parametrize("other", [[1, 2], {"a": 1}, {"state_dict": 3}, 7, "text"])
def test_what_is_no_lightning_checkpoint_is_told(tmp_path: Path, other: object):
    torch.save(other, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match="Lightning checkpoint"):
        read(tmp_path / "a.ckpt")


class Net(LightningModule):
    def __init__(self, width: int = 2):
        super().__init__()
        self.layer = torch.nn.Linear(width, 1)


class Renamed(Net):
    """Reads checkpoints that called its layer `old`."""

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["state_dict"]
        for name in [n for n in state if n.startswith("old.")]:
            state["layer." + name.removeprefix("old.")] = state.pop(name)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (Net(3).state_dict(), r"`layer.weight`: (1, 2) in the network, (1, 3) in the checkpoint"),
        ({}, "`layer.weight`: (1, 2) in the network, none in the checkpoint"),
        ({**Net().state_dict(), "more": torch.zeros(1)}, "`more`: none in the network"),
    ],
)
def test_a_checkpoint_of_another_network_is_told_by_its_first_odd_weight(state: Any, told: str):
    with pytest.raises(UserError, match="checkpoint of this network") as error:
        check_network(Net(), {"state_dict": state}, "a.ckpt")
    assert told in error.value.remedy


def test_a_module_may_make_a_checkpoint_fit():
    state = {f"old.{n.partition('.')[2]}": t for n, t in Net().state_dict().items()}
    given = {"state_dict": state}
    check_network(Renamed(), given, "a.ckpt")
    assert "old.weight" in given["state_dict"]  # Lightning calls the hook again
    lenient = Net(3)
    lenient.strict_loading = False
    check_network(lenient, given, "a.ckpt")


def resumable(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return {
        "pytorch-lightning_version": "2.6.6",
        "loops": {},
        "lr_schedulers": [],
        "optimizer_states": [optimizer.state_dict()],
    }


def test_training_goes_on_only_from_all_that_it_needs():
    adam = torch.optim.Adam(Net().parameters())
    check_resumable(resumable(adam), adam, "a.ckpt")
    check_resumable(resumable(adam), None, "a.ckpt")
    with pytest.raises(UserError, match="has no loops"):
        check_resumable({k: v for k, v in resumable(adam).items() if k != "loops"}, adam, "a.ckpt")


def test_another_optimizers_state_is_refused():
    adam, sgd = torch.optim.Adam(Net().parameters()), torch.optim.SGD(Net().parameters())
    with pytest.raises(UserError, match=r"`optimizer` must be the one .* but is SGD"):
        check_resumable(resumable(adam), sgd, "a.ckpt")
    older = resumable(sgd)
    del older["optimizer_states"][0]["param_groups"][0][
        "fused"
    ]  # an option that a later torch added
    check_resumable(older, sgd, "a.ckpt")


class Trainer:
    """What `Checkpoints` asks of Lightning's trainer, with the metrics in hand."""

    fast_dev_run = sanity_checking = False
    val_check_interval = 1.0
    callbacks = ()
    lightning_module = Net()

    class state:
        fn = "fit"

    def __init__(self):
        self.global_step = 0
        self.callback_metrics: dict[str, Any] = {}

    def save_checkpoint(self, path: Path) -> None:
        save(path, float(self.global_step))

    def epoch(self, saver: Checkpoints, **metrics: float) -> None:
        self.global_step += 1
        self.callback_metrics = {k: torch.tensor(v) for k, v in metrics.items()}
        saver.on_validation_end(self, self.lightning_module)  # type: ignore[arg-type]
        saver.on_train_epoch_end(self, self.lightning_module)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mode", "values", "best"),
    [
        ("min", [3.0, 1.0, 2.0], 2),
        ("max", [3.0, 4.0, 2.0], 2),
        ("min", [float("nan"), 5.0, 6.0], 2),
        ("max", [float("nan"), 5.0, float("nan")], 2),
        ("min", [1.0, 1.0, 1.0], 1),
    ],
)
def test_the_best_epoch_is_kept_beside_the_latest(
    tmp_path: Path, mode: str, values: list[float], best: int
):
    saver, trainer = Checkpoints(tmp_path, "score", mode), Trainer()
    for value in values:
        trainer.epoch(saver, score=value)
    assert value_of(tmp_path / LATEST) == 3
    assert value_of(tmp_path / BEST) == best
    assert saver.best_metrics["score"] == values[best - 1]


def test_the_best_score_is_known_after_a_resume(tmp_path: Path):
    saver, trainer = Checkpoints(tmp_path, "score"), Trainer()
    trainer.epoch(saver, score=1.0)
    resumed = Checkpoints(tmp_path, "score")
    resumed.load_state_dict(saver.state_dict())
    trainer.epoch(resumed, score=2.0)
    assert value_of(tmp_path / BEST) == 1
    assert value_of(tmp_path / LATEST) == 2


def test_a_run_that_goes_on_in_another_folder_has_a_best_of_its_own(tmp_path: Path):
    (tmp_path / "other").mkdir()
    saver, trainer = Checkpoints(tmp_path, "score"), Trainer()
    trainer.epoch(saver, score=1.0)
    resumed = Checkpoints(tmp_path / "other", "score")
    resumed.load_state_dict(saver.state_dict())
    trainer.epoch(resumed, score=2.0)
    assert resumed.best_metrics == {"score": 2.0}
    assert resumed.best is not None


def test_a_metric_that_is_measured_later_decides_from_then_on(tmp_path: Path):
    saver, trainer = Checkpoints(tmp_path, "score", strict=False), Trainer()
    trainer.global_step = 1
    trainer.callback_metrics = {"train/loss": torch.tensor(1.0)}
    saver.on_train_epoch_end(trainer, trainer.lightning_module)  # type: ignore[arg-type]
    trainer.epoch(saver, score=2.0)
    trainer.epoch(saver, score=3.0)
    assert value_of(tmp_path / BEST) == 2


def test_a_metric_that_is_never_logged_is_told_with_those_that_are(tmp_path: Path):
    saver, trainer = Checkpoints(tmp_path, "val/acuracy"), Trainer()
    with pytest.raises((UserError, RunError)) as error:
        trainer.epoch(saver, **{"val/accuracy": 0.5, "val/loss": 1.0})
    assert error.value.remedy == "it logs: val/accuracy, val/loss"


def test_without_a_known_metric_the_latest_is_the_best(tmp_path: Path):
    saver, trainer = Checkpoints(tmp_path, "val/acuracy", strict=False), Trainer()
    trainer.epoch(saver, other=1.0)
    trainer.epoch(saver, other=2.0)
    assert value_of(tmp_path / BEST) == 2

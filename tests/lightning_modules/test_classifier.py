from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from paceline.lightning_modules.blocks.regularizers import elastic_net, l1, l2
from paceline.lightning_modules.data.points import Points
from paceline.lightning_modules.mlp import MLP
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers.logger import Logger
from sklearn.metrics import accuracy_score, confusion_matrix
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


def examples(count: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 4, generator=generator)
    return x, torch.randint(0, 3, (count,), generator=generator)


def loader(batch_size: int = 16) -> DataLoader:
    return DataLoader(TensorDataset(*examples()), batch_size)  # 16, 16, 16, 2


class Kept(Logger):
    """A logger that keeps what it is given."""

    name, version = "kept", "0"

    def __init__(self):
        super().__init__()
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, {name: float(value) for name, value in metrics.items()}))

    def log_hyperparams(self, *args, **kwargs):
        pass


@pytest.fixture
def model() -> MLP:
    """A small classifier, trained by plain SGD when asked to."""
    pl.seed_everything(0, verbose=False)
    model = MLP(4, 3, hidden_sizes=[5])
    model.configure_optimizers = lambda: torch.optim.SGD(model.parameters(), lr=0.1)
    return model


@pytest.fixture
def trainer() -> Trainer:
    """One epoch on the CPU, silent but for a logger that keeps everything."""
    return Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=Kept(),
        log_every_n_steps=2,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


# The loader's workers would only cost time here; Lightning advises them all the same.
pytestmark = pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")


def test_metrics_of_an_evaluation_are_exact_over_uneven_batches(model, trainer):
    x, labels = examples()
    scores = model(x)
    (found,) = trainer.test(model, loader(), verbose=False)
    expected = F.cross_entropy(scores, labels).item()
    assert found["test/loss"] == pytest.approx(expected, abs=1e-6)
    assert found["test/accuracy"] == pytest.approx(accuracy_score(labels, scores.argmax(1)))


def test_confusion_matrix_counts_true_classes_in_rows(model, trainer):
    x, labels = examples()
    predicted = model(x).argmax(1)
    trainer.test(model, loader(), verbose=False)
    axes = model.figures()["confusion_matrix"].axes[0]
    cells = {(t.get_position()[1], t.get_position()[0]): int(t.get_text()) for t in axes.texts}
    expected = confusion_matrix(labels, predicted, labels=range(3))
    assert {cell: count for cell, count in cells.items() if count} == {
        (row, column): expected[row, column]
        for row in range(3)
        for column in range(3)
        if expected[row, column]
    }


def test_epoch_logs_the_fixed_names_and_steps_their_own(model, trainer):
    trainer.fit(model, loader(), loader())
    steps = {step: row["train/loss_step"] for step, row in trainer.logger.rows if len(row) == 1}
    assert list(steps) == [2, 4]
    logged = set().union(*(row for _, row in trainer.logger.rows)) - {"epoch"}
    expected = {"train/loss", "train/loss_step", "val/loss", "val/accuracy", "lr"}
    assert logged == expected
    assert trainer.callback_metrics["lr"].item() == pytest.approx(0.1)


def test_train_loss_is_the_mean_over_examples_and_not_over_batches(model, trainer):
    losses = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            losses.append((outputs["loss"].item(), len(batch[1])))

    trainer.callbacks.append(Watch())
    trainer.fit(model, loader(), loader())
    expected = sum(loss * size for loss, size in losses) / 50
    assert trainer.callback_metrics["train/loss"].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.filterwarnings("ignore:Checkpoint directory")  # both runs keep theirs in one folder
def test_epoch_resumed_in_its_middle_has_the_metrics_of_the_uninterrupted_one(tmp_path):
    def run(ckpt_path: str | None = None) -> tuple[MLP, dict[str, torch.Tensor]]:
        pl.seed_everything(3, verbose=False)
        model = MLP(2, 2, hidden_sizes=[4], dropout=0.2)
        model.configure_optimizers = lambda: torch.optim.SGD(model.parameters(), lr=0.1)
        trainer = Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=7, save_top_k=-1)],
        )
        data = Points("moons", batch_size=16)  # 300 points in 19 batches, the last one of 12
        trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
        return model, dict(trainer.callback_metrics)

    whole, metrics = run()
    torch.manual_seed(99)
    resumed, later = run(str(tmp_path / "step=7.ckpt"))
    assert torch.equal(
        torch.cat([*map(torch.flatten, whole.parameters())]),
        torch.cat([*map(torch.flatten, resumed.parameters())]),
    )
    assert {"train/loss", "val/loss", "val/accuracy", "lr"} <= set(metrics)
    assert metrics == later
    content = torch.load(tmp_path / "step=7.ckpt", weights_only=True)
    assert content["epoch_means"]["count"] == 7 * 16


@pytest.mark.parametrize(
    ("name", "formula"),
    [("l1", l1), ("l2", l2), ("elastic_net", lambda weights: elastic_net(weights, 0.5))],
)
def test_objective_adds_the_penalty_to_the_data_loss(name, formula, trainer):
    share = {"l2_share": 0.5} if name == "elastic_net" else {}
    model = MLP(4, 3, hidden_sizes=[5], regularizer=name, regularizer_weight=0.01, **share)
    model.trainer = trainer
    x, labels = examples()
    weights = [p for p in model.parameters() if p.ndim == 2]
    expected = F.cross_entropy(model(x), labels) + 0.01 * formula(weights)
    torch.testing.assert_close(model.training_step((x, labels), 0), expected)


def test_smoothing_counts_in_training_and_not_in_evaluation(trainer):
    model = MLP(4, 3, hidden_sizes=[5], label_smoothing=0.2)
    model.trainer = trainer
    x, labels = examples()
    smooth = F.cross_entropy(model(x), labels, label_smoothing=0.2)
    torch.testing.assert_close(model.training_step((x, labels), 0), smooth)
    plain = F.cross_entropy(model(x), labels).item()
    (found,) = trainer.test(model, loader(), verbose=False)
    assert found["test/loss"] == pytest.approx(plain, abs=1e-6)


def test_prediction_gives_classes_and_scores_with_or_without_labels(model):
    x, labels = examples()
    with_labels, without = model.predict_step((x, labels)), model.predict_step(x)
    assert torch.equal(with_labels["class"], model(x).argmax(1))
    assert torch.equal(with_labels["scores"], without["scores"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "hinge"}, "`loss` must be one of softmax, svm, squared, absolute, but is 'h"),
        ({"margin": 2.0}, "`margin` must be left at 1 with loss 'softmax', but is 2.0."),
        ({"loss": "svm", "margin": -1.0}, "`margin` must be a positive number, but is -1.0."),
        ({"label_smoothing": 1.0}, "`label_smoothing` must be in [0, 1), but is 1.0."),
        ({"loss": "svm", "label_smoothing": 0.1}, "`label_smoothing` must be 0 with loss 'svm', "),
        ({"regularizer": "l3"}, "`regularizer` must be one of none, l1, l2, elastic_net, "),
        ({"regularizer_weight": 0.1}, "`regularizer_weight` must be 0 without a regularizer, "),
        (
            {"regularizer": "l2", "regularizer_weight": -1.0},
            "`regularizer_weight` must be 0 or above, but is -1.0.",
        ),
        ({"l2_share": 0.5}, "`l2_share` must be left at 1 unless `regularizer` is elastic_net, "),
        ({"regularizer": "elastic_net", "l2_share": -1.0}, "`l2_share` must be 0 or above, "),
    ],
)
def test_arguments_out_of_range_or_without_effect_are_refused(arguments, message):
    with pytest.raises(ValueError, match="must be") as caught:
        MLP(4, 3, **arguments)
    assert str(caught.value).startswith(message)


def test_lightning_s_note_of_the_running_hook_bypasses_the_slow_way(model, monkeypatch):
    def refuse(self, name, value):
        raise AssertionError(name)

    monkeypatch.setattr(torch.nn.Module, "__setattr__", refuse)
    model._current_fx_name = "training_step"
    assert model._current_fx_name == "training_step"
    with pytest.raises(AssertionError, match="other"):
        model.other = 1

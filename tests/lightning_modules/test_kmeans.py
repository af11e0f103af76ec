from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from paceline.lightning_modules.blocks.lloyd import lloyd
from paceline.lightning_modules.data.digits import Digits
from paceline.lightning_modules.kmeans import KMeans
from sklearn.cluster import KMeans as ScikitKMeans
from sklearn.metrics import normalized_mutual_info_score
from torch.utils.data import DataLoader, TensorDataset

# The loader's workers would only cost time here; Lightning advises them all the same.
pytestmark = pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")

WHOLE = 2000  # more than the training split has


def silent(**arguments) -> pl.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(accelerator="cpu", **{"enable_checkpointing": False, **quiet, **arguments})


def fitted(data: Digits | DataLoader, max_epochs: int = 100, **arguments) -> KMeans:
    pl.seed_everything(1, verbose=False)
    model = KMeans(in_shape=[1, 8, 8], num_classes=10, **arguments)
    silent(max_epochs=max_epochs, num_sanity_val_steps=0).fit(model, data)
    return model


def test_epochs_are_lloyds_iterations_and_end_where_nothing_moves():
    data = Digits(batch_size=WHOLE)
    data.setup()
    points = data.splits.train.inputs.flatten(1)
    start = fitted(data, max_epochs=1, num_clusters=10)
    before = lloyd(points, start.centres.detach())
    model = fitted(data, num_clusters=10)
    assert model.trainer.current_epoch < 100
    assert model.trainer.global_step == model.trainer.current_epoch
    torch.testing.assert_close(model.centres.detach(), before.centres, rtol=1e-4, atol=1e-4)
    found = model.trainer.callback_metrics["train/inertia"].item()
    assert found == pytest.approx(before.inertia / len(points), rel=1e-3)


def test_several_batches_an_epoch_make_the_same_step_as_one():
    data = Digits(batch_size=WHOLE)
    data.setup()
    start = data.splits.train.inputs[:10].flatten(1)
    ends = []
    for batch_size in (WHOLE, 100):
        model = KMeans(in_shape=[1, 8, 8])
        model.centres.data.copy_(start)
        model.started.fill_(True)
        silent(max_epochs=3).fit(model, Digits(batch_size=batch_size))
        ends.append(model.centres.detach().clone())
    torch.testing.assert_close(*ends, rtol=1e-5, atol=1e-5)


def test_mini_batches_come_near_to_what_whole_iterations_reach():
    whole = fitted(Digits(batch_size=WHOLE)).trainer.callback_metrics["val/inertia"]
    parts = fitted(Digits(batch_size=128), 10, algorithm="mini_batch")
    assert parts.trainer.callback_metrics["val/inertia"] < 1.1 * whole
    assert parts.seen.sum() == 10 * 1258


def test_a_centre_of_mini_batches_is_the_mean_of_all_points_it_was_given():
    points = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))
    model = KMeans(in_features=4, num_clusters=1, algorithm="mini_batch")
    loader = DataLoader(TensorDataset(points), batch_size=7)
    silent(max_epochs=1).fit(model, loader, loader)
    torch.testing.assert_close(model.centres.detach()[0], points.mean(0), rtol=0, atol=1e-6)


def test_an_empty_cluster_is_given_the_farthest_point():
    points = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    model = KMeans(in_features=1, num_clusters=2)
    model.centres.data.copy_(torch.tensor([[1.0], [100.0]]))
    model.started.fill_(True)
    loader = DataLoader(TensorDataset(points), batch_size=4)
    silent(max_epochs=1).fit(model, loader, loader)
    assert model.centres.flatten().tolist() == [1.0, 10.0]


def test_labels_judge_the_clusters_as_scikit_learn_does():
    data = Digits(batch_size=WHOLE)
    model = fitted(data, num_clusters=10)
    (found,) = silent().test(model, data, verbose=False)
    test = data.splits.test
    owner = model.predict_step((test.inputs, test.targets))["cluster"]
    expected = normalized_mutual_info_score(test.targets, owner)
    assert found["test/mutual_information"] == pytest.approx(expected, abs=1e-6)
    right = sum(torch.bincount(test.targets[owner == k]).max().item() for k in owner.unique())
    assert found["test/purity"] == pytest.approx(right / len(owner))
    assert found["test/purity"] > 0.7
    squares = model(test.inputs).min(1).values.mean().item()
    assert found["test/inertia"] == pytest.approx(squares, rel=1e-4)


def test_the_inertia_is_at_most_a_twentieth_above_the_best_of_ten_of_scikit_learn():
    data = Digits(batch_size=WHOLE)
    model = fitted(data, num_clusters=10)
    points = data.splits.train.inputs.flatten(1).numpy()
    peer = ScikitKMeans(10, n_init=10, random_state=0).fit(points).inertia_ / len(points)
    assert model.trainer.callback_metrics["train/inertia"] < 1.05 * peer


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (torch.zeros(3, 2), "`num_clusters` must be at most 3, the number of points, but is 4."),
        (torch.full((5, 2), float("nan")), "`points` must be finite, but 5 of 5 are not."),
    ],
)
def test_points_that_cannot_be_clustered_end_the_fit_before_a_centre_is_drawn(points, message):
    model = KMeans(in_features=2, num_clusters=4)
    loader = DataLoader(TensorDataset(points), batch_size=8)
    with pytest.raises(ValueError, match="must be") as caught:
        silent(max_epochs=1).fit(model, loader, loader)
    assert str(caught.value) == message
    assert not model.started


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_clusters": 0}, "`num_clusters` must be a whole number of at least 1, but is 0."),
        ({"algorithm": "elkan"}, "`algorithm` must be one of lloyd, mini_batch, but is 'elkan'."),
        ({"iterations": 0}, "`iterations` must be at least 1, but is 0."),
        (
            {"iterations": 2, "algorithm": "mini_batch"},
            "`iterations` must be 1 unless `algorithm` is lloyd, but is 2.",
        ),
        ({"start": "first"}, "`start` must be one of k-means++, random, but is 'first'."),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match="must be") as caught:
        KMeans(in_features=2, **arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize("shape", [[1, 4, 4], [3, 4, 4], [2], [9]])
def test_pictures_of_any_shape_can_be_drawn(shape, tmp_path):
    model = KMeans(in_shape=shape, num_clusters=3)
    x = torch.randn(50, *shape)
    loader = DataLoader(TensorDataset(x), batch_size=50)
    silent(max_epochs=2).fit(model, loader, loader)
    figures = model.figures()
    assert set(figures) == {"centres", "elbow"}
    assert [int(k) for k in figures["elbow"].axes[0].lines[0].get_xdata()] == [1, 2, 3, 4]
    for name, figure in figures.items():
        figure.savefig(tmp_path / f"{name}.png")


def test_epochs_of_several_iterations_end_where_those_of_one_do():
    data = Digits(batch_size=WHOLE)
    one, many = (fitted(data, num_clusters=10, iterations=number) for number in (1, 5))
    assert many.trainer.current_epoch <= -(-one.trainer.current_epoch // 5) + 1
    torch.testing.assert_close(many.centres, one.centres, rtol=1e-4, atol=1e-4)
    found, expected = (m.trainer.callback_metrics["train/inertia"].item() for m in (many, one))
    assert found == pytest.approx(expected, rel=1e-4)


def test_several_iterations_want_an_epoch_of_one_batch():
    with pytest.raises(ValueError, match="`iterations` must be 1 unless an epoch is one batch"):
        fitted(Digits(batch_size=100), iterations=2)


def three_epochs(folder: str, **trainer: Any) -> KMeans:
    """Fit from a start with an empty cluster, which the centre a thousand away is."""
    model = KMeans(in_shape=[1, 8, 8], num_clusters=5, iterations=2)
    data = Digits(batch_size=WHOLE)
    model.centres.data.copy_(torch.load(f"{folder}/start.pt", weights_only=True))
    model.started.fill_(True)
    silent(max_epochs=3, num_sanity_val_steps=0, **trainer).fit(model, data)
    return model


def test_two_processes_move_the_centres_as_one_does(tmp_path):
    data = Digits(batch_size=WHOLE)
    data.setup()
    start = data.splits.train.inputs[:5].flatten(1).clone()
    start[4] = 1000
    torch.save(start, tmp_path / "start.pt")
    alone = three_epochs(str(tmp_path))
    command = [sys.executable, "-W", "ignore", __file__, str(tmp_path)]
    subprocess.run(command, check=True, timeout=300, capture_output=True)
    centres, inertia = torch.load(tmp_path / "end.pt", weights_only=True)
    torch.testing.assert_close(centres, alone.centres.detach(), rtol=1e-5, atol=1e-5)
    for name, value in inertia.items():
        assert value.item() == pytest.approx(alone.trainer.callback_metrics[name].item(), rel=1e-5)


if __name__ == "__main__":  # one of two processes
    model = three_epochs(sys.argv[1], devices=2, strategy="ddp")
    if model.global_rank == 0:
        kept = {k: v for k, v in model.trainer.callback_metrics.items() if "inertia" in k}
        torch.save((model.centres.detach(), kept), f"{sys.argv[1]}/end.pt")

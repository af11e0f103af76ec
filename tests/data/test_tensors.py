"""The rule of in-memory sets: which samples come when, also resumed and on many processes."""

from __future__ import annotations

import json
import math
import os
import sys

import pytest
import torch
from paceline.lightning_modules.data.digits import Digits
from paceline.lightning_modules.data.loader import TensorLoader
from paceline.lightning_modules.data.order import BatchOrder, derive_seed
from paceline.lightning_modules.data.samples import Normalization, Samples, Splits
from paceline.lightning_modules.data.tensors import TensorDataModule
from paceline.tests.two_ranks import one_of_two, run_two
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import Callback, ModelCheckpoint


class Counting(TensorDataModule):
    """Sample i is the number i in each of three bytes and has the target i modulo 2."""

    name = "counting"
    in_shape = (3,)
    class_names = ("even", "odd")

    def load(self) -> Splits:
        def counted(start: int, stop: int) -> Samples:
            numbers = torch.arange(start, stop)
            return Samples(numbers[:, None].repeat(1, 3).to(torch.uint8), numbers % 2)

        return Splits(counted(0, 50), counted(50, 57), counted(60, 75), (0.0,), (1.0,))


class Listener(LightningModule):
    """Learns nothing; keeps the first feature of each batch that it is shown."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3))
        self.seen: list[list[float]] = []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch[0][:, 0].tolist())
        return (batch[0] @ self.weight).mean()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def listen(folder, callbacks=(), ckpt_path=None, epochs=4, seed=7, augmentation=None, **kwargs):
    """Train a Listener on Counting; returns what it was shown."""
    seed_everything(seed, verbose=False)
    listener = Listener()
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
        callbacks=list(callbacks),
        default_root_dir=folder,
        **kwargs,
    )
    data = Counting(batch_size=8, augmentation=augmentation)
    trainer.fit(listener, data, ckpt_path=ckpt_path, weights_only=True)
    return listener.seen


@pytest.fixture(autouse=True)
def _keep_global_seed(monkeypatch):
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    yield
    os.environ.pop("PL_GLOBAL_SEED", None)


def test_every_sample_comes_once_an_epoch_in_an_order_of_its_own():
    order = BatchOrder(100, 8, shuffle=True, seed=3)
    epochs = []
    for epoch in range(3):
        order.set_epoch(epoch)
        epochs.append(order.indices())
    assert all(torch.equal(indices.sort().values, torch.arange(100)) for indices in epochs)
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[1], epochs[2])


def test_order_is_a_function_of_seed_and_epoch():
    first, second = (BatchOrder(100, 8, shuffle=True, seed=3) for _ in range(2))
    first.set_epoch(5)
    second.indices()  # what was visited before must not matter
    second.set_epoch(5)
    assert torch.equal(first.indices(), second.indices())
    other = BatchOrder(100, 8, shuffle=True, seed=4)
    other.set_epoch(5)
    assert not torch.equal(first.indices(), other.indices())


def test_derived_seeds_are_fixed_for_ever():
    # A changed figure here would change the batches of everybody's old runs.
    assert derive_seed("order", 0, 0) == 8073061470549175911
    assert (
        derive_seed("order", 1, 0)
        != derive_seed("order", 0, 1)
        != derive_seed("augmentation", 0, 1)
    )


@pytest.mark.parametrize("world_size", [2, 3, 7])
def test_processes_together_make_the_batches_of_one_wider_process(world_size):
    wide = BatchOrder(210, 5 * world_size, shuffle=True, even=True, seed=1).indices()
    ranks = [
        BatchOrder(210, 5, shuffle=True, even=True, seed=1, rank=r, world_size=world_size)
        for r in range(world_size)
    ]
    for number, batch in enumerate(wide.split(5 * world_size)):
        parts = torch.cat([rank.indices().split(5)[number] for rank in ranks])
        assert torch.equal(parts.sort().values, batch.sort().values)


@pytest.mark.parametrize(("num_samples", "world_size"), [(100, 3), (101, 4), (3, 8), (1, 2)])
def test_training_shards_are_equally_long_and_miss_nothing(num_samples, world_size):
    ranks = [
        BatchOrder(num_samples, 4, shuffle=True, even=True, rank=r, world_size=world_size)
        for r in range(world_size)
    ]
    shards = [rank.indices() for rank in ranks]
    assert {len(shard) for shard in shards} == {-(-num_samples // world_size)}
    assert {len(rank) for rank in ranks} == {-(-shards[0].numel() // 4)}
    assert torch.cat(shards).unique().numel() == num_samples


def test_training_shards_that_drop_the_last_batch_repeat_nothing():
    ranks = [
        BatchOrder(103, 4, shuffle=True, drop_last=True, even=True, rank=r, world_size=3)
        for r in range(3)
    ]
    visited = torch.cat([rank.indices() for rank in ranks])
    assert visited.unique().numel() == visited.numel() == 102
    assert {len(rank) for rank in ranks} == {34 // 4}


def test_evaluation_shards_visit_each_sample_exactly_once():
    ranks = [BatchOrder(103, 4, rank=r, world_size=4) for r in range(4)]
    visited = torch.cat([rank.indices() for rank in ranks])
    assert torch.equal(visited.sort().values, torch.arange(103))
    assert [len(rank) for rank in ranks] == [7, 7, 7, 7]


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [8, 8, 4]), (True, [8, 8])])
def test_drop_last_leaves_out_what_fills_no_batch(drop_last, sizes):
    samples = Samples(torch.arange(20.0)[:, None], torch.arange(20))
    loader = TensorLoader(samples, BatchOrder(20, 8, drop_last=drop_last))
    assert [len(targets) for _, targets in loader] == sizes
    assert len(loader) == len(sizes)


def test_batches_are_rows_of_the_tensors():
    inputs, targets = torch.rand(50, 1, 4, 4), torch.randint(0, 10, (50,))
    order = BatchOrder(50, 7, shuffle=True, seed=2)
    chosen = order.indices()
    for number, batch in enumerate(TensorLoader(Samples(inputs, targets), order)):
        rows = chosen[7 * number : 7 * number + 7]
        assert torch.equal(batch[0], inputs[rows])
        assert torch.equal(batch[1], targets[rows])


def test_bytes_are_normalised_per_channel():
    picture = torch.randint(0, 256, (6, 3, 4, 4), dtype=torch.uint8)
    mean, std = (100.0, 120.0, 140.0), (50.0, 60.0, 70.0)
    normalization = Normalization(mean, std, (3, 4, 4))
    loader = TensorLoader(
        Samples(picture, torch.zeros(6)), BatchOrder(6, 6), normalization=normalization
    )
    ((inputs, _),) = loader
    expected = (picture.double() - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(
        3, 1, 1
    )
    torch.testing.assert_close(inputs.double(), expected, atol=1e-6, rtol=1e-6)
    black = normalization(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))
    torch.testing.assert_close(black, normalization.background.expand(1, 3, 4, 4))


def test_lightning_tells_the_loader_each_epoch(tmp_path):
    seen = listen(tmp_path, epochs=3)
    data = Counting(batch_size=8)
    data.setup()
    loader = data.train_dataloader()  # seeded by the run above
    expected = []
    for epoch in range(3):
        loader.batch_sampler.set_epoch(epoch)
        expected += [inputs[:, 0].tolist() for inputs, _ in loader]
    assert seen == expected
    assert len(seen) == 3 * 7


def test_same_seed_gives_the_same_batches_and_another_seed_others(tmp_path):
    noisy = {"noise": 0.1}
    assert listen(tmp_path, augmentation=noisy) == listen(tmp_path, augmentation=noisy)
    assert listen(tmp_path) != listen(tmp_path, seed=8)


class StopAt(Callback):
    """Saves a checkpoint after a number of steps and ends the run there, as a crash would."""

    def __init__(self, step: int, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            raise KeyboardInterrupt


@pytest.mark.parametrize("step", [1, 3, 7, 8, 13, 14])
def test_resumed_in_the_middle_of_an_epoch_goes_on_as_if_uninterrupted(tmp_path, step):
    noisy = {"noise": 0.1}
    whole = listen(tmp_path, augmentation=noisy)
    path = tmp_path / "stopped.ckpt"
    with pytest.raises(SystemExit):
        listen(tmp_path, callbacks=[StopAt(step, path)], augmentation=noisy)
    # Another seed on purpose: the order belongs to the run that is continued.
    assert listen(tmp_path, ckpt_path=path, seed=99, augmentation=noisy) == whole[step:]


# The resumed run writes into the same folder, on purpose.
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.parametrize("when", ["after validation", "after the epoch", "some steps"])
def test_resumed_from_lightnings_own_checkpoints_goes_on_as_if_uninterrupted(tmp_path, when):
    whole = listen(tmp_path)
    rules = {
        "after validation": {"save_on_train_epoch_end": False},
        "after the epoch": {"save_on_train_epoch_end": True},
        "some steps": {"every_n_train_steps": 5},
    }[when]
    saver = ModelCheckpoint(tmp_path / "kept", save_top_k=-1, filename="{step}", **rules)
    listen(tmp_path, callbacks=[saver], epochs=4)
    paths = sorted((tmp_path / "kept").glob("*.ckpt"))
    assert len(paths) >= 4
    for path in paths:
        step = int(path.stem.partition("=")[2])
        resumed = listen(tmp_path, [ModelCheckpoint(tmp_path / "kept", **rules)], path)
        assert resumed == whole[step:], path.name


# The resumed run writes into the same folder, on purpose.
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_resumed_with_a_limit_on_batches_starts_the_next_epoch_at_its_beginning(tmp_path):
    limit = {"limit_train_batches": 3}
    whole = listen(tmp_path, **limit)
    saver = ModelCheckpoint(tmp_path / "kept", save_top_k=-1, filename="{step}")
    listen(tmp_path, callbacks=[saver], epochs=2, **limit)
    for path in list((tmp_path / "kept").glob("*.ckpt")):
        step = int(path.stem.partition("=")[2])
        again = ModelCheckpoint(tmp_path / "kept")
        assert listen(tmp_path, [again], path, **limit) == whole[step:]


def test_overfitting_visits_the_same_batches_each_epoch(tmp_path):
    seen = listen(tmp_path, epochs=2, overfit_batches=2)
    assert seen[:2] == seen[2:] == [list(range(8)), list(range(8, 16))]


def tell_the_share(folder: str, rank: int) -> None:
    """What one of two processes is given of each split."""
    with one_of_two(folder, rank):
        data = Digits(batch_size=8)
        train, val = data.train_dataloader(), data.val_dataloader()
        shards = [train.batch_sampler.indices().tolist(), val.batch_sampler.indices().tolist()]
        print(json.dumps([len(train), sum(1 for _ in train), *shards]))


def test_real_processes_share_the_samples_among_them(tmp_path):
    answers = [json.loads(told) for told in run_two(__file__, tmp_path)]
    (length, batches, *first), (other_length, _, *second) = answers
    assert length == other_length == batches == 79
    assert set(first[0]) | set(second[0]) == set(range(1258))
    assert sorted(first[1] + second[1]) == list(range(179))


def test_evaluation_is_in_storage_order_and_complete():
    data = Counting(batch_size=8)
    assert torch.cat([x[:, 0] for x, _ in data.val_dataloader()]).tolist() == list(range(50, 57))
    assert torch.cat([x[:, 0] for x, _ in data.test_dataloader()]).tolist() == list(range(60, 75))
    assert torch.cat([x[:, 0] for x, _ in data.predict_dataloader()]).tolist() == list(
        range(60, 75)
    )


# Lightning asks whether that is meant; it is.
@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")
def test_without_validation_samples_there_is_no_validation(tmp_path):
    class NoValidation(Counting):
        def load(self):
            splits = super().load()
            return Splits(
                splits.train,
                Samples(splits.val.inputs[:0], splits.val.targets[:0]),
                splits.test,
                (0.0,),
                (1.0,),
            )

    assert NoValidation().val_dataloader() == []
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(Listener(), NoValidation(batch_size=8))
    assert trainer.global_step == 7


def test_digest_is_fixed_and_tells_a_changed_sample():
    class Changed(Counting):
        def load(self):
            splits = super().load()
            splits.train.inputs[17, 1] += 1
            return splits

    assert Counting().digest == Counting(batch_size=3, augmentation="noise").digest
    assert Counting().digest != Changed().digest
    assert len(Counting().digest) == 64


def test_digits_follow_a_fixed_split_in_proportion_by_class():
    data = Digits()
    data.setup()
    assert (data.num_train, len(data.splits.val), len(data.splits.test)) == (1258, 179, 360)
    for samples in (data.splits.train, data.splits.val, data.splits.test):
        share = torch.bincount(samples.targets, minlength=10) / len(samples)
        assert share.min() > 0.09
        assert share.max() < 0.11
    everything = torch.cat(
        [data.splits.train.inputs, data.splits.val.inputs, data.splits.test.inputs]
    )
    assert everything.flatten(1).unique(dim=0).shape[0] == 1797  # nothing twice, nothing lost
    assert data.splits.train.inputs.mean().abs() < 1e-5
    assert (data.splits.train.inputs.std() - 1).abs() < 1e-5


def test_digits_say_what_models_follow_before_anything_is_read():
    data = Digits()
    assert data._splits is None
    assert (data.num_classes, data.in_features, data.in_channels, data.image_size) == (10, 64, 1, 8)
    assert data.in_shape == (1, 8, 8)
    assert data.class_names[3] == "3"
    assert not hasattr(Counting(), "image_size")


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, "64", True, None])
def test_a_batch_size_that_is_no_positive_whole_number_is_refused(batch_size):
    with pytest.raises(ValueError, match="`batch_size` must be a whole number"):
        Digits(batch_size=batch_size)


def test_a_batch_size_that_leaves_no_batch_is_refused():
    data = Counting(batch_size=51, drop_last=True)
    with pytest.raises(ValueError, match=r"at most the 50 training samples .* but is 51"):
        data.setup()
    assert len(Counting(batch_size=51).train_dataloader()) == 1


class Spoiled(TensorDataModule):
    """One sample of a split has a number that is none."""

    in_shape = (2,)
    class_names = ("0", "1")

    def __init__(self, split: str, part: str, std: float = 1.0):
        super().__init__(batch_size=4)
        self.split, self.part, self.std = split, part, std

    def load(self) -> Splits:
        def drawn(split: str) -> Samples:
            samples = Samples(torch.rand(5, 2), torch.rand(5))
            if split == self.split:
                getattr(samples, self.part)[3] = math.inf if split == "val" else math.nan
            return samples

        return Splits(drawn("train"), drawn("val"), drawn("test"), std=(self.std,))


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("part", ["inputs", "targets"])
def test_a_number_that_is_not_finite_is_refused_before_training(split, part):
    message = f"`{part}` must be finite, but those of 1 of the 5 samples of `{split}` are not."
    with pytest.raises(ValueError, match=message):
        Spoiled(split, part).setup("fit")


def test_a_scale_of_zero_is_refused_before_training():
    with pytest.raises(ValueError, match="`inputs` must be finite, but those of 5 of the 5"):
        Spoiled("none", "inputs", std=0.0).setup("fit")


def test_batches_that_are_in_place_stay_the_same_objects():
    batch = (torch.zeros(2), torch.zeros(2))
    assert Counting().transfer_batch_to_device(batch, torch.device("cpu"), 0) is batch


if __name__ == "__main__":
    tell_the_share(sys.argv[1], int(sys.argv[2]))

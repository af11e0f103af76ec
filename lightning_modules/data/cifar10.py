"""CIFAR-10: 32 x 32 colour pictures of ten classes.

Krizhevsky (2009), "Learning Multiple Layers of Features from Tiny Images". 50,000 pictures are
published for training and 10,000 for the test. The last 5,000 of the former are held out here to
choose by, as in `mnist.py`, which leaves 45,000 to train on (the split of He et al. 2016, section
4.2); `val_size: 0` trains on all. Means and deviations are those of all 50,000, the figures that
everybody uses.

Decoding the parquet form takes 6 s of one core, so its result is kept under
`$PACELINE_HOME/data/cifar10` (184 MB, read in 0.3 s), by the digest of the files; the official
batches are bytes already and are not kept twice.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from .arguments import whole_number
from .array_cache import Form, cached_arrays
from .augmentation import AugmentationSpec
from .cifar10_files import CIFAR10 as SOURCE
from .cifar10_files import SPLITS, Cifar10Source, files_of
from .files import data_home
from .samples import Samples, Splits
from .tensors import TensorDataModule

NUM_TRAIN = SOURCE.counts[0]


class CIFAR10(TensorDataModule):
    """Colour pictures of animals and vehicles.

    Args:
        batch_size: Training samples per step and process.
        augmentation: Random changes of the training pictures, see `augmentation.py`.
        drop_last: Leave out the training samples that do not fill a batch.
        val_size: How many of the 50,000 training pictures, the last ones, are held out; 0: none,
            and then nothing is validated.
        data_dir: The folder that holds the parquet files or the official batches; default: the
            search of `files.py`, then a download.

    Attributes:
        source: The files.
        pixel_mean: Means of the training pictures' channels, on a scale of 0 to 1.
        pixel_std: Their standard deviations, on the same scale.
    """

    name = "cifar10"
    in_shape = (3, 32, 32)
    class_names = (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )
    source: Cifar10Source = SOURCE
    pixel_mean = (0.4914, 0.4822, 0.4465)
    pixel_std = (0.2470, 0.2435, 0.2616)

    def __init__(
        self,
        batch_size: int = 64,
        augmentation: AugmentationSpec = None,
        drop_last: bool = False,
        val_size: int = 5000,
        data_dir: str | None = None,
    ):
        super().__init__(batch_size, augmentation, drop_last)
        self.val_size = whole_number("val_size", val_size, 0, NUM_TRAIN - 1)
        self.data_dir = data_dir

    def prepare_data(self) -> None:
        """Find the files or download them.

        Raises:
            FileNotFoundError: They are nowhere and cannot be downloaded; the note says what helps.
        """
        self.source.get(self.data_dir)

    def load(self) -> Splits:
        """Read and decode the files; the pictures stay bytes.

        Raises:
            FileNotFoundError: They are nowhere and cannot be downloaded.
            ValueError: A file is damaged.
        """
        train, test = _read(self.source, self.source.get(self.data_dir))
        cut = len(train) - self.val_size
        return Splits(
            Samples(train.inputs[:cut], train.targets[:cut]),
            Samples(train.inputs[cut:], train.targets[cut:]),
            test,
            tuple(255 * mean for mean in self.pixel_mean),
            tuple(255 * std for std in self.pixel_std),
        )


@lru_cache(maxsize=1)  # the trials of a sweep that share a process read the files once
def _read(source: Cifar10Source, folder: Path) -> tuple[Samples, Samples]:
    """Train and test pictures (N, 3, 32, 32) uint8 and their classes (N,) int64."""
    if files_of(folder, "train")[0].suffix == ".parquet":
        cache = data_home() / "cifar10" / f"decoded-{source.digest(folder)[:16]}.npz"
        arrays = cached_arrays(cache, _forms(source), lambda: source.read(folder))
    else:
        arrays = source.read(folder)
    train, test = (
        Samples(torch.from_numpy(arrays[f"{split}_x"]), torch.from_numpy(arrays[f"{split}_y"]))
        for split in SPLITS
    )
    return train, test


def _forms(source: Cifar10Source) -> dict[str, Form]:
    forms: dict[str, Form] = {}
    for split, count in zip(SPLITS, source.counts, strict=True):
        forms |= {f"{split}_x": ((count, *CIFAR10.in_shape), "uint8")}
        forms |= {f"{split}_y": ((count,), "int64")}
    return forms

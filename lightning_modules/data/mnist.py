"""MNIST and Fashion-MNIST: 28 x 28 grey pictures of ten classes, in IDX files.

MNIST: LeCun, Bottou, Bengio and Haffner (1998), "Gradient-based learning applied to document
recognition". Fashion-MNIST: Xiao, Rasul and Vollgraf (2017), made to fit wherever MNIST does.

60,000 pictures are published for training and 10,000 for the test. The last 5,000 of the former
are held out here to choose by (no published split names any); `val_size: 0` trains on all 60,000,
for a last run with what was chosen. Means and deviations are those of all 60,000, the figures that
everybody uses, whatever is held out.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from .arguments import whole_number
from .augmentation import AugmentationSpec
from .files import FileSource
from .idx import parse_idx
from .samples import Samples, Splits
from .sources import FASHION_MNIST
from .sources import MNIST as MNIST_SOURCE
from .tensors import TensorDataModule

NUM_TRAIN = 60_000


class IdxPictures(TensorDataModule):
    """A data set in the four files of MNIST.

    Args:
        batch_size: Training samples per step and process.
        augmentation: Random changes of the training pictures, see `augmentation.py`.
        drop_last: Leave out the training samples that do not fill a batch.
        val_size: How many of the 60,000 training pictures, the last ones, are held out; 0: none,
            and then nothing is validated.
        data_dir: The folder that holds the files; default: the search of `files.py`, then a
            download.

    Attributes:
        source: The files.
        pixel_mean: Mean of the training pictures, on a scale of 0 to 1.
        pixel_std: Their standard deviation, on the same scale.
    """

    in_shape = (1, 28, 28)
    source: FileSource
    pixel_mean: float
    pixel_std: float

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
        """Read and check the files; the pictures stay bytes.

        Raises:
            FileNotFoundError: They are nowhere and cannot be downloaded.
            ValueError: A file is damaged.
        """
        train, test = _read(self.source, self.source.get(self.data_dir))
        cut = NUM_TRAIN - self.val_size
        return Splits(
            Samples(train.inputs[:cut], train.targets[:cut]),
            Samples(train.inputs[cut:], train.targets[cut:]),
            test,
            (255 * self.pixel_mean,),
            (255 * self.pixel_std,),
        )


class MNIST(IdxPictures):
    """Handwritten digits."""

    name = "mnist"
    class_names = tuple("0123456789")
    source = MNIST_SOURCE
    pixel_mean, pixel_std = 0.1307, 0.3081


class FashionMNIST(IdxPictures):
    """Pictures of clothes."""

    name = "fashion-mnist"
    class_names = (
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    )
    source = FASHION_MNIST
    pixel_mean, pixel_std = 0.2860, 0.3530


@lru_cache(maxsize=2)  # the trials of a sweep that share a process read the files once
def _read(source: FileSource, folder: Path) -> tuple[Samples, Samples]:
    """Train and test pictures (N, 1, 28, 28) uint8 and their classes (N,) int64."""
    contents = source.read(folder)
    return _samples(contents, "train"), _samples(contents, "t10k")


def _samples(contents: dict[str, bytes], split: str) -> Samples:
    images, labels = f"{split}-images-idx3-ubyte", f"{split}-labels-idx1-ubyte"
    pictures = parse_idx(contents[images], images).copy()  # (N, 28, 28), writable as torch wants it
    classes = parse_idx(contents[labels], labels).copy()  # (N,)
    return Samples(torch.from_numpy(pictures).unsqueeze(1), torch.from_numpy(classes).long())

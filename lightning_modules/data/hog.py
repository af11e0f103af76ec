"""Histograms of oriented gradients of another data set's pictures: vision before it was learned.

Dalal and Triggs (2005), "Histograms of Oriented Gradients for Human Detection": each cell of pixels
votes for the directions of its gradients, and blocks of 2 x 2 cells are normalised together. With a
linear support vector machine behind them (the recipe `hog-svm`) they are what convolutional
networks had to beat; in the lecture a network learns such features itself.

The features are those of scikit-image, which is not installed with the rest (`pip install
"paceline[vision]"`). They are computed once and kept under `$PACELINE_HOME/data/hog`: 1 s for
`digits`, 36 s for `fashion-mnist`.

Letters: N pictures, C channels, H x W picture, D features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.metadata import version
from typing import Literal

import numpy as np
import torch

from .arguments import one_of, whole_number, wrong
from .array_cache import cached_arrays
from .cifar10 import CIFAR10
from .digits import Digits
from .files import data_home
from .mnist import MNIST, FashionMNIST
from .samples import Samples, Splits
from .tensors import TensorDataModule

SETS = {"digits": Digits, "mnist": MNIST, "fashion-mnist": FashionMNIST, "cifar10": CIFAR10}
CELLS_PER_BLOCK = 2
SPLITS = ("train", "val", "test")


class HOG(TensorDataModule):
    """The pictures of another data set as D features, with its classes and its splits.

    D is orientations x 4 x (H // cell_size - 1) x (W // cell_size - 1). Features are normalised by
    the mean and the deviation of all of them.

    Args:
        pictures: The data set.
        orientations: Directions that a cell tells apart, over half a turn.
        cell_size: Side of a cell, in pixels.
        batch_size: Training samples per step and process.
        drop_last: Leave out the training samples that do not fill a batch.

    Raises:
        ValueError: An argument breaks its rule.
    """

    name = "hog"

    def __init__(
        self,
        pictures: Literal["digits", "mnist", "fashion-mnist", "cifar10"] = "digits",
        orientations: int = 9,
        cell_size: int = 2,
        batch_size: int = 64,
        drop_last: bool = False,
    ):
        self.pictures = SETS[one_of("pictures", pictures, list(SETS))]()
        self.orientations = whole_number("orientations", orientations, 1)
        _, height, width = self.pictures.in_shape
        self.cell_size = whole_number("cell_size", cell_size, 1)
        cells = height // cell_size, width // cell_size
        if min(cells) < CELLS_PER_BLOCK:
            limit = min(height, width) // CELLS_PER_BLOCK
            raise wrong(
                "cell_size", f"at most {limit} for pictures of {height} x {width}", cell_size
            )
        blocks = (cells[0] - CELLS_PER_BLOCK + 1) * (cells[1] - CELLS_PER_BLOCK + 1)
        self.in_shape = (blocks * CELLS_PER_BLOCK**2 * orientations,)
        self.class_names = self.pictures.class_names
        super().__init__(batch_size, None, drop_last)

    def prepare_data(self) -> None:
        """Find the pictures, and what computes features.

        Raises:
            FileNotFoundError: scikit-image is not installed, or the pictures are nowhere.
        """
        _import_hog()
        self.pictures.prepare_data()

    def load(self) -> Splits:
        """The features from the cache, or computed.

        Raises:
            FileNotFoundError: See `prepare_data`.
        """
        hog, splits = _import_hog(), self.pictures.load()
        parts = {name: getattr(splits, name) for name in SPLITS}
        forms = {name: ((len(part), *self.in_shape), "float32") for name, part in parts.items()}
        cache = data_home() / "hog" / f"{self._key(splits)}.npz"
        arrays = cached_arrays(
            cache,
            forms,
            lambda: {name: self._features(hog, part) for name, part in parts.items()},
        )
        train, val, test = (
            Samples(torch.from_numpy(arrays[name]), parts[name].targets) for name in SPLITS
        )
        std, mean = torch.std_mean(train.inputs)
        return Splits(train, val, test, (mean.item(),), (std.item(),))

    def _features(self, hog: Callable[..., np.ndarray], samples: Samples) -> np.ndarray:
        """(N, D) float32."""
        features = np.empty((len(samples), *self.in_shape), np.float32)
        for row, picture in enumerate(samples.inputs.permute(0, 2, 3, 1).numpy()):  # (H, W, C)
            features[row] = hog(
                picture,
                orientations=self.orientations,
                pixels_per_cell=(self.cell_size,) * 2,
                cells_per_block=(CELLS_PER_BLOCK,) * 2,
                channel_axis=-1,
            )
        return features

    def _key(self, splits: Splits) -> str:
        """A name for features of these pictures with these arguments, by this version."""
        total = hashlib.sha256()
        for split in SPLITS:
            getattr(splits, split).update_digest(total)
        arguments = f"{self.orientations} {self.cell_size} {version('scikit-image')}"
        total.update(arguments.encode())
        return f"{self.pictures.name}-{total.hexdigest()[:16]}"


def _import_hog() -> Callable[..., np.ndarray]:
    """The function that computes features of one picture.

    Raises:
        FileNotFoundError: scikit-image is not installed.
    """
    try:
        from skimage.feature import hog
    except ImportError:
        error = FileNotFoundError(
            "The package `scikit-image` must be installed for `hog`, but is not."
        )
        error.add_note('pip install "paceline[vision]"')
        raise error from None
    return hog

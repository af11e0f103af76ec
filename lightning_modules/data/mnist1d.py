"""MNIST-1D: signals of 40 numbers that look like digits drawn from the side, ten classes.

Greydanus and Kobak (2020), "Scaling down deep learning with MNIST-1D": 4,000 signals for training
and 1,000 for the test, made from ten templates by padding, scaling, translation, shear and noise.
The authors' package generates exactly this set from its default arguments, seed included, without
a network. Its result is kept under `$PACELINE_HOME/data/mnist1d`, because making it takes two
seconds with the imports; a folder that cannot be written only costs that time again.

No validation split is published: the last 400 of the 4,000 (they come shuffled) are held out here.
The signals have mean 0 and deviation 1 already.
"""

from __future__ import annotations

import random
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from .arguments import whole_number
from .array_cache import cached_arrays
from .augmentation import AugmentationSpec
from .files import data_home
from .samples import Samples, Splits
from .tensors import TensorDataModule

NUM_TRAIN, NUM_TEST, NUM_STEPS = 4000, 1000, 40
FORMS = {
    "x": ((NUM_TRAIN, NUM_STEPS), "float32"),
    "y": ((NUM_TRAIN,), "int64"),
    "x_test": ((NUM_TEST, NUM_STEPS), "float32"),
    "y_test": ((NUM_TEST,), "int64"),
}


class MNIST1D(TensorDataModule):
    """Signals of 40 steps, ten classes.

    Args:
        batch_size: Training samples per step and process.
        augmentation: Random changes of the training signals, see `augmentation.py`.
        drop_last: Leave out the training samples that do not fill a batch.
        val_size: How many of the 4,000 training signals, the last ones, are held out; 0: none, and
            then nothing is validated.
    """

    name = "mnist1d"
    in_shape = (NUM_STEPS,)
    class_names = tuple("0123456789")

    def __init__(
        self,
        batch_size: int = 64,
        augmentation: AugmentationSpec = None,
        drop_last: bool = False,
        val_size: int = 400,
    ):
        super().__init__(batch_size, augmentation, drop_last)
        self.val_size = whole_number("val_size", val_size, 0, NUM_TRAIN - 1)

    def load(self) -> Splits:
        """The set from the cache, or generated."""
        train, test = _load(data_home() / "mnist1d" / f"{version('mnist1d')}.npz")
        cut = NUM_TRAIN - self.val_size
        return Splits(
            Samples(train.inputs[:cut], train.targets[:cut]),
            Samples(train.inputs[cut:], train.targets[cut:]),
            test,
            (0.0,),
            (1.0,),
        )


@lru_cache(maxsize=1)
def _load(cache: Path) -> tuple[Samples, Samples]:
    """Train and test signals (N, 40) float32 and their classes (N,) int64."""
    arrays = cached_arrays(cache, FORMS, _generated)
    x, y, x_test, y_test = (torch.from_numpy(arrays[key]) for key in FORMS)
    return Samples(x, y), Samples(x_test, y_test)


def _generated() -> dict[str, np.ndarray]:
    """The published set, by the authors' code."""
    from mnist1d.data import get_dataset_args, make_dataset

    # Their generator seeds the global ones, which belong to the run.
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        made = make_dataset(get_dataset_args())
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
    return {key: made[key].astype("float32" if key[0] == "x" else "int64") for key in FORMS}

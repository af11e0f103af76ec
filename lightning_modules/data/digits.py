"""Handwritten digits of 8 x 8 pixels, 17 grey levels: the 1,797 pictures that scikit-learn ships.

They are the test set of the UCI collection "Optical Recognition of Handwritten Digits" (Alpaydin
and Kaynak, 1998): 32 x 32 bitmaps, counted in blocks of 4 x 4, hence values 0 to 16. No split is
published for these 1,797, so ours is fixed here: of each class a tenth for validation and a fifth
for the test, drawn once with a seed of its own. A writer may appear in more than one split, as in
every random split of this file.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from .augmentation import AugmentationSpec
from .samples import Samples, Splits
from .splitting import stratified_split
from .tensors import TensorDataModule

SPLIT_SEED = 0


class Digits(TensorDataModule):
    """Digits 0 to 9, 8 x 8 pixels, split in proportion by class.

    Args:
        batch_size: Training samples per step and process.
        augmentation: Random changes of the training pictures, see `augmentation.py`.
        drop_last: Leave out the training samples that do not fill a batch.

    Attributes:
        pixel_mean: Mean of the training pictures, on a scale of 0 to 1 (16 of the file is 1).
        pixel_std: Their standard deviation, on the same scale.
    """

    name = "digits"
    in_shape = (1, 8, 8)
    class_names = tuple("0123456789")
    pixel_mean, pixel_std = 0.305192, 0.376222

    def __init__(
        self,
        batch_size: int = 64,
        augmentation: AugmentationSpec = None,
        drop_last: bool = False,
    ):
        super().__init__(batch_size, augmentation, drop_last)

    def load(self) -> Splits:
        """The fixed split, as float32 (so small that bytes would save nothing)."""
        return _load()


@lru_cache(maxsize=1)
def _load() -> Splits:
    from sklearn.datasets import load_digits  # 1 s to import: only when it is used

    pixels, targets = map(np.asarray, load_digits(return_X_y=True))
    inputs = (
        torch.from_numpy(pixels).float().reshape(-1, *Digits.in_shape)
    )  # (1797, 1, 8, 8), 0 to 16
    classes = torch.from_numpy(targets).long()  # (1797,)
    val, test, train = (
        Samples(inputs[chosen], classes[chosen])
        for chosen in map(torch.from_numpy, stratified_split(targets, (0.1, 0.2), SPLIT_SEED))
    )
    std, mean = torch.std_mean(train.inputs)
    return Splits(train, val, test, (mean.item(),), (std.item(),))

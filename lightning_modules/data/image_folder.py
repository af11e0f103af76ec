"""Pictures in one folder for each class, as of Caltech-101 and ImageNet (slide "Zooming Out").

Sets that fit into `memory_limit` are decoded once, cut to the square at the centre and resized;
then they are as fast as any set in memory. Larger ones, and all with `random_resized_crop`, which
needs the whole picture each time, are read by worker processes while the model trains.

Every file is decoded before anything is learned from it, so that a damaged one is told at the
start and not in the middle of the night. For pictures that stay on disk the answer is kept under
`$PACELINE_HOME/data/image-folder`, and asked again when a file has changed.

Letters: N pictures, C channels, S side.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .arguments import whole_number, wrong
from .augmentation import AugmentationSpec
from .decoding import MODES, centre_square, decode, pixels
from .file_samples import FileLoader, FileSamples, listing_digest, placeholder
from .files import data_home
from .image_tree import (
    Pictures,
    check_classes,
    check_readable,
    class_folders,
    find_splits,
    read_whole,
    root_of_classes,
    warn_of_damaged,
)
from .loader import TensorLoader
from .order import BatchOrder
from .samples import Samples, Splits
from .tensors import TensorDataModule

# Of ImageNet's training pictures, on a scale of 0 to 1; grey ones take the middle channel's.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageFolder(TensorDataModule):
    """Pictures of one's own: a folder of class folders, or `train/`, `val/`, `test/` of these.

    Args:
        data_dir: The tree. With `train/` and `val/`, these are the splits; `test/` is the test if
            it is there, else `val/` is. Without them, all pictures are split here.
        image_size: Side S of the squares that models get, in pixels.
        channels: 3, or 1 for grey.
        batch_size: Training samples per step and process.
        augmentation: Random changes of the training pictures, see `augmentation.py`.
        drop_last: Leave out the training samples that do not fill a batch.
        random_resized_crop: Train on random parts of the pictures (Szegedy et al. 2015, section
            6), whatever fits into memory.
        val_share: Share of the pictures held out to choose by, where no folder holds them.
        test_share: Share for the test, likewise.
        split_seed: The split is a function of the files' names and this.
        memory_limit: Gigabytes of decoded pictures that are kept in memory; 0: none.
        num_workers: Processes that read what is not; 0: the training process does.

    Raises:
        ValueError: An argument breaks its rule, or `data_dir` has no two class folders.
    """

    name = "image-folder"

    def __init__(
        self,
        data_dir: str = "",
        image_size: int = 64,
        channels: int = 3,
        batch_size: int = 64,
        augmentation: AugmentationSpec = None,
        drop_last: bool = False,
        random_resized_crop: bool = False,
        val_share: float = 0.1,
        test_share: float = 0.2,
        split_seed: int = 0,
        memory_limit: float = 2.0,
        num_workers: int = 2,
    ):
        side = whole_number("image_size", image_size, 1)
        if channels not in MODES:
            raise wrong("channels", "1 or 3", channels)
        if not data_dir:
            raise wrong("data_dir", "a folder with one folder of pictures for each class", data_dir)
        self.root = Path(data_dir).expanduser().absolute()
        self.class_names = class_folders(root_of_classes(self.root))
        self.in_shape = (channels, side, side)
        super().__init__(batch_size, augmentation, drop_last)
        self.random_resized_crop = random_resized_crop
        self.shares = (val_share, test_share)
        if not (min(self.shares) >= 0 and sum(self.shares) < 1):
            rule = "at least 0 and, with `test_share`, less than 1"
            raise wrong("val_share", rule, val_share)
        self.split_seed = whole_number("split_seed", split_seed, 0)
        if not memory_limit >= 0:
            raise wrong("memory_limit", "a number of gigabytes, at least 0", memory_limit)
        self.memory_limit = memory_limit
        self.num_workers = min(whole_number("num_workers", num_workers, 0), os.cpu_count() or 1)

    def prepare_data(self) -> None:
        """Find the pictures, and read one of each class.

        Raises:
            ValueError: A class folder has no picture that can be read, or a split other classes.
        """
        check_readable(self._found()["train"], self.class_names, _decodes)

    def _found(self) -> dict[str, Pictures]:
        return find_splits(self.root, self.class_names, self.shares, self.split_seed)

    def load(self) -> Splits:
        """Find the pictures, decode each once, and keep those that shall be in memory.

        Raises:
            ValueError: A class has no pictures, or none that can be read.
        """
        found = self._found()
        count = sum(len(pictures.paths) for pictures in found.values())
        size = count * np.prod(self.in_shape)
        in_memory = size <= self.memory_limit * 1e9
        damaged: set[str] = set()
        splits: dict[str, Samples] = {}
        for split, pictures in found.items():
            if split == "test" and pictures is found["val"]:
                splits[split] = splits["val"]
                count -= len(pictures.paths)
            elif in_memory and not (split == "train" and self.random_resized_crop):
                splits[split], lost = self._decoded(pictures)
                damaged |= set(lost)
            else:
                splits[split], lost = self._listed(pictures, split)
                damaged |= set(lost)
        warn_of_damaged(self.root, sorted(damaged), count)
        train = Pictures((), splits["train"].targets.numpy())
        check_classes(found["train"], train, self.class_names)
        mean, std = (v if self.in_shape[0] == 3 else v[1:2] for v in (MEAN, STD))
        stored = tuple(255 * v for v in mean), tuple(255 * v for v in std)
        return Splits(splits["train"], splits["val"], splits["test"], *stored)

    def _decoded(self, pictures: Pictures) -> tuple[Samples, list[str]]:
        """The pictures in memory, and the paths of the damaged ones."""
        channels, side, _ = self.in_shape

        def read(path: str) -> np.ndarray:
            return pixels(centre_square(decode(Path(path), channels, at_least=side), side))

        whole, arrays, damaged = read_whole(pictures, self.class_names, read)
        inputs = np.stack(arrays) if arrays else np.empty((0, *self.in_shape), np.uint8)
        return Samples(torch.from_numpy(inputs), torch.from_numpy(whole.targets)), damaged

    def _listed(self, pictures: Pictures, split: str) -> tuple[FileSamples, list[str]]:
        """The pictures that stay on disk, and the paths of the damaged ones."""
        cache = data_home() / "image-folder" / f"{listing_digest(pictures.paths)[:16]}.json"
        try:
            damaged: list[str] = json.loads(cache.read_text())
        except (OSError, ValueError):
            damaged = read_whole(pictures, self.class_names, _decodes)[2]
            with contextlib.suppress(OSError):  # no cache, no harm
                cache.parent.mkdir(parents=True, exist_ok=True)
                temporary = cache.with_suffix(f".{os.getpid()}")
                temporary.write_text(json.dumps(damaged))
                temporary.replace(cache)
        lost = set(damaged)
        index = [n for n, path in enumerate(pictures.paths) if path not in lost]
        whole = pictures.chosen(np.array(index, np.int64))
        return FileSamples(
            placeholder(len(index), self.in_shape),
            torch.from_numpy(whole.targets),
            whole.paths,
            crops=split == "train" and self.random_resized_crop,
        ), damaged

    def _make_loader(self, samples: Samples, order: BatchOrder, **parts: Any) -> TensorLoader:
        if not isinstance(samples, FileSamples):
            return super()._make_loader(samples, order, **parts)
        return FileLoader(samples, order, num_workers=self.num_workers, **parts)


def _decodes(path: str) -> None:
    """Decode a file, at an eighth of its size where the format can, and forget the picture."""
    decode(Path(path), channels=1, at_least=1)

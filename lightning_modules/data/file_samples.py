"""Pictures that stay on disk: read anew for each batch, by worker processes.

Letters: N pictures, B batch, C channels, S side of the square that is wanted.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from .decoding import centre_square, decode, pixels, random_square
from .loader import TensorLoader
from .order import derive_seed
from .samples import Samples

Request = tuple[int, int]  # number of the picture, seed of its crop


@dataclass(frozen=True)
class FileSamples(Samples):
    """Samples whose inputs are files.

    `inputs` only says what will be read, (N, C, S, S) uint8: one picture's memory stands for all.

    Args:
        paths: N files.
        crops: Take a random part of each picture (`random_square`), else the square at its centre.
    """

    paths: tuple[str, ...] = ()
    crops: bool = False

    @property
    def num_bytes(self) -> int:
        """0: no pictures are held in memory."""
        return 0

    def to(self, device: torch.device) -> FileSamples:
        """Itself: files stay where they are."""
        return self

    def update_digest(self, total: Any) -> None:
        """Count names, sizes and classes, but not the contents."""
        root = os.path.commonpath(self.paths) if self.paths else ""
        for path, target in zip(self.paths, self.targets.tolist(), strict=True):
            name = os.path.relpath(path, root)
            total.update(f"{name} {os.path.getsize(path)} {target}\n".encode())

    def __getitem__(self, request: Request) -> np.ndarray:
        """One picture as bytes (C, S, S).

        Raises:
            ValueError: The file has been damaged since it was checked.
        """
        number, seed = request
        channels, side = self.inputs.shape[1], self.inputs.shape[2]
        if not self.crops:
            picture = decode(Path(self.paths[number]), channels, at_least=side)
            return pixels(centre_square(picture, side))
        # A part of 8 % of the area has still about `side` pixels to each side.
        picture = decode(Path(self.paths[number]), channels, at_least=3 * side)
        return pixels(random_square(picture, side, np.random.default_rng(seed)))


def placeholder(count: int, shape: tuple[int, ...]) -> Tensor:
    """Inputs (N, *shape) uint8 that take the memory of one."""
    return torch.empty(1, *shape, dtype=torch.uint8).expand(count, *shape)


class FileLoader(TensorLoader):
    """Batches of pictures on disk; order, augmentation and resuming are those of `TensorLoader`.

    Workers read and cut one picture at a time; whole batches are then changed as in memory. The
    part that is cut is a function of seed, epoch and picture, whichever worker does it.

    Args:
        num_workers: Processes that read; 0: this one does.
        arguments: See `TensorLoader`.
    """

    def __init__(self, *arguments: Any, num_workers: int, **named: Any):
        super().__init__(*arguments, **named)
        self.num_workers = num_workers
        self._incoming: Iterator[Tensor] = iter(())

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """See `TensorLoader`."""
        try:
            yield from super().__iter__()
        finally:
            self._incoming = iter(())  # lets the workers go

    def _begin(self, slices: Sequence[Tensor]) -> None:
        """Let the workers start on this epoch's batches."""
        seed, epoch = self.batch_sampler.seed, self.batch_sampler.epoch
        requests = [
            [(number, derive_seed("part", seed, epoch, number)) for number in index.tolist()]
            for index in slices
        ]
        samples: Any = self.samples
        self._incoming = iter(
            DataLoader(
                samples,
                batch_sampler=requests,
                num_workers=self.num_workers,
                collate_fn=_stacked,
                worker_init_fn=_quiet,
            )
        )

    def _gather(self, index: Tensor, generator: torch.Generator) -> Tensor:
        return next(self._incoming).to(self.device)


def _stacked(pictures: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(pictures))  # (B, C, S, S)


def _quiet(_worker: int) -> None:
    warnings.simplefilter("ignore")  # the same ones that were ignored when the files were checked


def listing_digest(paths: tuple[str, ...]) -> str:
    """SHA-256 over names, sizes and times of change: what tells whether files must be read anew."""
    total = hashlib.sha256()
    for path in paths:
        state = os.stat(path)
        total.update(f"{path} {state.st_size} {state.st_mtime_ns}\n".encode())
    return total.hexdigest()

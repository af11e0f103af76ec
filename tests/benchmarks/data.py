"""Side by side: batches per second of our loader against a DataLoader of one picture at a time.

Both hand out the same training batches: 32 x 32 colour pictures as bytes in memory, cut out of
their mirrored surroundings at random, mirrored at random, normalised to floats, in a random order.

- `ours`: `TensorLoader` with the policies `crop` and `flip`;
- `peer`: `torch.utils.data.DataLoader` over a Dataset whose `__getitem__` does the same to one
  picture with NumPy, once without and once with two worker processes; the faster one counts.

Rounds alternate the order; each goes through whole epochs after one that is not measured, in which
workers start. Both sides have equally many threads, workers on top. Wall time means little on a
machine that others use, so the processor time of both sides without workers is compared as well.

    python tests/benchmarks/data.py [--rounds 5] [--pictures 12800] [--batch-size 128]
                                    [--threads 1 2]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from paceline.lightning_modules.data.augmentation import Augmentation
from paceline.lightning_modules.data.cifar10 import CIFAR10
from paceline.lightning_modules.data.loader import TensorLoader
from paceline.lightning_modules.data.order import BatchOrder
from paceline.lightning_modules.data.samples import Normalization, Samples
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

REACH = 4
MEAN, STD = (
    np.array([255 * value for value in values], np.float32)
    for values in (CIFAR10.pixel_mean, CIFAR10.pixel_std)
)


class Pictures(Dataset):
    """The usual data set: one picture at a time, through NumPy."""

    def __init__(self, pictures: np.ndarray, classes: np.ndarray):
        self.pictures, self.classes = pictures, classes
        self.mean, self.std = MEAN.reshape(3, 1, 1), STD.reshape(3, 1, 1)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture = self.pictures[index]
        wide = np.pad(picture, ((0, 0), (REACH, REACH), (REACH, REACH)), mode="reflect")
        top, left = torch.randint(2 * REACH + 1, (2,)).tolist()
        picture = wide[:, top : top + 32, left : left + 32]
        if torch.rand(()) < 0.5:
            picture = picture[:, :, ::-1]
        picture = (picture.astype(np.float32) - self.mean) / self.std
        return torch.from_numpy(picture), int(self.classes[index])


def our_loader(pictures: Tensor, classes: Tensor, batch_size: int) -> TensorLoader:
    shape = tuple(pictures.shape[1:])
    scale = Normalization(tuple(MEAN.tolist()), tuple(STD.tolist()), shape)
    return TensorLoader(
        Samples(pictures, classes),
        BatchOrder(len(pictures), batch_size, shuffle=True, even=True, seed=1),
        normalization=scale,
        augmentation=Augmentation([{"crop": REACH}, "flip"], shape).over(scale.background),
    )


def seconds(loader: Iterable[tuple[Tensor, Tensor]], epochs: int) -> tuple[float, float]:
    """Wall and processor time of handing out one epoch, the latter of this process alone."""
    began, used = time.perf_counter(), time.process_time()
    for _ in range(epochs):
        for inputs, _targets in loader:
            assert inputs.dtype == torch.float32
    return (time.perf_counter() - began) / epochs, (time.process_time() - used) / epochs


def measure(rounds: int, num_pictures: int, batch_size: int) -> dict[str, object]:
    """Alternate the sides and give the ratios of their speeds, round by round."""
    rng = torch.Generator().manual_seed(0)
    pictures = torch.randint(256, (num_pictures, 3, 32, 32), dtype=torch.uint8, generator=rng)
    classes = torch.randint(10, (num_pictures,), generator=rng)
    dataset = Pictures(pictures.numpy(), classes.numpy())
    loaders: dict[str, tuple[Iterable[Any], int]] = {  # and epochs to go through
        "ours": (our_loader(pictures, classes, batch_size), 5),
        "peer_0": (DataLoader(dataset, batch_size, shuffle=True), 1),
        "peer_2": (
            DataLoader(dataset, batch_size, shuffle=True, num_workers=2, persistent_workers=True),
            1,
        ),
    }
    for loader, _ in loaders.values():
        seconds(loader, 1)
    took: dict[str, list[float]] = {name: [] for name in loaders}
    used: dict[str, list[float]] = {name: [] for name in loaders}
    for number in range(rounds):
        for name in list(loaders) if number % 2 == 0 else list(loaders)[::-1]:
            wall, processor = seconds(*loaders[name])
            took[name].append(wall)
            used[name].append(processor)
    batches = -(-num_pictures // batch_size)
    best = min(("peer_0", "peer_2"), key=lambda name: statistics.median(took[name]))
    ratios = [theirs / mine for mine, theirs in zip(took["ours"], took[best], strict=True)]
    cheaper = [theirs / mine for mine, theirs in zip(used["ours"], used["peer_0"], strict=True)]
    return {
        "benchmark": "data",
        "batch_size": batch_size,
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "batches_per_second": {
            name: round(batches / statistics.median(s)) for name, s in took.items()
        },
        "ratio_to_peer": round(statistics.median(ratios), 1),
        "spread_to_peer": [round(min(ratios), 1), round(max(ratios), 1)],
        "processor_ratio_to_peer_0": round(statistics.median(cheaper), 1),
        "processor_spread_to_peer_0": [round(min(cheaper), 1), round(max(cheaper), 1)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=12_800)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        answer = measure(arguments.rounds, arguments.pictures, arguments.batch_size)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

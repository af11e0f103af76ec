"""Side by side: samples per second of `fit` against the tutorial's loop and a hand-tuned one.

Three ways to train the same MLP (784-256-128-10, Adam) on the same images with the same seed, batch
size and threads:

- `ours`: `paceline.platform.launch.train`, as `paceline fit` calls it: every Lightning hook, the
  record in MLflow on SQLite, system metrics, checkpoints;
- `tutorial`: a Dataset that opens each picture with PIL and transforms it (torchvision's `ToTensor`
  and `Normalize`, operation by operation, as that package has no build for every machine), a
  DataLoader, a loop with plain Adam;
- `tuned`: a loop over float tensors in memory with fused Adam and `index_select`.

Measured is each epoch's training part, from before its first batch until after its last. Rounds
alternate the order, and each round trains anew. All sides end at the same test accuracy up to
noise, which is printed.

    python tests/benchmarks/step.py [--rounds 3] [--epochs 2] [--batch-size 64 512] [--threads 1 2]

One thread is what a trial of a sweep has, which shares the cores with others; two are what a single
run has on two cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from measuring.ours import fit_seconds
from paceline.platform.configuration.config import load
from paceline.platform.training.fitting import prepare
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

MEAN, STD = 0.2860, 0.3530
Split = tuple[Tensor, Tensor]


@dataclass
class Measured:
    """Seconds of each epoch's training part, and the test accuracy after the last."""

    seconds: list[float]
    accuracy: float


class Pictures(Dataset):
    """The tutorial's data set: one picture at a time, through PIL and a transform."""

    def __init__(self, images: np.ndarray, labels: np.ndarray):
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture = Image.fromarray(self.images[index], mode="L")
        return normalize(to_tensor(picture)), int(self.labels[index])


def to_tensor(picture: Image.Image) -> Tensor:
    """What torchvision's `ToTensor` does to one picture: (1, H, W) in [0, 1]."""
    values = torch.from_numpy(np.array(picture, np.uint8, copy=True))
    values = values.view(picture.size[1], picture.size[0], len(picture.getbands()))  # (H, W, 1)
    values = values.permute(2, 0, 1).contiguous()  # (1, H, W)
    return values.to(dtype=torch.get_default_dtype()).div(255)


def normalize(values: Tensor) -> Tensor:
    """What torchvision's `Normalize` does to one tensor."""
    values = values.clone()
    mean = torch.as_tensor((MEAN,), dtype=values.dtype, device=values.device)
    std = torch.as_tensor((STD,), dtype=values.dtype, device=values.device)
    if (std == 0).any():
        raise ValueError("`std` must not be 0.")
    return values.sub_(mean.view(-1, 1, 1)).div_(std.view(-1, 1, 1))


def network() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 256),
        nn.ReLU(),
        nn.Linear(256, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def ours(training: Split, test: Split, batch_size: int, epochs: int) -> Measured:
    changes = {
        "model.hidden_sizes": [256, 128],
        "model.dropout": 0.0,
        "model.label_smoothing": 0.0,
        "data.batch_size": batch_size,
        "data.augmentation": "none",
        "optimizer.class_path": "Adam",
        "optimizer.lr": 1e-3,
        "optimizer.weight_decay": 0.0,
        "lr_scheduler": None,
        "trainer.max_epochs": epochs,
        "seed_everything": 1,
    }
    config = load("mlp-fashion-mnist", {k: (v, "benchmark") for k, v in changes.items()})
    built = prepare(config)
    seconds = fit_seconds(config, built, "step")
    model = built.model.eval()
    with torch.no_grad():
        return Measured(seconds, accuracy(model, test))


def tuned(training: Split, test: Split, batch_size: int, epochs: int) -> Measured:
    images, labels = training
    inputs = (images.float().div(255) - MEAN).div(STD).reshape(len(images), -1)  # (N, 784)
    torch.manual_seed(1)
    model, seconds = network(), []
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    for _ in range(epochs):
        began = time.perf_counter()
        order = torch.randperm(len(inputs))
        for start in range(0, len(inputs), batch_size):
            index = order[start : start + batch_size]
            loss = cross_entropy(
                model(inputs.index_select(0, index)), labels.index_select(0, index)
            )
            adam.zero_grad()
            loss.backward()
            adam.step()
        seconds.append(time.perf_counter() - began)
    return Measured(seconds, accuracy(model, test))


def tutorial(training: Split, test: Split, batch_size: int, epochs: int) -> Measured:
    data = Pictures(training[0].squeeze(1).numpy(), training[1].numpy())
    torch.manual_seed(1)
    model, seconds = network(), []
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(data, batch_size=batch_size, shuffle=True)
    for _ in range(epochs):
        began = time.perf_counter()
        for inputs, labels in loader:
            loss = cross_entropy(model(inputs), labels)
            adam.zero_grad()
            loss.backward()
            adam.step()
        seconds.append(time.perf_counter() - began)
    return Measured(seconds, accuracy(model, test))


def accuracy(model: nn.Module, test: Split) -> float:
    inputs = (test[0].float().div(255) - MEAN).div(STD)  # (N, 1, 28, 28)
    with torch.no_grad():
        return (model(inputs).argmax(1) == test[1]).float().mean().item()


def measure(batch_size: int, rounds: int, epochs: int) -> dict[str, object]:
    """Alternate the three sides and give the ratios of their speeds, round by round."""
    data: Any = prepare(load("mlp-fashion-mnist")).data
    splits = data.load()  # bytes (N, 1, 28, 28), as the files hold them
    training = splits.train.inputs, splits.train.targets
    test = splits.test.inputs, splits.test.targets
    sides: dict[str, Callable[..., Measured]] = {"ours": ours, "tuned": tuned, "tutorial": tutorial}
    runs: dict[str, list[Measured]] = {name: [] for name in sides}
    for number in range(rounds):
        order = list(sides) if number % 2 == 0 else list(sides)[::-1]
        for name in order:
            runs[name].append(sides[name](training, test, batch_size, epochs))
    best = {name: [min(m.seconds) for m in measured] for name, measured in runs.items()}
    answer: dict[str, object] = {
        "benchmark": "step",
        "batch_size": batch_size,
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "samples_per_second": {
            name: round(len(training[0]) / statistics.median(s)) for name, s in best.items()
        },
        "test_accuracy": {
            name: round(statistics.fmean(m.accuracy for m in measured), 4)
            for name, measured in runs.items()
        },
    }
    for peer in ("tuned", "tutorial"):
        ratios = [theirs / mine for mine, theirs in zip(best["ours"], best[peer], strict=True)]
        answer[f"ratio_to_{peer}"] = round(statistics.median(ratios), 3)
        answer[f"spread_to_{peer}"] = [round(min(ratios), 3), round(max(ratios), 3)]
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        for batch_size in arguments.batch_size:
            print(json.dumps(measure(batch_size, arguments.rounds, arguments.epochs)), flush=True)


if __name__ == "__main__":
    main()

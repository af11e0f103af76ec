"""Side by side: samples per second of fitting a variational autoencoder, against two loops.

Three ways to train the network of the tutorial that everybody begins with (784-400-20 and its
mirror, Adam at 1e-3, batches of 128, grey MNIST) with the same seed and threads:

- `ours`: `paceline.platform.launch.train`, as `paceline fit` calls it: every Lightning hook, the
  record in MLflow on SQLite, system metrics, checkpoints;
- `tutorial`: a Dataset that opens each picture with PIL and makes a tensor of it beside its label
  (torchvision's `MNIST` and `ToTensor`, operation by operation), a DataLoader without workers, the
  binary cross entropy of probabilities, the loss read at every step, plain Adam;
- `tuned`: a loop over float tensors in memory with the cross entropy of logits, fused Adam and
  `index_select`.

The matrix products of these steps alone are timed as well, `products`: no side can be faster.
Measured is each epoch's training part, from before its first batch until after its last. Rounds
alternate the order, and each round trains anew. All sides end at the same test loss (nats a
picture) up to noise, which is printed.

    python tests/benchmarks/vae.py [--rounds 3] [--epochs 2] [--threads 1 2]
        [--precision bf16-mixed]

With `--precision` our side alone multiplies in 16 bits, as `paceline fit --trainer.precision` lets
anybody who has a processor with such instructions. That is no longer equal work, and is told apart.
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
from measuring.products import linear_products, products_seconds
from paceline.lightning_modules.data.samples import Samples
from paceline.platform.configuration.config import load
from paceline.platform.training.fitting import prepare
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

BATCH_SIZE, CODE_SIZE = 128, 20


@dataclass
class Measured:
    """Seconds of each epoch's training part, and -ELBO of the test set after the last."""

    seconds: list[float]
    loss: float


class Pictures(Dataset):
    """The tutorial's data set: one picture at a time, through PIL and a transform."""

    def __init__(self, images: Tensor, labels: Tensor):
        self.images, self.labels = images, labels  # (N, H, W), (N,)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels, label = self.images[index], int(self.labels[index])
        picture = Image.fromarray(pixels.numpy(), mode="L")
        values = torch.from_numpy(np.array(picture, np.uint8, copy=True))
        values = values.view(picture.size[1], picture.size[0], len(picture.getbands()))
        values = values.permute(2, 0, 1).contiguous()  # (1, H, W)
        return values.to(dtype=torch.get_default_dtype()).div(255), label


class TutorialNetwork(nn.Module):
    """784-400-20 and back."""

    def __init__(self):
        super().__init__()
        self.hidden, self.mean, self.log_variance = (
            nn.Linear(784, 400),
            nn.Linear(400, CODE_SIZE),
            nn.Linear(400, CODE_SIZE),
        )
        self.back, self.said = nn.Linear(CODE_SIZE, 400), nn.Linear(400, 784)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, 784), mean and log variance (B, 20) of pixels (B, 784)."""
        hidden = F.relu(self.hidden(pixels))
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        std = torch.exp(0.5 * log_variance)
        code = mean + torch.randn_like(std) * std
        return self.said(F.relu(self.back(code))), mean, log_variance


def latent_loss(mean: Tensor, log_variance: Tensor) -> Tensor:
    return -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())


def negative_elbo(model: TutorialNetwork, pixels: Tensor) -> float:
    torch.manual_seed(0)
    with torch.no_grad():
        logits, mean, log_variance = model(pixels)
        generative = F.binary_cross_entropy_with_logits(logits, pixels, reduction="sum")
        return ((generative + latent_loss(mean, log_variance)) / len(pixels)).item()


def ours(training: Samples, test: Tensor, epochs: int, precision: str) -> Measured:
    changes = {
        "trainer.precision": precision,
        "model.hidden_sizes": [400],
        "model.code_size": CODE_SIZE,
        "model.binarize": "none",
        "data.batch_size": BATCH_SIZE,
        "optimizer.lr": 1e-3,
        "lr_scheduler": None,
        "trainer.max_epochs": epochs,
    }
    config = load("vae-mnist", {k: (v, "benchmark") for k, v in changes.items()})
    built = prepare(config)
    seconds = fit_seconds(config, built, "vae")
    model: Any = built.model.eval()
    torch.manual_seed(0)
    with torch.no_grad():
        return Measured(seconds, torch.stack(model.losses(test)).sum().item())


def tuned(training: Samples, test: Tensor, epochs: int, precision: str) -> Measured:
    pixels = training.inputs.float().div(255).flatten(1)  # (N, 784)
    torch.manual_seed(1)
    model, seconds = TutorialNetwork(), []
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    for _ in range(epochs):
        began = time.perf_counter()
        for index in torch.randperm(len(pixels)).split(BATCH_SIZE):
            batch = pixels.index_select(0, index)
            logits, mean, log_variance = model(batch)
            generative = F.binary_cross_entropy_with_logits(logits, batch, reduction="sum")
            loss = (generative + latent_loss(mean, log_variance)) / len(batch)
            adam.zero_grad()
            loss.backward()
            adam.step()
        seconds.append(time.perf_counter() - began)
    return Measured(seconds, negative_elbo(model, test))


def tutorial(training: Samples, test: Tensor, epochs: int, precision: str) -> Measured:
    data = Pictures(training.inputs.squeeze(1), training.targets)
    torch.manual_seed(1)
    model, seconds = TutorialNetwork(), []
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(data, batch_size=BATCH_SIZE, shuffle=True)
    for _ in range(epochs):
        began, total = time.perf_counter(), 0.0
        for pictures, _ in loader:
            adam.zero_grad()
            pixels = pictures.view(-1, 784)
            logits, mean, log_variance = model(pixels)
            probabilities = torch.sigmoid(logits)
            generative = F.binary_cross_entropy(probabilities, pixels, reduction="sum")
            loss = generative + latent_loss(mean, log_variance)  # a sum: Adam does not mind
            loss.backward()
            total += loss.item()
            adam.step()
        seconds.append(time.perf_counter() - began)
    return Measured(seconds, negative_elbo(model, test))


def products(steps: int) -> float:
    """Seconds of the products of so many steps."""
    shapes = linear_products(BATCH_SIZE, 784, 400, is_first=True)
    for inputs, outputs in ((400, 2 * CODE_SIZE), (CODE_SIZE, 400), (400, 784)):
        shapes += linear_products(BATCH_SIZE, inputs, outputs)
    return products_seconds(shapes, steps)


def measure(rounds: int, epochs: int, precision: str) -> dict[str, object]:
    """Alternate the three sides and give the ratios of their speeds, round by round."""
    data: Any = prepare(load("vae-mnist")).data
    splits = data.load()  # bytes (N, 1, 28, 28), as the files hold them
    training, test = splits.train, splits.test.inputs.float().div(255).flatten(1)
    sides: dict[str, Callable[..., Measured]] = {"ours": ours, "tuned": tuned, "tutorial": tutorial}
    runs: dict[str, list[Measured]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides) if number % 2 == 0 else list(sides)[::-1]:
            runs[name].append(sides[name](training, test, epochs, precision))
    best = {name: [min(m.seconds) for m in measured] for name, measured in runs.items()}
    answer: dict[str, object] = {
        "benchmark": "vae",
        "batch_size": BATCH_SIZE,
        "precision_of_ours": precision,
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "samples_per_second": {
            name: round(len(training) / statistics.median(s)) for name, s in best.items()
        }
        | {"products": round(200 * BATCH_SIZE / products(200))},
        "test_loss_nats": {
            name: round(statistics.fmean(m.loss for m in measured), 2)
            for name, measured in runs.items()
        },
    }
    for peer in ("tuned", "tutorial"):
        ratios = [theirs / mine for mine, theirs in zip(best["ours"], best[peer], strict=True)]
        answer[f"ratio_to_{peer}"] = round(statistics.median(ratios), 3)
        answer[f"spread_to_{peer}"] = [round(min(ratios), 3), round(max(ratios), 3)]
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--precision", default="32-true")
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        print(
            json.dumps(measure(arguments.rounds, arguments.epochs, arguments.precision)), flush=True
        )


if __name__ == "__main__":
    main()

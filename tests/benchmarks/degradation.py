"""Depth against shortcuts: training error of plain and residual nets, shallow and deep.

Deck, slide "Case Study: ResNet": a deeper model should do at least as well as a shallower one. He
et al. 2016, section 4.2 and figure 6: the deeper plain net has the higher error even on what it is
trained on, so that it is no overfitting; with shortcuts the order turns round. Here, after 900
updates, the deep plain net is far behind and shortcuts leave a tenth of the gap; the order has not
turned yet.

The four nets are those of the section with few channels, on some pictures of Fashion-MNIST, each
the mean of 2 x 2 of its pixels, so that one core can train them. Same seed, same pictures, the same
batches in the same order, the section's optimizer: momentum 0.9, weight decay 1e-4, a rate that is
divided by ten after half and after three quarters of the updates. No augmentation, no warm-up. What
is counted is the error of each batch in training, before the step on it, over an epoch.

    python tests/benchmarks/degradation.py [--depths 20 56] [--width 8] [--pictures 6000]
                                           [--epochs 15] [--batch-size 100] [--learning-rate 0.1]
                                           [--seed 1] [--picture docs/degradation.png]

One JSON line, and the picture. Both are what a single seed gives.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from matplotlib.figure import Figure
from paceline.lightning_modules.blocks.residual import Shortcut
from paceline.lightning_modules.data.mnist import FashionMNIST
from paceline.lightning_modules.resnet import ResidualNetwork
from torch import Tensor
from torch.nn import functional as F

SHORTCUTS: dict[str, Shortcut] = {"plain": "none", "residual": "zero_padding"}
MOMENTUM, DECAY = 0.9, 1e-4
Curves = dict[str, list[float]]  # "plain-20" -> training error of each epoch


def pictures_of(number: int) -> tuple[Tensor, Tensor]:
    """Pictures (N, 1, 14, 14), of mean 0 and variance 1 over all of them, and labels (N,)."""
    train = FashionMNIST(val_size=0).load().train
    x = F.avg_pool2d(train.inputs[:number].float().view(-1, 1, 28, 28), 2)
    return (x - x.mean()) / x.std(), train.targets[:number]


def train(
    network: ResidualNetwork, x: Tensor, labels: Tensor, arguments: argparse.Namespace
) -> list[float]:
    """Share of the pictures whose class was wrong in training, for each epoch."""
    optimizer = torch.optim.SGD(
        network.parameters(), arguments.learning_rate, MOMENTUM, weight_decay=DECAY
    )
    epochs, size = arguments.epochs, arguments.batch_size
    milestones = [epochs // 2, 3 * epochs // 4]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones)
    generator = torch.Generator().manual_seed(arguments.seed)
    errors = []
    for _ in range(epochs):
        wrong = torch.zeros((), dtype=torch.long)
        for batch in torch.randperm(len(x), generator=generator).split(size):
            scores = network(x[batch])
            loss = F.cross_entropy(scores, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            wrong += (scores.argmax(1) != labels[batch]).sum()
        schedule.step()
        errors.append(wrong.item() / len(x))
    return errors


def measure(arguments: argparse.Namespace) -> tuple[Curves, dict[str, float]]:
    """Training errors and seconds of each net."""
    x, labels = pictures_of(arguments.pictures)
    curves: Curves = {}
    seconds = {}
    for depth in arguments.depths:
        for kind, shortcut in SHORTCUTS.items():
            torch.manual_seed(arguments.seed)
            network = ResidualNetwork(
                1, 10, depth, "cifar", width=arguments.width, shortcut=shortcut
            )
            began = time.perf_counter()
            curves[f"{kind}-{depth}"] = errors = train(network, x, labels, arguments)
            seconds[f"{kind}-{depth}"] = round(time.perf_counter() - began, 1)
            told = f"{kind}-{depth}: {errors[-1]:.2%}, {seconds[f'{kind}-{depth}']} s"
            print(told, file=sys.stderr, flush=True)
    return curves, seconds


def draw(curves: Curves) -> Figure:
    """Two panels, as in figure 6 of the paper: plain nets and residual nets, deep ones thick."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, kind in zip(panels, SHORTCUTS, strict=True):
        named = {name: errors for name, errors in curves.items() if name.startswith(kind)}
        for number, (name, errors) in enumerate(named.items()):
            epochs, percent = range(1, len(errors) + 1), [100 * error for error in errors]
            panel.plot(epochs, percent, color=f"C{number}", linewidth=1 + number, label=name)
        panel.set(title=f"{kind} nets", xlabel="epoch")
        panel.grid(alpha=0.3)
        panel.legend()
    panels[0].set(ylabel="training error, %", ylim=(0, None))
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--depths", type=int, nargs="+", default=[20, 56], help="each 6n + 2")
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--pictures", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    docs = Path(__file__).parents[2] / "docs"
    parser.add_argument("--picture", type=Path, default=docs / "degradation.png")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    curves, seconds = measure(arguments)
    draw(curves).savefig(arguments.picture, dpi=120)
    settings = {name: value for name, value in vars(arguments).items() if name != "picture"}
    rounded = {name: [round(error, 4) for error in errors] for name, errors in curves.items()}
    answer = {"benchmark": "degradation", **settings, "error": rounded, "seconds": seconds}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

"""How long one training takes without a sweep and without a record, in a warm process.

The recipe's model and data are trained again and again, once by a bare loop and once by a plain
Lightning `Trainer`, each time built anew; the clock runs from the first batch of the loop, or from
the call of `Trainer.fit`, to the end of the last validation.

    python bare_training.py FOLDER '{"repeats": 8, "changes": {"trainer.max_epochs": 10, ...}}'

The answer is one JSON object on standard output: seconds of each training, the first of each kind,
which warms up, left out.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch
from paceline.platform.configuration.config import Config, load
from paceline.platform.training.fitting import prepare
from paceline.platform.training.trainer_context import quiet
from pytorch_lightning import Trainer
from torch.nn.functional import cross_entropy


def loop(config: Config) -> float:
    """Seconds of a bare loop, validation after each epoch included."""
    built = prepare(config)
    data: Any = built.data
    data.setup()
    network: Any = built.model.network
    adam = torch.optim.Adam(network.parameters(), lr=config.get("optimizer.lr"))
    training, validation = data.train_dataloader(), data.val_dataloader()
    start = time.perf_counter()
    for epoch in range(config.get("trainer.max_epochs")):
        training.batch_sampler.set_epoch(epoch)
        network.train()
        for inputs, targets in training:
            loss = cross_entropy(network(inputs), targets)
            adam.zero_grad()
            loss.backward()
            adam.step()
        network.eval()
        with torch.no_grad():
            for inputs, targets in validation:
                cross_entropy(network(inputs), targets).item()
    return time.perf_counter() - start


def lightning(config: Config) -> float:
    """Seconds of a plain `Trainer.fit`."""
    built = prepare(config)
    with quiet():
        trainer = Trainer(
            max_epochs=config.get("trainer.max_epochs"),
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        start = time.perf_counter()
        trainer.fit(built.model, datamodule=built.data)
        return time.perf_counter() - start


def main() -> None:
    plan = json.loads(sys.argv[2])
    config = load("mlp", {key: (value, "benchmark") for key, value in plan["changes"].items()})
    torch.set_flush_denormal(True)
    answer = {
        side.__name__: [side(config) for _ in range(plan["repeats"] + 1)][1:]
        for side in (loop, lightning)
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()

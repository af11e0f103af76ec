"""A sweep as one writes it by hand: a Tune function that builds a Lightning Trainer, with MLflow.

It stands on what Ray's and Lightning's documentation show today: `TuneReportCheckpointCallback` on
each validation, trials of one CPU, and Tune's defaults for all else. What is recorded where is one
of three documented ways:

- `logger`: Lightning's `MLFlowLogger`, one run a trial;
- `callback`: Ray's `MLflowLoggerCallback` in the driver;
- `autolog`: Ray's `setup_mlflow` in the trial, then `mlflow.pytorch.autolog`, without models.

Lightning's own checkpoints are off, because Tune's callback writes one at each validation. The
draws of the other side are handed to Tune as `points_to_evaluate`, so that both sides train the
same configurations.

    python tune_lightning.py FOLDER '{"record": "logger", "epochs": 10, "points": [...], ...}'

FOLDER holds `mlflow.db`, made ready, and `split.json`, the indices of the training and validation
samples. The answer is one JSON object on standard output.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import MLFlowLogger
from ray import tune
from ray.tune.integration.pytorch_lightning import TuneReportCheckpointCallback
from ray.tune.search import BasicVariantGenerator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset


class Digits(pl.LightningDataModule):
    """scikit-learn's digits, normalised, in a given split."""

    def __init__(self, batch_size: int, split: dict[str, list[int]]):
        super().__init__()
        self.batch_size, self.split = batch_size, split

    def setup(self, stage: str | None = None) -> None:
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        inputs, targets = torch.tensor(pixels, dtype=torch.float32), torch.tensor(labels)
        train, val = self.split["train"], self.split["val"]
        mean, std = inputs[train].mean(), inputs[train].std()
        inputs = (inputs - mean) / std  # (N, 64)
        self.train = TensorDataset(inputs[train], targets[train])
        self.val = TensorDataset(inputs[val], targets[val])

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.train, batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.val, batch_size=1000)


class Classifier(pl.LightningModule):
    """An MLP 64-256-128-10 under Adam, whose rate falls along half a cosine wave."""

    def __init__(self, lr: float, dropout: float):
        super().__init__()
        self.save_hyperparameters()
        self.lr = lr
        self.network = nn.Sequential(
            nn.Linear(64, 256),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(128, 10),
        )
        for layer in self.network:
            if isinstance(layer, nn.Linear):
                last = layer.out_features == 10
                nn.init.kaiming_normal_(layer.weight, nonlinearity="linear" if last else "relu")
                nn.init.zeros_(layer.bias)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        inputs, targets = batch
        loss = cross_entropy(self.network(inputs), targets)
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        inputs, targets = batch
        scores = self.network(inputs)
        self.log("val/loss", cross_entropy(scores, targets))
        self.log("val/accuracy", (scores.argmax(1) == targets).float().mean())

    def configure_optimizers(self) -> Any:
        adam = torch.optim.Adam(self.parameters(), lr=self.lr)
        steps = int(self.trainer.estimated_stepping_batches)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
        return {"optimizer": adam, "lr_scheduler": {"scheduler": cosine, "interval": "step"}}


def train(config: dict[str, float], folder: str, plan: dict[str, Any]) -> None:
    """One trial."""
    pl.seed_everything(plan["seed"], verbose=False)
    uri, split = f"sqlite:///{folder}/mlflow.db", json.loads(Path(folder, "split.json").read_text())
    logger: Any = False
    mlflow: Any = None
    if plan["record"] == "logger":
        logger = MLFlowLogger(plan["experiment"], tracking_uri=uri)
    elif plan["record"] == "autolog":
        from ray.air.integrations.mlflow import setup_mlflow

        mlflow = setup_mlflow(config, tracking_uri=uri, experiment_name=plan["experiment"])
        mlflow.pytorch.autolog(log_models=False)
    trainer = pl.Trainer(
        max_epochs=plan["epochs"],
        accelerator="cpu",
        logger=logger,
        callbacks=[TuneReportCheckpointCallback(on="validation_end")],
        enable_progress_bar=False,
        enable_checkpointing=False,
    )
    trainer.fit(Classifier(config["lr"], config["dropout"]), Digits(plan["batch_size"], split))
    if plan["record"] == "autolog":
        mlflow.end_run()  # Ray's example forgets it, and its runs stay RUNNING


def main() -> None:
    folder, plan = sys.argv[1], json.loads(sys.argv[2])
    pl.seed_everything(plan["seed"], verbose=False)
    callbacks: list[tune.Callback] = []
    if plan["record"] == "callback":
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        uri = f"sqlite:///{folder}/mlflow.db"
        callbacks = [MLflowLoggerCallback(uri, experiment_name=plan["experiment"])]
    trial = tune.with_parameters(train, folder=folder, plan=plan)
    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": 1}),
        param_space={
            "lr": tune.loguniform(3e-4, 3e-2),
            "dropout": tune.uniform(0.0, 0.5),
        },
        tune_config=tune.TuneConfig(
            metric="val/loss",
            mode="min",
            search_alg=BasicVariantGenerator(plan["points"]),
            max_concurrent_trials=2,
            num_samples=len(plan["points"]),
            reuse_actors=plan["reuse_actors"],
        ),
        run_config=tune.RunConfig(
            name="by-hand", storage_path=folder, callbacks=callbacks, verbose=0
        ),
    )
    results = tuner.fit()
    best: Any = results.get_dataframe("val/loss", "min")  # the best epoch of each trial
    answer = {
        "epochs": [result.metrics["training_iteration"] for result in results if result.metrics],
        "lr": [result.config["lr"] for result in results if result.config],
        "best_val_loss": float(best["val/loss"].min()),
    }
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

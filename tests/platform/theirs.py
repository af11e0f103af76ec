"""A module, a data module and an optimizer as a third party writes them; tests copy this file."""

from __future__ import annotations

import torch
from pytorch_lightning import LightningDataModule, LightningModule
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset


class Net(LightningModule):
    """Three numbers in, one out."""

    def __init__(self, width: int = 4, rate: float = 0.1, counts: dict[str, int] | None = None):
        super().__init__()
        self.save_hyperparameters()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(3, width), torch.nn.ReLU(), torch.nn.Linear(width, 1)
        )

    def training_step(self, batch, batch_idx):
        loss = mse_loss(self.layers(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", mse_loss(self.layers(batch[0]), batch[1]))

    def test_step(self, batch, batch_idx):
        self.log("test_loss", mse_loss(self.layers(batch[0]), batch[1]))

    def predict_step(self, batch, batch_idx):
        return self.layers(batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.rate)


class Fails(Net):
    """Raises in its second step, as code with a slip does."""

    def training_step(self, batch, batch_idx):
        if batch_idx == 1:
            raise KeyError("the slip")
        return super().training_step(batch, batch_idx)


class Leaves(Net):
    """Leaves the process, as a script of its own would."""

    def training_step(self, batch, batch_idx):
        raise SystemExit(3)


class Talks(Net):
    """Prints what it does."""

    def training_step(self, batch, batch_idx):
        print("a step")
        return super().training_step(batch, batch_idx)


class Sloppy(Net):
    """Raises where it is made."""

    def __init__(self, width: int = 4):
        super().__init__(width)
        raise LookupError("no such width")


class Points(LightningDataModule):
    """The sum of three numbers."""

    def __init__(self, size: int = 32, batch: int = 8):
        super().__init__()
        self.size, self.batch = size, batch

    def setup(self, stage: str):
        x = torch.linspace(-1, 1, 3 * self.size).reshape(self.size, 3)  # (N, 3)
        self.set = TensorDataset(x, x.sum(1, keepdim=True))

    def train_dataloader(self):
        return DataLoader(self.set, self.batch)

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader


class Broken(Points):
    """Raises where its files are looked for."""

    def prepare_data(self):
        error = FileNotFoundError("`points.csv` must be in the folder, but is not.")
        error.add_note("get it from the author")
        raise error


class Steady(torch.optim.SGD):
    """SGD that takes one argument fewer."""

    def __init__(self, params, lr: float = 0.1):
        super().__init__(params, lr)

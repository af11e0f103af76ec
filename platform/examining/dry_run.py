"""One batch through a recipe's own training loop, on the CPU, leaving nothing behind.

Lightning's trainer does it, so that every hook of the module is called as in a run; only what is
looked at differs.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from ..configuration.config import Config
from ..errors import UserError
from ..training.building import Built, build, told_as_failure
from ..training.fitting import make_trainer, prepare
from ..training.optimization import set_optimizer
from ..training.trainer_context import quiet
from .inspection import one_example

_ONE_BATCH = {
    "trainer.accelerator": "cpu",
    "trainer.devices": 1,
    "trainer.num_nodes": 1,
    "trainer.strategy": "auto",
    "trainer.callbacks": None,
    "trainer.logger": False,
    "trainer.enable_checkpointing": False,
    "trainer.enable_progress_bar": False,
    "trainer.enable_model_summary": False,
    "trainer.max_epochs": 1,
    "trainer.max_steps": -1,
    "trainer.limit_train_batches": 1,
    "trainer.limit_val_batches": 1,
    "trainer.check_val_every_n_epoch": 1,
    "trainer.val_check_interval": 1.0,
    "trainer.num_sanity_val_steps": 0,
    "trainer.accumulate_grad_batches": 1,
}


class OneBatch:
    """A loader of one batch; Lightning would take a list for a list of loaders."""

    def __init__(self, batch: Any):
        self.batch = batch

    def __len__(self) -> int:
        """Batches in it."""
        return 1

    def __iter__(self) -> Iterator[Any]:
        """The batch."""
        yield self.batch


class SeenEnough(Exception):
    """Raised by a callback of `run_one_batch` that needs the loop no longer."""


@dataclass
class Found:
    """What one batch showed.

    Args:
        batch: Shape and type of each tensor of the batch.
        loss: The training loss; None where the module optimizes by itself and returns none.
        gradients: Parameter -> norm of its gradient; None where it got none.
        metrics: What was logged, at one batch of training and of validation.
        seconds: Time from the batch to the end of the optimizer's step.
    """

    batch: list[dict[str, Any]] = field(default_factory=list)
    loss: float | None = None
    gradients: dict[str, float | None] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


def prepare_one_batch(config: Config, **changes: Any) -> tuple[Config, Built]:
    """Change a config so that it trains one batch on the CPU, and build it.

    Args:
        config: The config.
        **changes: Further arguments of the trainer.

    Returns:
        The changed config; model and data, which is None where its files are not on this machine.

    Raises:
        UserError: Something is wrong with the config.
    """
    wanted = _ONE_BATCH | {f"trainer.{name}": value for name, value in changes.items()}
    config = config.override(wanted, config.source)
    try:
        return config, prepare(config)
    except UserError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
    with quiet():
        if config.seed is not None:
            seed_everything(config.seed, workers=True, verbose=False)
        built = build(config)
        set_optimizer(built.model, built.optimizer, built.lr_scheduler)
    built.data = None
    return config, built


def run_one_batch(config: Config, built: Built, callback: Callback) -> Trainer:
    """Train on one batch; without its data, on noise in the shape of the module's example.

    Args:
        config: What `prepare_one_batch` returned.
        built: Likewise.
        callback: What looks at it.

    Raises:
        RunError: The module or the data raised.
    """
    with quiet():
        trainer = make_trainer(config, None, [callback], Path.cwd())
        with told_as_failure(config), contextlib.suppress(SeenEnough):
            if built.data is not None or makes_its_data(built.model):
                trainer.fit(built.model, datamodule=built.data)
            else:
                noise = OneBatch(noise_batch(built.model, config.seed or 0))
                trainer.fit(built.model, noise, noise)
    return trainer


def makes_its_data(model: LightningModule) -> bool:
    """Whether a module needs no data module, as one that learns by acting."""
    return is_overridden("train_dataloader", model, LightningModule)


def noise_batch(model: LightningModule, seed: int, size: int = 4) -> tuple[Tensor, Tensor]:
    """Random inputs and labels for a classifier whose data is not at hand.

    Raises:
        UserError: The module does not say what a batch looks like.
    """
    example, classes = one_example(model), getattr(model, "num_classes", None)
    if example is None or not isinstance(classes, int) or len(tree_leaves(example)) != 1:
        raise UserError(
            "`data` must be on this machine where the model is no classifier, but is not.",
            type(model).__name__,
            "get it: paceline data list",
        )
    rng = torch.Generator().manual_seed(seed)
    (x,) = tree_leaves(example)
    inputs = torch.randn(size, *x.shape[1:], generator=rng)
    if not x.is_floating_point():
        inputs = x.expand(size, *x.shape[1:])
    return inputs, torch.randint(0, classes, (size,), generator=rng)


def first_examples(batch: Any, size: int) -> Any:
    """The first `size` examples of a batch, whatever it is made of."""
    return tree_map(lambda part: part[:size] if isinstance(part, Tensor) else part, batch)


class Look(Callback):
    """Notes what one batch shows on its way through training and validation."""

    def __init__(self):
        self.found = Found()
        self._began_at = 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the batch."""
        tensors = [part for part in tree_leaves(batch) if isinstance(part, Tensor)]
        self.found.batch = [
            {"shape": list(t.shape), "type": str(t.dtype).removeprefix("torch.")} for t in tensors
        ]
        learned = ((n, p) for n, p in pl_module.named_parameters() if p.requires_grad)
        self.found.gradients = {name: None for name, _ in learned}
        self._began_at = time.perf_counter()

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the gradients; of several backward passes, the largest."""
        for name, parameter in pl_module.named_parameters():
            if parameter.requires_grad and parameter.grad is not None:
                norm = float(parameter.grad.norm())
                before = self.found.gradients.get(name)
                self.found.gradients[name] = norm if not norm <= (before or 0) else before or 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the loss."""
        self.found.seconds = time.perf_counter() - self._began_at
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        self.found.loss = float(loss) if isinstance(loss, Tensor) else None

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what was logged."""
        self.found.metrics = {k: float(v) for k, v in trainer.callback_metrics.items()}

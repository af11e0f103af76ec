"""The gradient check inside a training loop: the module's own `training_step` as the objective."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..errors import UserError
from .dry_run import SeenEnough, first_examples
from .gradient_check import Checked, check_gradients, sample_sizes

EXAMPLES = 4
_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


class GradientProbe(Callback):
    """Checks every gradient at the first batch, instead of a step on it.

    Dropout is off; all else stays as in training, batch norm too, whose statistics are part of what
    is differentiated. What is drawn at random is drawn from one seed at each call, and buffers are
    put back, so that the objective is a function of the parameters alone.

    Args:
        sample: Entries that are checked of each tensor that has more; default: `sample_sizes`.
        seed: Seed of that sample, and of what the module draws.
        begin: Called with the entries, the tensors and the seconds that it will take.
    """

    def __init__(self, sample: int | None, seed: int, begin: Callable[[int, int, float], None]):
        self.sample, self.seed, self.begin = sample, seed, begin
        self.found: list[Checked] = []
        self.loss, self.examples = math.nan, 0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Check.

        Raises:
            SeenEnough: Always at the end, so that nothing is trained.
            UserError: There is no loss that could be differentiated, or it is not a function of the
                parameters.
        """
        self._check(trainer, pl_module, first_examples(batch, EXAMPLES))
        raise SeenEnough

    def _check(self, trainer: Trainer, module: LightningModule, batch: Any) -> None:
        for part in module.modules():
            if isinstance(part, _DROPOUT):
                part.eval()
        tensors = [part for part in tree_leaves(batch) if isinstance(part, Tensor)]
        self.examples = max(map(len, tensors), default=0)
        objective = self._objective(trainer, module, batch)
        loss = objective()
        learned = {n: p for n, p in module.named_parameters() if p.requires_grad}
        found = torch.autograd.grad(loss, list(learned.values()), allow_unused=True)
        gradients = dict(zip(learned, found, strict=True))
        with torch.no_grad():
            started = time.perf_counter()
            again = float(objective())
            seconds = time.perf_counter() - started
            self.loss = float(loss)
            if not math.isfinite(self.loss) or self.loss != again:
                name = type(module).__name__
                raise UserError(
                    f"`{name}.training_step` must return one finite loss for one batch, but "
                    f"returns {self.loss!r} and then {again!r}.",
                    name,
                    "take out what it draws from generators of its own or counts from call to call",
                )
            entries = sum(sample_sizes([p.numel() for p in learned.values()], self.sample))
            self.begin(entries, len(learned), 2 * entries * seconds)

            def value() -> float:
                return float(objective())

            checks = check_gradients(learned, gradients, value, entries=self.sample, seed=self.seed)
            self.found = list(checks)

    def _objective(
        self, trainer: Trainer, module: LightningModule, batch: Any
    ) -> Callable[[], Tensor]:
        """The module's training loss on a batch, as a function of its parameters."""
        buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
        takes_index = len(inspect.signature(module.training_step).parameters) > 1
        arguments = (batch, 0) if takes_index else (batch,)
        for name in ("log", "log_dict"):  # thousands of calls tell nobody anything
            object.__setattr__(module, name, lambda *_, **__: None)

        def objective() -> Tensor:
            with torch.no_grad():
                for name, buffer in module.named_buffers():
                    buffer.copy_(buffers[name])
            torch.manual_seed(self.seed)
            with trainer.precision_plugin.train_step_context():
                output = module.training_step(*arguments)
            loss = output.get("loss") if isinstance(output, dict) else output
            if not isinstance(loss, Tensor) or not module.automatic_optimization:
                name = type(module).__name__
                raise UserError(
                    f"`{name}.training_step` must return the loss that Lightning minimises, but "
                    f"{'does not' if module.automatic_optimization else 'optimizes by itself'}.",
                    name,
                    "its gradients cannot be checked: paceline check without --gradients",
                )
            return loss

        return objective

"""The state of the random numbers, kept in checkpoints so that a resumed run repeats none of them.

Lightning saves weights, optimizers and loops, but not the generator that dropout and sampling draw
from: without it a resumed run differs from the uninterrupted one at its first step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ExactResume:
    """Mixin for a `LightningModule`; write it before that class among the bases.

    One process goes on to the bit. Of several, the first writes the checkpoint and alone gets its
    state back; the others go on from their own seeds, so that no two draw the same masks.
    """

    _random_state: dict[str, Tensor] | None = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of the generators of the CPU and of the GPU in use."""
        state = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_initialized():
            state["cuda"] = torch.cuda.get_rng_state()
        checkpoint["random_state"] = state

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember the state; much may still be drawn before training goes on."""
        self._random_state = checkpoint.get("random_state")

    def on_train_start(self) -> None:
        """Go on where the checkpoint was written."""
        state, self._random_state = self._random_state, None
        if state is None or not self.trainer.is_global_zero:  # pyright: ignore[reportAttributeAccessIssue]
            return
        torch.set_rng_state(state["cpu"].cpu())
        if "cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["cuda"].cpu())

"""What the learners of value functions share: acting where the truth is known, and the update.

Sutton and Barto 2018, section 9.3, semi-gradient: w goes along (target - v(s, w)) times the
gradient of v(s, w), and the target counts as a given number. Each step of each environment weighs
1/N, whether it comes alone (TD) or with its whole episode (Monte Carlo), so that one learning rate
means the same for all methods; with N = 1 and SGD it is the step size alpha of the book.
S states, A outputs (actions, or 1), N environments, B batch, (*O) shape of an observation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from ...lightning_modules.blocks.activations import Activation
from ...lightning_modules.blocks.checks import require
from ...lightning_modules.blocks.initializers import WeightInit
from ...lightning_modules.steps.epoch_means import EpochMeans
from ...lightning_modules.steps.exact_resume import ExactResume
from ...lightning_modules.steps.lean_step import LeanStep
from ..agent import ActsInEnvironments
from ..learning.manual_steps import average_over_ranks
from ..playing.acting import Steps
from .features import Features, ValueNetwork, state_features, states_of
from .tables import table_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ValueLearner(LeanStep, ActsInEnvironments, ExactResume, pl.LightningModule):
    """Base of the learners: has the table, the function and its error; a learner adds targets.

    A learner calls `_prepare_acting` and `_prepare_function` in its constructor, and defines
    `_learn`.
    """

    # What this family cannot fulfil of the tests that all families share: test -> reason.
    conformance_exceptions = {  # noqa: RUF012 (data of the class, never changed)
        "every_parameter_gets_a_gradient": "it steps many times a batch, past Lightning's hooks",
        "one_batch_can_be_learned_by_heart": "its data come from acting",
    }
    truth: NDArray  # (S,), float64

    def _prepare_function(
        self,
        num_outputs: int,
        features: Features,
        feature_size: int,
        hidden_sizes: Sequence[int] | None,
        activation: Activation,
        weight_init: WeightInit,
        gradient_clip_val: float | None,
    ) -> None:
        clip = gradient_clip_val
        require(clip is None or clip > 0, "gradient_clip_val", "above 0", clip)
        environment = self.maker.one()
        self.table = table_of(environment)
        environment.close()
        self.automatic_optimization, self.gradient_clip_val = False, clip
        self.means = EpochMeans(("td_error",))
        self.network = ValueNetwork(
            state_features(self.table, features, feature_size),
            num_outputs,
            [] if hidden_sizes is None else hidden_sizes,
            activation,
            weight_init,
        )
        shape, dtype = tuple(self.observation_space.shape or ()), self.observation_space.dtype
        self.example_input_array = torch.from_numpy(np.zeros((2, *shape), dtype))

    def forward(self, observations: Tensor) -> Tensor:
        """Observations (B, *O) to values (B, A)."""
        return self.network(states_of(observations))

    @torch.no_grad()
    def state_values(self) -> NDArray:
        """Learned values (S, A) of all states."""
        states = torch.arange(self.table.num_states, device=self.device)
        return self.network(states).cpu().numpy()

    def rms_error(self) -> float:
        """Root of the mean over states of (max over a of the learned value - true value)^2.

        All states in which an action is ever chosen weigh equally, however often they are visited;
        ends and walls do not count.
        """
        learned = self.state_values().max(1)
        return math.sqrt(np.mean((learned - self.truth)[self.table.lived] ** 2))

    # Learning.

    def _numbered(self, steps: Steps) -> Steps:
        """Steps whose observations are the numbers of states, (N,)."""
        before = states_of(torch.from_numpy(steps.observations)).numpy()
        after = states_of(torch.from_numpy(steps.next_observations)).numpy()
        return steps._replace(observations=before, next_observations=after)

    def _update(self, states: NDArray, actions: NDArray | None, targets: Tensor) -> None:
        """Move values towards targets (B,); all processes do so at the same time."""
        if len(states) == 0 and self.trainer.world_size == 1:
            return
        every = self.network(torch.from_numpy(states).to(self.device))  # (B, A)
        values = every[:, 0]
        if actions is not None:
            chosen = torch.from_numpy(actions).to(self.device).unsqueeze(1)  # (B, 1)
            values = every.gather(1, chosen).squeeze(1)
        errors = targets - values
        self._optimizer.zero_grad()
        (errors.square().sum() / (2 * self.num_environments)).backward()
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        average_over_ranks(self.trainer, gradients)
        if self.gradient_clip_val is not None:
            clip_grad_norm_(self.parameters(), self.gradient_clip_val)
        self._optimizer.step()
        if len(errors):
            self.means.add(len(errors), errors.abs().mean())

    def _mean_error(self) -> Tensor:
        """Mean of |target - value| in this epoch so far, a scalar."""
        return self.means.sum("td_error") / max(len(self.means), 1)

    def _begin_learning(self, seed: int, waiting: dict[str, Any] | None) -> None:
        self._optimizer: Any = self.optimizers(use_pl_optimizer=False)
        if not self.history:
            self.history.append([0.0, self.rms_error()])

    # Evaluations.

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log `val/rms_error`."""
        error = self.rms_error()
        self.log("val/rms_error", error, batch_size=1, sync_dist=True)
        if not self.trainer.sanity_checking:
            self.history.append([float(self.env_steps), error])

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Log `test/rms_error`."""
        self.log("test/rms_error", self.rms_error(), batch_size=1, sync_dist=True)

    def figures(self) -> dict[str, Figure]:
        """`error` over environment steps; `values`, true beside learned."""
        from ..pictures.values import error_curves, value_picture  # matplotlib is slow to import

        drawn = {"values": value_picture(self.table, self.truth, self.state_values())}
        if self.history:
            drawn["error"] = error_curves({type(self).__name__: self.history})
        return drawn

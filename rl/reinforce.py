"""REINFORCE: make more likely what turned out better than expected.

Deck, recap "Zooming In", losses: REINFORCE. Williams 1992, "Simple statistical gradient-following
algorithms for connectionist reinforcement learning"; Sutton and Barto 2018, sections 13.3 (returns)
and 13.4 (less a baseline). The policy pi(a|s) is the soft-max of a network's scores. It acts for a
while, and each action's log-probability is moved along G - b: the return that followed, less what
was expected.
What differs from the book: all steps of a rollout in N environments make one update, of an
optimizer as Adam; the factor gamma^t is left out, as is usual (it would forget late steps);
rollouts may cut episodes off, and then the value of the next state stands for the rest.
T steps of a rollout, N environments, B steps to learn from, (*O) observation, A actions.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from ..lightning_modules.blocks.activations import Activation
from ..lightning_modules.blocks.checks import require
from ..lightning_modules.blocks.initializers import WeightInit
from ..lightning_modules.steps.exact_resume import ExactResume
from ..lightning_modules.steps.lean_step import LeanStep
from .agent import ActsInEnvironments
from .learning.bare_steps import clip_norm
from .learning.manual_steps import average_over_ranks, move_schedules
from .learning.policy_gradient import (
    entropy,
    is_cut,
    mean_and_deviation,
    reinforce_loss,
    returns_to_go,
    standardised,
)
from .learning.state_values import StateValues
from .networks import Network, make_network, outputs
from .playing.acting import Steps
from .playing.making import Maker, Preprocessing
from .playing.rollout import play_rollout
from .reinforce_settings import Baseline, check_settings


class REINFORCE(LeanStep, ActsInEnvironments, ExactResume, pl.LightningModule):
    """Learns a policy by acting.

    Logs, as means over the steps learned from, `train/loss` (of the policy), `train/entropy` (of
    the policy, nats), with a value network `train/value_loss` (squared error before the update),
    and what `ActsInEnvironments` logs: `eval/return`, `train/episode_return`, ....

    Args:
        environment: Id of a Gymnasium environment with discrete actions.
        environment_options: Keyword arguments of the environment.
        preprocessing: `none`, or `atari` (Mnih et al. 2015, Methods).
        frame_stack: Latest observations that the network sees at once.
        num_environments: N, acted in side by side in each process.
        rollout_steps: Environment steps of an update, over all environments and processes.
        whole_episodes: Whether a rollout plays all episodes that it begins to their end, as in the
            book; `rollout_steps` is then the least. Else they go on in the next rollout.
        epoch_steps: Environment steps between two evaluations, over all processes (of whole
            episodes: the least, as above).
        eval_episodes: Episodes of an evaluation while training.
        test_episodes: Episodes of a test.
        network: `mlp` or `cnn` (Mnih et al. 2015), of the policy and of the value.
        hidden_sizes: Units of an MLP's hidden layers; default: 64.
        activation: Name of the non-linearity.
        weight_init: How weights start.
        weight_init_std: Standard deviation of `normal`.
        baseline: `none`; `mean` of the rollout's returns (Williams 1992, section 3); or `value` of
            the state, a network learned beside (Sutton and Barto 2018, section 13.4), which also
            stands for what would have followed a cut. Without it what was cut off is left out.
        value_updates: Steps of the value network per rollout, the last of them with the policy's;
            default: 10. Only with the baseline `value`.
        standardise: Whether G - b is brought to mean 0 and standard deviation 1 over the rollout.
        entropy_bonus: Weight of the policy's entropy, 0 or more (Williams and Peng 1991).
        discount: gamma, in [0, 1].
        gradient_clip_val: Largest norm of the gradient of each network; none: as it is.

    Raises:
        ValueError: If an argument is outside its range, the environment is not known, or its
            actions or observations do not fit.
    """

    # What this family cannot fulfil of the tests that all families share: test -> reason.
    conformance_exceptions = {  # noqa: RUF012 (data of the class, never changed)
        "one_batch_can_be_learned_by_heart": "its data come from acting",
    }

    def __init__(
        self,
        environment: str = "CartPole-v1",
        environment_options: dict[str, Any] | None = None,
        preprocessing: Preprocessing = "none",
        frame_stack: int = 1,
        num_environments: int = 32,
        rollout_steps: int = 16_000,
        whole_episodes: bool = False,
        epoch_steps: int = 48_000,
        eval_episodes: int = 25,
        test_episodes: int = 100,
        network: Network = "mlp",
        hidden_sizes: list[int] | None = None,
        activation: Activation = "relu",
        weight_init: WeightInit = "kaiming",
        weight_init_std: float = 0.01,
        baseline: Baseline = "value",
        value_updates: int | None = None,
        standardise: bool = True,
        entropy_bonus: float = 0.0,
        discount: float = 0.99,
        gradient_clip_val: float | None = None,
    ):
        super().__init__()
        self.save_hyperparameters()
        check_settings(self.hparams)
        maker = Maker(environment, environment_options or {}, preprocessing, frame_stack)
        self._prepare_acting(
            maker,
            num_environments,
            epoch_steps,
            rollout_steps,
            eval_episodes,
            test_episodes,
            ("loss", "entropy", *(["value_loss"] if baseline == "value" else [])),
        )
        self.automatic_optimization = False
        self.value_updates = 10 if value_updates is None else value_updates
        sizes = [64] if hidden_sizes is None else hidden_sizes
        style = (network, sizes, activation, weight_init, weight_init_std)
        self.policy = make_network(self.observation_space, self.num_actions, *style)
        self.values = None
        if baseline == "value":
            self.values = StateValues(make_network(self.observation_space, 1, *style))
        shape, dtype = tuple(self.observation_space.shape or ()), self.observation_space.dtype
        self.example_input_array = torch.from_numpy(np.zeros((2, *shape), dtype))

    def forward(self, observations: Tensor) -> Tensor:
        """Scores of the actions, whose soft-max is pi(a|s): (B, *O) to (B, A)."""
        return self.policy(observations)

    def action_scores(self, observations: NDArray) -> NDArray:
        """Scores as NumPy wants them, (N, *O) to (N, A)."""
        return outputs(self.policy, observations, self.device)

    def act_greedily(self, observations: NDArray) -> NDArray:
        """The likeliest actions (N,) for observations (N, *O)."""
        return self.action_scores(observations).argmax(1)

    def act_by_chance(self, observations: NDArray) -> NDArray:
        """Actions (N,) drawn from pi(a|s) for observations (N, *O)."""
        scores = self.action_scores(observations)
        # The largest of the scores with Gumbel noise is a draw from their soft-max.
        return (scores + self.chance.gumbel(size=scores.shape)).argmax(1)

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        """Act for one rollout and learn from it."""
        assert self.environments is not None
        settings, world_size = self.hparams, self.trainer.world_size
        least = self.chunk_steps // (self.num_environments * world_size)  # T
        whole = settings["whole_episodes"]
        rollout = play_rollout(self.environments, self.act_by_chance, least, whole_episodes=whole)
        self._learn(rollout)
        taken = rollout.rewards.size
        if whole:  # not the same on all ranks
            total = float(self._sum_over_ranks(torch.tensor(float(taken), device=self.device)))
            taken = round(total / world_size)
        self.count_steps(taken)
        move_schedules(self.trainer, taken * world_size, "step")

    def _learn(self, rollout: Steps) -> None:
        """One update of the policy, and those of the value network."""
        real, values = rollout.is_real, self.values  # (T, N)
        observations = self._on_device(rollout.observations[real])  # (B, *O)
        actions = self._on_device(rollout.actions[real])  # (B,)
        returns = self._on_device(self._returns(rollout)[real].astype(np.float32))  # (B,)
        expected = self._expected(observations, returns)  # (B,)
        advantages = returns - expected  # (B,)
        if self.hparams["standardise"]:
            advantages = standardised(advantages, self._sum_over_ranks)
        # The mean over ranks of these weighted means is the mean over the steps of all ranks.
        share = self._share(len(returns))
        if values is not None:
            values.rescale(*mean_and_deviation(returns, self._sum_over_ranks))
            for _ in range(self.value_updates - 1):
                self._update(share * values.loss(observations, returns))
        scores = self.policy(observations)  # (B, A)
        loss = reinforce_loss(scores, actions, advantages, self.hparams["entropy_bonus"])
        whole = loss if values is None else loss + values.loss(observations, returns)
        self._update(share * whole)
        losses = [loss, entropy(scores), (returns - expected).square().mean()]
        self.means.add(len(returns), *losses[: len(self.means.names)])

    def _returns(self, rollout: Steps) -> NDArray:
        """G (T, N), with the value of the next state after a cut where there is a value network."""
        after = None
        if self.values is not None:
            after = np.zeros(rollout.rewards.shape)  # (T, N)
            cut = is_cut(rollout.terminated, rollout.truncated)
            with torch.no_grad():
                values = self.values(self._on_device(rollout.next_observations[cut]))
            after[cut] = values.cpu().numpy()
        ends = (rollout.terminated, rollout.truncated)
        return returns_to_go(rollout.rewards, *ends, self.hparams["discount"], after)

    @torch.no_grad()
    def _expected(self, observations: Tensor, returns: Tensor) -> Tensor:
        """The baseline b, (B,)."""
        if self.values is not None:
            return self.values(observations)
        if self.hparams["baseline"] == "mean":
            mean, _ = mean_and_deviation(returns, self._sum_over_ranks)
            return mean.expand_as(returns)
        return torch.zeros_like(returns)

    def _update(self, loss: Tensor) -> None:
        """One step of the optimizer; a network that the loss does not hold stays as it is."""
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        # Lightning's reducer would wait for the idle network.
        with getattr(self.trainer.strategy, "block_backward_sync", contextlib.nullcontext)():
            self.manual_backward(loss)
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        average_over_ranks(self.trainer, gradients)
        optimizer.step()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the gradient of each network, after any unscaling."""
        clip = self.hparams["gradient_clip_val"]
        if clip is None:
            return
        for network in (self.policy, self.values):
            if network is not None:
                clip_norm(list(network.parameters()), clip)

    def _share(self, count: int) -> float:
        """A count over its mean over the processes."""
        if self.trainer.world_size == 1:
            return 1.0
        counted = torch.tensor(float(count), device=self.device)
        return count * self.trainer.world_size / float(self._sum_over_ranks(counted))

    def _on_device(self, array: NDArray) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def _begin_learning(self, seed: int, waiting: dict[str, Any] | None) -> None:
        stride = self.num_environments * self.trainer.world_size
        rule = f"at least two steps of each environment of all processes ({2 * stride})"
        require(self.chunk_steps >= 2 * stride, "rollout_steps", rule, self.chunk_steps)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means, and move schedules that count epochs."""
        super().on_train_epoch_end()
        move_schedules(self.trainer, 1, "epoch")

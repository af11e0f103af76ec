"""DQN: learn q(s, a) from a memory of what happened, with a target network that stands still.

Deck, slide "DQN"; Mnih et al. 2015, "Human-level control through deep reinforcement learning",
algorithm 1. q(s, a, w) goes towards r + gamma max over a' of q(s', a', w-), where w- are weights
of a while ago. Switches: Double DQN (van Hasselt et al. 2016), dueling heads (Wang et al. 2016),
n-step returns (Hessel et al. 2018), prioritised replay (Schaul et al. 2016).
What differs from the paper: several environments are acted in side by side, Adam is usual instead
of RMSProp, and a lost life ends no episode.
B batch, N environments, (*O) shape of an observation, A actions.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..lightning_modules.blocks.activations import Activation
from ..lightning_modules.blocks.initializers import WeightInit
from ..lightning_modules.steps.exact_resume import ExactResume
from ..lightning_modules.steps.lean_step import LeanStep
from .agent import ActsInEnvironments
from .dqn_settings import check_run, check_settings
from .exploration import Exploration, explorer
from .learning.bare_steps import bare_step, clip_norm, follow
from .learning.manual_steps import average_over_ranks, move_schedules
from .learning.td_gradient import set_gradient
from .learning.td_targets import TDLoss, td_loss
from .networks import Network, make_network, outputs
from .playing.making import Maker, Preprocessing
from .replay.memory import Memory, make_memory
from .replay.ring import Transitions


class DQN(LeanStep, ActsInEnvironments, ExactResume, pl.LightningModule):
    """Learns action values by acting.

    Logs `train/loss`, `train/q_mean` (mean of q(s, a) over the batches), `train/td_error` (mean
    distance of q(s, a) from its target), `train/epsilon` (or the temperature) and what
    `ActsInEnvironments` logs: `eval/return`, `train/episode_return`, `train/steps_per_second`.

    Args:
        environment: Id of a Gymnasium environment with discrete actions.
        environment_options: Keyword arguments of the environment.
        preprocessing: `none`, or `atari` (Mnih et al. 2015, Methods).
        frame_stack: Latest observations that the network sees at once.
        num_environments: N, acted in side by side in each process.
        epoch_steps: Environment steps between two evaluations, over all processes.
        chunk_steps: Environment steps in one call of `training_step`, over all processes.
        eval_episodes: Episodes of an evaluation while training.
        test_episodes: Episodes of a test.
        network: `mlp` or `cnn` (Mnih et al. 2015).
        hidden_sizes: Units of an MLP's hidden layers; default: 64 and 64.
        activation: Name of the non-linearity.
        weight_init: How weights start.
        weight_init_std: Standard deviation of `normal`.
        dueling: Whether value and advantage are said apart.
        double: Whether the trained network chooses the action that the target network judges.
        loss: `huber` or `squared`.
        discount: gamma, in [0, 1].
        n_step: Steps of a return before the value takes over.
        clip_rewards: Whether a reward counts as its sign only, as in the paper for Atari.
        buffer_size: Most transitions remembered.
        prioritised: Whether surprising transitions are drawn more often.
        priority_exponent: alpha of prioritised replay, in [0, 1].
        priority_correction: beta at the start, which grows to 1 while exploration declines.
        batch_size: B, transitions of an update in each process.
        learning_starts: Environment steps before the first update.
        train_every: Environment steps, over all processes, from one round of updates to the next.
        gradient_steps: Updates of a round.
        target_update_every: Environment steps after which the target network follows.
        tau: How far it follows: 1 altogether, below 1 a little (soft update).
        gradient_clip_val: Largest norm of the gradient; none: as it is.
        exploration: `epsilon_greedy` or `boltzmann`.
        exploration_start: Epsilon or temperature at the start.
        exploration_end: The same at the end.
        exploration_steps: Environment steps from one to the other.
        save_replay: Whether checkpoints hold the memory; else a resumed run begins without.

    Raises:
        ValueError: If an argument is outside its range, the environment is not known, or its
            actions or observations do not fit.
    """

    # What this family cannot fulfil of the tests that all families share: test -> reason.
    conformance_exceptions = {  # noqa: RUF012 (data of the class, never changed)
        "every_parameter_gets_a_gradient": "the first steps only fill the memory",
        "one_batch_can_be_learned_by_heart": "its data come from acting",
    }

    def __init__(
        self,
        environment: str = "CartPole-v1",
        environment_options: dict[str, Any] | None = None,
        preprocessing: Preprocessing = "none",
        frame_stack: int = 1,
        num_environments: int = 8,
        epoch_steps: int = 10_000,
        chunk_steps: int = 400,
        eval_episodes: int = 10,
        test_episodes: int = 100,
        network: Network = "mlp",
        hidden_sizes: list[int] | None = None,
        activation: Activation = "relu",
        weight_init: WeightInit = "kaiming",
        weight_init_std: float = 0.01,
        dueling: bool = False,
        double: bool = False,
        loss: TDLoss = "huber",
        discount: float = 0.99,
        n_step: int = 1,
        clip_rewards: bool = False,
        buffer_size: int = 50_000,
        prioritised: bool = False,
        priority_exponent: float = 0.6,
        priority_correction: float = 0.4,
        batch_size: int = 64,
        learning_starts: int = 1_000,
        train_every: int = 4,
        gradient_steps: int = 1,
        target_update_every: int = 500,
        tau: float = 1.0,
        gradient_clip_val: float | None = 10.0,
        exploration: Exploration = "epsilon_greedy",
        exploration_start: float = 1.0,
        exploration_end: float = 0.05,
        exploration_steps: int = 10_000,
        save_replay: bool = True,
    ):
        super().__init__()
        maker = Maker(environment, environment_options or {}, preprocessing, frame_stack)
        self._prepare_acting(
            maker,
            num_environments,
            epoch_steps,
            chunk_steps,
            eval_episodes,
            test_episodes,
            ("loss", "q_mean", "td_error"),
        )
        self.explore = explorer(exploration, exploration_start, exploration_end, exploration_steps)
        self.save_hyperparameters()
        check_settings(self.hparams)
        self.automatic_optimization = False
        self.network = make_network(
            self.observation_space,
            self.num_actions,
            network,
            [64, 64] if hidden_sizes is None else hidden_sizes,
            activation,
            weight_init,
            weight_init_std,
            dueling,
        )
        self.target_network = copy.deepcopy(self.network).requires_grad_(False)
        shape, dtype = tuple(self.observation_space.shape or ()), self.observation_space.dtype
        self.example_input_array = torch.from_numpy(np.zeros((2, *shape), dtype))
        self.memory: Memory | None = None  # while training
        self._learning_starts = learning_starts

    def forward(self, observations: Tensor) -> Tensor:
        """q(s, a): observations (B, *O) to (B, A)."""
        return self.network(observations)

    def action_values(self, observations: NDArray) -> NDArray:
        """q(s, a) as NumPy wants them, (N, *O) to (N, A)."""
        return outputs(self.network, observations, self.device)

    def act_greedily(self, observations: NDArray) -> NDArray:
        """The actions (N,) of the highest values for observations (N, *O)."""
        return self.action_values(observations).argmax(1)

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        """Act and learn for a chunk of environment steps."""
        settings, stride = self.hparams, self.num_environments * self.trainer.world_size
        every, starts = settings["train_every"], self._learning_starts
        start = self.env_steps
        for before in range(start, start + self.chunk_steps, stride):
            self._act(before)
            now = before + stride
            rounds = max(now - starts, 0) // every - max(before - starts, 0) // every
            if rounds:
                self._learn(rounds * settings["gradient_steps"], now)
            period = settings["target_update_every"]
            if times := now // period - before // period:
                follow(self.target_network, self.network, 1 - (1 - settings["tau"]) ** times)
        self.count_steps(self.chunk_steps // self.trainer.world_size)
        move_schedules(self.trainer, self.chunk_steps, "step")
        # Not at the epoch's end, which a run resumed there goes through again.
        if batch_idx + 1 == self.trainer.num_training_batches:
            move_schedules(self.trainer, 1, "epoch")

    def _act(self, step: int) -> None:
        """One step of all environments, remembered."""
        assert self.environments is not None
        assert self.memory is not None
        values = self.action_values(self.environments.observations)
        actions = self.explore(values, step, self.chance)
        self.memory.remember(self.environments.step(actions))

    def _learn(self, num_updates: int, step: int) -> None:
        """A round of updates, each of a batch of its own."""
        assert self.memory is not None
        drawn = self.memory.draw(self.hparams["batch_size"], num_updates, step)
        for number, (batch, places, weights) in enumerate(drawn):
            if self.device.type != "cpu":
                batch = Transitions(*(field.to(self.device) for field in batch))
                weights = None if weights is None else weights.to(self.device)
            values, targets = self._update(batch, weights)
            if places is not None:
                self.memory.reconsider(places, (values - targets).cpu())
            if number == 0:  # one batch of a round says enough of it
                self._note(values, targets, weights)

    def _update(self, batch: Transitions, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Move q(s, a) towards its target; returns both as they were, (B,) each."""
        network, settings = self.network, self.hparams
        values, targets = set_gradient(
            network, self.target_network, batch, weights, settings["loss"], settings["double"]
        )
        parameters = list(network.parameters())
        average_over_ranks(self.trainer, [p.grad for p in parameters if p.grad is not None])
        if self.hparams["gradient_clip_val"] is not None:
            clip_norm(parameters, self.hparams["gradient_clip_val"])
        with torch.no_grad():
            self._optimizer_step()
        return values, targets

    def _note(self, values: Tensor, targets: Tensor, weights: Tensor | None) -> None:
        """Count a batch for the epoch's means; nothing is read before its end."""
        loss = td_loss(values, targets, self.hparams["loss"], weights)
        self.means.add(1, loss, values.mean(), (values - targets).abs().mean())

    def _begin_learning(self, seed: int, waiting: dict[str, Any] | None) -> None:
        """Make the memory, and fill it as the checkpoint says."""
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        self._optimizer_step = bare_step(optimizer)
        assert self.environments is not None
        starts, processes = self.hparams["learning_starts"], self.trainer.world_size
        check_run(self.hparams, self.trainer.precision, processes)
        self.memory = make_memory(self.hparams, self.environments, seed)
        # Who resumes without the memory of all processes has to fill it again before learning.
        complete = waiting is not None and "replay" in waiting["memory"] and processes == 1
        self._learning_starts = starts if complete else self.env_steps + starts
        if waiting is not None:
            self.memory.load_state_dict(waiting["memory"])

    def _acting_state(self) -> dict[str, Any]:
        if self.memory is None:
            return {}
        return {"memory": self.memory.state_dict(with_replay=self.hparams["save_replay"])}

    def on_train_end(self) -> None:
        """Forget; what is kept of a trained module needs no memory."""
        super().on_train_end()
        self.memory = None

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means, and what is left of the exploration."""
        super().on_train_epoch_end()
        self.log("train/exploration", self.explore.schedule(self.env_steps), sync_dist=True)

"""Dyna-Q: learn a model of the world from what happens, and learn from the model too.

Deck, slides "Reinforcement learning" ("learn policies, values or models"); Sutton 1990; Sutton and
Barto 2018, section 8.2, "Tabular Dyna-Q". After each real step the model is asked what would follow
some earlier pairs of state and action, and q(s, a) learns from the answers: planning. The model is
a table of the latest outcome of each pair, as in the book: right where nothing is left to chance.
It knows that an episode ended, but not that one was truncated.
S states, A actions, (*O) shape of an observation.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..lightning_modules.blocks.checks import require
from ..lightning_modules.steps.exact_resume import ExactResume
from ..lightning_modules.steps.lean_step import LeanStep
from .agent import ActsInEnvironments
from .playing.making import Maker
from .values.control import epsilon_greedy
from .values.dyna_model import Outcomes, q_learning_step
from .values.dynamic_programming import optimal_values
from .values.features import states_of
from .values.tables import table_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class DynaQ(LeanStep, ActsInEnvironments, ExactResume, pl.LightningModule):
    """Learns a table q(s, a) from real steps and from those of a learned model.

    One environment in one process, whose values live on the CPU: the algorithm is sequential. There
    is no optimizer: a step adds learning_rate (r + gamma max over a' of q(s', a') - q(s, a)).
    Logs `val/rms_error` (of max over a of q(s, a) against the optimal value, root mean square over
    states weighted equally), `eval/return`, `eval/episode_length` and `train/episode_length`.

    Args:
        environment: One whose probabilities are known: ours, or a toy text of Gymnasium.
        environment_options: Keyword arguments of the environment.
        epoch_steps: Environment steps between two validations.
        chunk_steps: Environment steps in one call of `training_step`.
        eval_episodes: Episodes of an evaluation while training.
        test_episodes: Episodes of a test.
        planning_steps: Steps that are imagined after each real one, at least 0 (then it is
            Q-learning).
        learning_rate: alpha, in (0, 1].
        epsilon: Probability of a random action, in [0, 1].
        discount: gamma, in [0, 1].

    Raises:
        ValueError: If an argument is outside its range, or the environment is not known or has no
            table; at the start, if there are several processes.
    """

    # What this family cannot fulfil of the tests that all families share: test -> reason.
    conformance_exceptions = {  # noqa: RUF012 (data of the class, never changed)
        "every_parameter_gets_a_gradient": "a table is learned without gradients",
        "one_batch_can_be_learned_by_heart": "its data come from acting",
    }

    def __init__(
        self,
        environment: str = "GridWorld-v0",
        environment_options: dict[str, Any] | None = None,
        epoch_steps: int = 500,
        chunk_steps: int = 100,
        eval_episodes: int = 5,
        test_episodes: int = 5,
        planning_steps: int = 5,
        learning_rate: float = 0.1,
        epsilon: float = 0.1,
        discount: float = 0.95,
    ):
        super().__init__()
        require(planning_steps >= 0, "planning_steps", "at least 0", planning_steps)
        require(0 < learning_rate <= 1, "learning_rate", "in (0, 1]", learning_rate)
        require(0 <= epsilon <= 1, "epsilon", "in [0, 1] (a probability)", epsilon)
        maker = Maker(environment, environment_options or {})
        self._prepare_acting(maker, 1, epoch_steps, chunk_steps, eval_episodes, test_episodes)
        self.save_hyperparameters()
        self.automatic_optimization = False
        made = maker.one()
        self.table = table_of(made)
        made.close()
        self.truth = optimal_values(self.table, discount)
        size = (self.table.num_states, self.table.num_actions)
        self.q = nn.Parameter(torch.zeros(size, dtype=torch.float64), requires_grad=False)
        self.model = Outcomes(*size)
        shape, dtype = tuple(self.observation_space.shape or ()), self.observation_space.dtype
        self.example_input_array = torch.from_numpy(np.zeros((2, *shape), dtype))
        self.episode_lengths: list[int] = []  # of all episodes that ended in training

    def configure_optimizers(self) -> list[Any]:
        """None."""
        return []

    def forward(self, observations: Tensor) -> Tensor:
        """q(s, a), observations (B, *O) to (B, A)."""
        return self.q[states_of(observations)]

    def act_greedily(self, observations: NDArray) -> NDArray:
        """The actions (N,) of the highest values for observations (N, *O)."""
        return self(torch.from_numpy(observations).to(self.device)).argmax(1).cpu().numpy()

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Act, learn and plan for a chunk of environment steps; returns the mean of q."""
        assert self.environments is not None
        rate, discount = self.hparams["learning_rate"], self.hparams["discount"]
        q = self.q.tolist()  # rows of plain numbers: the steps below are one by one
        for _ in range(self.chunk_steps):
            state = self._present_state()
            action = epsilon_greedy(np.array([q[state]]), self.hparams["epsilon"], self.chance)
            steps = self.environments.step(action)
            if not steps.is_real[0]:
                continue
            after = int(states_of(torch.from_numpy(steps.next_observations)))
            outcome = (float(steps.rewards[0]), after, bool(steps.terminated[0]))
            q_learning_step(q, state, int(action[0]), outcome, rate, discount)
            self.model.learn(state, int(action[0]), outcome)
            drawn = self.model.draw(self.hparams["planning_steps"], self.chance)
            for earlier, tried, imagined in drawn:
                q_learning_step(q, earlier, tried, imagined, rate, discount)
        self.q.copy_(torch.tensor(q, dtype=torch.float64))
        self.episode_lengths += [length for _, length in self.environments.episodes]
        self.count_steps(self.chunk_steps)
        return self.q.mean()

    def _present_state(self) -> int:
        assert self.environments is not None
        return int(states_of(torch.from_numpy(self.environments.observations)))

    def _begin_learning(self, seed: int, waiting: dict[str, Any] | None) -> None:
        rule = "one, for the algorithm is sequential"
        require(self.trainer.world_size == 1, "trainer.devices", rule, self.trainer.world_size)

    def rms_error(self) -> float:
        """Root of the mean over states of (max over a of q(s, a) - optimal value)^2.

        All states in which an action is ever chosen weigh equally; ends and walls do not count.
        """
        learned = self.q.detach().cpu().numpy().max(1)
        return math.sqrt(np.mean((learned - self.truth)[self.table.lived] ** 2))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the lengths of the episodes beside where the acting stands."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["acting"]["episode_lengths"] = list(self.episode_lengths)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with them."""
        super().on_load_checkpoint(checkpoint)
        self.episode_lengths = list(checkpoint["acting"]["episode_lengths"])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log `val/rms_error`, `eval/return` and `eval/episode_length`."""
        super().validation_step(batch, batch_idx)
        self.log("val/rms_error", self.rms_error(), batch_size=1)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Log `test/rms_error`, `test/return` and `test/episode_length`."""
        super().test_step(batch, batch_idx)
        self.log("test/rms_error", self.rms_error(), batch_size=1)

    def figures(self) -> dict[str, Figure]:
        """`steps_per_episode`, and `values`, true beside learned."""
        from .pictures.values import episode_curves, value_picture  # matplotlib is slow to import

        learned = self.q.detach().cpu().numpy()
        label = f"{self.hparams['planning_steps']} planning steps"
        return {
            "values": value_picture(self.table, self.truth, learned),
            "steps_per_episode": episode_curves({label: self.episode_lengths}),
        }

"""Action values by acting on them: semi-gradient SARSA and Q-learning, q(s, a, w).

Deck, slide "Deep Reinforcement Learning"; Sutton and Barto 2018, sections 6.4, 6.5 and 10.1. The
value of an action goes towards r + gamma q(s', a'). SARSA takes the a' that is done next, and so
learns what exploring costs; Q-learning takes the best a'. Unlike DQN it remembers nothing and has
no target network.
Letters as in `value_rule.py`.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...lightning_modules.blocks.activations import Activation
from ...lightning_modules.blocks.checks import require, require_one_of
from ...lightning_modules.blocks.initializers import WeightInit
from ..playing.acting import Steps
from ..playing.making import Maker
from .dynamic_programming import optimal_values
from .features import Features
from .rule import ValueLearner

ControlMethod = Literal["sarsa", "q_learning"]


class ActionValueFunction(ValueLearner):
    """Learns q(s, a, w) while acting epsilon-greedily on it.

    Logs `val/rms_error` (of max over a of q(s, a, w) against the optimal value, root mean square
    over states weighted equally; SARSA need not come to 0 while it explores), `eval/return` and
    `test/return` of acting greedily, `train/td_error`, and what `ActsInEnvironments` logs.

    Args:
        environment: One whose probabilities are known: ours, or a toy text of Gymnasium.
        environment_options: Keyword arguments of the environment.
        num_environments: N, acted in side by side in each process.
        epoch_steps: Environment steps between two validations, over all processes.
        chunk_steps: Environment steps in one call of `training_step`, over all processes.
        eval_episodes: Episodes of an evaluation while training.
        test_episodes: Episodes of a test.
        method: `sarsa` or `q_learning`.
        epsilon: Probability of a random action, in [0, 1].
        discount: gamma, in [0, 1].
        features: What the function sees of a state: `one_hot`, `aggregation`, `polynomial` or
            `fourier`.
        feature_size: Groups, highest power or highest frequency along each coordinate.
        hidden_sizes: Units of the hidden layers; default: none, a linear function.
        activation: Name of the non-linearity of hidden layers.
        weight_init: How the weights of a network start.
        gradient_clip_val: Largest norm of the gradient; none: as it is.

    Raises:
        ValueError: If an argument is outside its range, or the environment is not known or has no
            table.
    """

    def __init__(
        self,
        environment: str = "GridWorld-v0",
        environment_options: dict[str, Any] | None = None,
        num_environments: int = 1,
        epoch_steps: int = 1000,
        chunk_steps: int = 100,
        eval_episodes: int = 5,
        test_episodes: int = 5,
        method: ControlMethod = "q_learning",
        epsilon: float = 0.1,
        discount: float = 1.0,
        features: Features = "one_hot",
        feature_size: int = 10,
        hidden_sizes: list[int] | None = None,
        activation: Activation = "tanh",
        weight_init: WeightInit = "xavier",
        gradient_clip_val: float | None = None,
    ):
        super().__init__()
        require_one_of("method", method, ("sarsa", "q_learning"))
        require(0 <= epsilon <= 1, "epsilon", "in [0, 1] (a probability)", epsilon)
        maker = Maker(environment, environment_options or {})
        self._prepare_acting(
            maker, num_environments, epoch_steps, chunk_steps, eval_episodes, test_episodes
        )
        self._prepare_function(
            self.num_actions,
            features,
            feature_size,
            hidden_sizes,
            activation,
            weight_init,
            gradient_clip_val,
        )
        self.save_hyperparameters()
        self.method, self.epsilon, self.discount = method, epsilon, discount
        self.truth = optimal_values(self.table, discount)
        self._next_actions: NDArray | None = None  # that SARSA has chosen already

    @torch.no_grad()
    def action_values(self, observations: NDArray) -> NDArray:
        """q(s, a), observations (N, *O) to (N, A)."""
        return self(torch.from_numpy(observations).to(self.device)).cpu().numpy()

    def act_greedily(self, observations: NDArray) -> NDArray:
        """The actions (N,) of the highest values for observations (N, *O)."""
        return self.action_values(observations).argmax(1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Act and learn for a chunk of steps; returns the mean error so far."""
        assert self.environments is not None
        num_steps = self.chunk_steps // self.trainer.world_size
        for _ in range(num_steps // self.num_environments):
            actions, self._next_actions = self._next_actions, None
            if actions is None:
                actions = self._explore(self.environments.observations)
            steps = self.environments.step(actions)
            after = self._explore(steps.next_observations) if self.method == "sarsa" else None
            self._learn(self._numbered(steps), after)
            if after is not None:
                # Where an episode ended, the next one begins elsewhere.
                begun = self._explore(self.environments.observations)
                self._next_actions = np.where(steps.ended, begun, after)
        self.count_steps(num_steps)
        return self._mean_error()

    def _explore(self, observations: NDArray) -> NDArray:
        return epsilon_greedy(self.action_values(observations), self.epsilon, self.chance)

    def _learn(self, steps: Steps, next_actions: NDArray | None) -> None:
        """Move q(s, a) towards r + gamma q(s', a')."""
        with torch.no_grad():
            after = self.network(
                torch.from_numpy(steps.next_observations).to(self.device)
            )  # (N, A)
            if next_actions is None:
                values = after.amax(1)
            else:
                chosen = torch.from_numpy(next_actions).to(after.device).unsqueeze(1)  # (N, 1)
                values = after.gather(1, chosen).squeeze(1)
            discounts = torch.from_numpy(self.discount * ~steps.terminated).to(values)
            targets = torch.from_numpy(steps.rewards).to(values) + discounts * values
        real = steps.is_real
        targets = targets[torch.from_numpy(real).to(targets.device)]
        self._update(steps.observations[real], steps.actions[real], targets)

    def _begin_learning(self, seed: int, waiting: dict[str, Any] | None) -> None:
        super()._begin_learning(seed, waiting)
        self._next_actions = None
        if waiting is not None and waiting["next_actions"] is not None:
            self._next_actions = waiting["next_actions"].numpy().copy()

    def _acting_state(self) -> dict[str, Any]:
        chosen = self._next_actions
        chosen = None if chosen is None else torch.tensor(chosen)
        return {"next_actions": chosen}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log `val/rms_error` and `eval/return`."""
        super().validation_step(batch, batch_idx)
        self._log_returns("eval", self.eval_episodes)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Log `test/rms_error` and `test/return`."""
        super().test_step(batch, batch_idx)
        self._log_returns("test", self.test_episodes)


def epsilon_greedy(values: NDArray, epsilon: float, chance: np.random.Generator) -> NDArray:
    """Actions (N,): one of the best of values (N, A), with probability epsilon any.

    Among equals it draws: before anything is learned all are, and the first would be done for ever.
    """
    any_one, lots = chance.random(len(values)), chance.random(values.shape)
    is_best = values == values.max(1, keepdims=True)
    allowed = is_best | (any_one < epsilon)[:, None]
    return np.where(allowed, lots, -1.0).argmax(1)

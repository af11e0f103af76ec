"""Value function approximation: learn v(s, w) of a policy by watching what follows.

Deck, slide "Deep Reinforcement Learning"; Sutton and Barto 2018, chapters 6, 7 and 9. A state's
value goes towards the whole return (Monte Carlo), or towards n rewards and the value of the state
after them (n-step; n = 1 is TD(0)). The policy is given: all actions equally likely. The truth is
known from dynamic programming, so that the error is an error and no loss.
Letters as in `value_rule.py`.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from ..lightning_modules.blocks.activations import Activation
from ..lightning_modules.blocks.checks import require, require_one_of
from ..lightning_modules.blocks.initializers import WeightInit
from .playing.acting import Steps
from .playing.making import Maker
from .replay.n_step import NStep
from .values.dynamic_programming import policy_values, uniform_policy
from .values.episodes import WholeEpisodes
from .values.features import Features
from .values.rule import ValueLearner

Method = Literal["monte_carlo", "td"]


class ValueFunction(ValueLearner):
    """Learns the values of acting at random, v(s, w).

    Logs `val/rms_error` and `test/rms_error` (root mean square over states weighted equally),
    `train/td_error` (mean of |target - value|) and what `ActsInEnvironments` logs of training.

    Args:
        environment: One whose probabilities are known: ours, or a toy text of Gymnasium.
        environment_options: Keyword arguments of the environment.
        num_environments: N, acted in side by side in each process.
        epoch_steps: Environment steps between two validations, over all processes.
        chunk_steps: Environment steps in one call of `training_step`, over all processes.
        method: `monte_carlo` or `td`.
        n_step: Rewards of a target before a value takes over; of `td`.
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
        environment: str = "RandomWalk-v0",
        environment_options: dict[str, Any] | None = None,
        num_environments: int = 1,
        epoch_steps: int = 1000,
        chunk_steps: int = 100,
        method: Method = "td",
        n_step: int = 1,
        discount: float = 1.0,
        features: Features = "one_hot",
        feature_size: int = 10,
        hidden_sizes: list[int] | None = None,
        activation: Activation = "tanh",
        weight_init: WeightInit = "xavier",
        gradient_clip_val: float | None = None,
    ):
        super().__init__()
        require_one_of("method", method, ("monte_carlo", "td"))
        rule = "at least 1, and 1 where the whole return is taken"
        require(n_step == 1 or (n_step > 1 and method == "td"), "n_step", rule, n_step)
        maker = Maker(environment, environment_options or {})
        self._prepare_acting(maker, num_environments, epoch_steps, chunk_steps, 1, 1)
        self._prepare_function(
            1, features, feature_size, hidden_sizes, activation, weight_init, gradient_clip_val
        )
        self.save_hyperparameters()
        self.method, self.n_step, self.discount = method, n_step, discount
        self.truth = policy_values(self.table, uniform_policy(self.table), discount)
        self._collector: NStep | WholeEpisodes | None = None  # while training

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Act at random and learn for a chunk of steps; returns the mean error so far."""
        assert self.environments is not None
        num_steps = self.chunk_steps // self.trainer.world_size
        for _ in range(num_steps // self.num_environments):
            actions = self.chance.integers(self.num_actions, size=self.num_environments)
            self._learn(self._numbered(self.environments.step(actions)))
        self.count_steps(num_steps)
        return self._mean_error()

    def _learn(self, steps: Steps) -> None:
        assert self._collector is not None
        states, _, rewards, after, discounts = self._collector.push(steps)
        with torch.no_grad():
            values = self.network(torch.from_numpy(after).to(self.device))[:, 0]
            targets = torch.from_numpy(rewards).to(values)
            targets += torch.from_numpy(discounts).to(values) * values
        self._update(states, None, targets)

    def recordings(self) -> dict[str, bytes]:
        """None: there is no policy to show but chance."""
        return {}

    def _begin_learning(self, seed: int, waiting: dict[str, Any] | None) -> None:
        super()._begin_learning(seed, waiting)
        count = self.num_environments
        if self.method == "monte_carlo":
            self._collector = WholeEpisodes(self.discount, count)
        else:
            self._collector = NStep(self.n_step, self.discount, count, (), "int64")
        if waiting is not None:
            self._collector.load_state_dict(waiting["collector"])

    def _acting_state(self) -> dict[str, Any]:
        if self._collector is None:
            return {}
        return {"collector": self._collector.state_dict()}

"""What agents have in common as Lightning modules: they make their own data by acting.

There is no data module. A batch of the training loader is a number: a chunk of environment steps,
in which the module acts and learns as often as its algorithm says, so that Lightning's own cost of
a step is shared by some hundred. An epoch is what lies between two evaluations. A validation plays
whole episodes without exploration; so does a test. N environments a process.

Lightning's count of steps counts environment steps here, over all processes: they are what
`trainer.max_steps`, the time axis of a sweep and the record's curves count.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import Space, spaces
from torch import Tensor

from ..lightning_modules.blocks.checks import require
from ..lightning_modules.data.order import derive_seed
from ..lightning_modules.data.resumable import ResumableLoader
from ..lightning_modules.steps.epoch_means import EpochMeans
from .playing.acting import Environments
from .playing.making import Maker
from .playing.played_episodes import PlaysEpisodes


class Chunks(ResumableLoader):
    """Numbers 0 to `num_chunks` - 1, an epoch's chunks of acting.

    Args:
        num_chunks: How many.
    """

    def __init__(self, num_chunks: int):
        self.seed, self.epoch = 0, 0
        super().__init__(self)
        self.num_chunks = num_chunks
        self.batch_sampler = self  # Lightning tells it the epoch

    def set_epoch(self, epoch: int) -> None:
        """Which epoch comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        """How many."""
        return self.num_chunks

    def __iter__(self) -> Any:
        """The numbers, on a resumed run those that are left."""
        for number in range(self._first_batch(), self.num_chunks):
            self._position = (self.epoch, number + 1)
            yield torch.tensor(number)


class ActsInEnvironments(PlaysEpisodes):
    """Mixin for a `LightningModule`; write it before `ExactResume` and that class among the bases.

    The module calls `_prepare_acting` in its constructor, has `act_greedily` (observations (N, *O)
    to actions (N,)), and calls `count_steps` after each chunk.
    """

    time_axis = "step"  # of sweeps: environment steps
    environments: Environments | None = None  # under way while training
    _waiting: dict[str, Any] | None = None  # what a checkpoint says of the acting

    def _prepare_acting(
        self,
        maker: Maker,
        num_environments: int,
        epoch_steps: int,
        chunk_steps: int,
        eval_episodes: int,
        test_episodes: int,
        means: Sequence[str] = (),
    ) -> None:
        """Check and keep what the acting wants; open nothing yet.

        Args:
            maker: Makes the environments.
            num_environments: N.
            epoch_steps: Environment steps between two evaluations, over all processes.
            chunk_steps: Environment steps in one call of `training_step`.
            eval_episodes: Episodes of a validation.
            test_episodes: Episodes of a test.
            means: What the algorithm logs as means over an epoch, as `train/NAME`. It adds to
                `self.means`.

        Raises:
            ValueError: If an argument is outside its range.
        """
        counts = {"num_environments": num_environments, "chunk_steps": chunk_steps}
        counts |= {"eval_episodes": eval_episodes, "test_episodes": test_episodes}
        for name, count in counts.items():
            require(count >= 1, name, "at least 1", count)
        rule = f"a multiple of num_environments ({num_environments})"
        require(chunk_steps % num_environments == 0, "chunk_steps", rule, chunk_steps)
        rule = f"a multiple of chunk_steps ({chunk_steps})"
        fits = epoch_steps >= 1 and epoch_steps % chunk_steps == 0
        require(fits, "epoch_steps", rule, epoch_steps)
        self.observation_space, self.num_actions = discrete_task(maker)
        self.maker, self.num_environments = maker, num_environments
        self.epoch_steps, self.chunk_steps = epoch_steps, chunk_steps
        self.eval_episodes, self.test_episodes = eval_episodes, test_episodes
        self.chance = np.random.default_rng(0)  # of exploration; seeded when training starts
        self.env_steps = 0  # of all processes
        self.history = []
        self.means = EpochMeans(means)
        self._finished: list[tuple[float, int]] = []  # episodes that ended in this epoch
        self._since = (0, 0.0)  # steps and seconds at the epoch's start

    def train_dataloader(self) -> Chunks:
        """An epoch's chunks."""
        return Chunks(self.epoch_steps // self.chunk_steps)

    def on_train_start(self) -> None:
        """Open the environments, or find them again as a checkpoint left them."""
        super().on_train_start()
        seed = torch.initial_seed()
        rank, count = self.global_rank, self.num_environments
        # What a resumed run has no state of must not go through the same chances again.
        which = (rank, self.env_steps) if self.env_steps else (rank,)
        self.chance = np.random.default_rng(derive_seed("exploration", seed, *which))
        start = derive_seed("environments", seed, *which) % 2**31
        name = self.maker.environment
        self.environments = Environments(self.maker.several(count), start, name)
        stride = count * self.trainer.world_size
        rule = f"a multiple of the environments of all processes ({stride})"
        require(self.chunk_steps % stride == 0, "chunk_steps", rule, self.chunk_steps)
        waiting, self._waiting = self._waiting, None
        # The first process writes checkpoints; the others go on from their own seeds.
        if not self.trainer.is_global_zero:
            waiting, self._finished = None, []
        if waiting is not None:
            self.chance.bit_generator.state = waiting["chance"]
            self.environments.load_state_dict(waiting["environments"])
            self.means.load_state_dict(waiting["means"])
        self._begin_learning(derive_seed("learning", seed, *which), waiting)

    def _begin_learning(self, seed: int, waiting: dict[str, Any] | None) -> None:
        """Called when the environments are open.

        Args:
            seed: Of what the algorithm draws; another one in each process.
            waiting: What `_acting_state` returned when the checkpoint was written; none for a fresh
                start.
        """

    def _acting_state(self) -> dict[str, Any]:
        """What else a resumed run of the algorithm needs, as tensors and plain values."""
        return {}

    def on_train_epoch_start(self) -> None:
        """Note where the epoch begins, and start counting."""
        self._finished, self.means = [], EpochMeans(self.means.names)
        self._since = (self.env_steps, time.perf_counter())

    def on_train_end(self) -> None:
        """Close the environments."""
        if self.environments is not None:
            self.environments.vector.close()
            self.environments = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep where the acting stands."""
        super().on_save_checkpoint(checkpoint)
        acting: dict[str, Any] = {"env_steps": self.env_steps, "history": self.history}
        acting["finished"] = [list(episode) for episode in self._finished]
        if self.environments is not None:
            acting["chance"] = dict(self.chance.bit_generator.state)
            acting["environments"] = self.environments.state_dict()
            acting["means"] = self.means.state_dict()
            acting |= self._acting_state()
        checkpoint["acting"] = acting

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember it until training starts."""
        super().on_load_checkpoint(checkpoint)
        acting = checkpoint["acting"]
        self.env_steps, self.history = acting["env_steps"], acting["history"]
        self._finished = [(value, length) for value, length in acting["finished"]]
        self._since = (self.env_steps, time.perf_counter())
        self._waiting = acting if "environments" in acting else None

    def count_steps(self, num_steps: int) -> None:
        """Tell Lightning that so many environment steps of this process are done."""
        self.env_steps += num_steps * self.trainer.world_size
        loop: Any = self.trainer.fit_loop.epoch_loop
        progress = loop.manual_optimization.optim_step_progress
        for tracker in (progress.total, progress.current):
            tracker.ready = tracker.completed = self.env_steps
        loop._batches_that_stepped = self.env_steps
        assert self.environments is not None
        self._finished += self.environments.episodes
        self.environments.episodes = []

    def num_schedule_steps(self) -> float:
        """Environment steps of the run, which learning-rate schedules of steps count here."""
        most_epochs, most_steps = self.trainer.max_epochs, self.trainer.max_steps
        by_epochs = np.inf if most_epochs in (None, -1) else most_epochs * self.epoch_steps
        return min(by_epochs, np.inf if most_steps == -1 else most_steps)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means, and those of its episodes."""
        if self.means.names:
            for name, mean in self.means.means(self._sum_over_ranks).items():
                self.log(f"train/{name}", mean, sync_dist=True)
        self._log_episodes()

    def _sum_over_ranks(self, values: Tensor) -> Tensor:
        return self.trainer.strategy.reduce(values, reduce_op="sum")  # pyright: ignore[reportReturnType] (a tensor for a tensor)

    def _log_episodes(self) -> None:
        """`train/episode_return`, `train/episode_length` and `train/steps_per_second`."""
        # All processes log or none does, whichever of them finished an episode.
        sums = [len(self._finished), *np.sum(self._finished, axis=0)] if self._finished else [0] * 3
        told = torch.tensor(sums, dtype=torch.float64).float().to(self.device)
        if self.trainer.world_size > 1:
            told = self._sum_over_ranks(told)
        count, total, length = told.tolist()
        if count:
            # The same number in every process; Lightning asks to say so.
            self.log("train/episode_return", total / count, sync_dist=True)
            self.log("train/episode_length", length / count, sync_dist=True)
        # Time is no function of the seed, so it is no metric that callbacks compare.
        steps, start = self._since
        speed = (self.env_steps - steps) / (time.perf_counter() - start)
        for logger in self.trainer.loggers:
            logger.log_metrics({"train/steps_per_second": speed}, self.env_steps)


def discrete_task(maker: Maker) -> tuple[Space, int]:
    """The space of observations and how many actions there are.

    Raises:
        ValueError: If the actions are not a numbered few.
    """
    environment = maker.one()
    observations, actions = environment.observation_space, environment.action_space
    environment.close()
    is_discrete = isinstance(actions, spaces.Discrete)
    rule = "an environment with numbered actions (Discrete)"
    require(is_discrete, "environment", rule, f"{maker.environment} with {actions}")
    rule = "one whose actions are numbered from 0"
    require(int(actions.start) == 0, "environment", rule, maker.environment)  # pyright: ignore[reportAttributeAccessIssue]
    return observations, int(actions.n)  # pyright: ignore[reportAttributeAccessIssue]

"""What DQN remembers and how it is asked: n-step transitions in a replay buffer, and its draws.

B batch, N environments, (*O) shape of an observation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...lightning_modules.data.order import derive_seed
from ..exploration import Schedule
from ..playing.acting import Environments, Steps
from .n_step import NStep
from .prioritised import PrioritisedReplay
from .ring import Replay, Transitions


class Memory:
    """Takes in steps of environments and hands out batches of transitions.

    Args:
        replay: Where they are kept, by priority or not.
        collector: Makes transitions of steps.
        clip_rewards: Whether a reward counts as its sign only (Mnih et al. 2015, Methods).
        correction: beta of prioritised replay over the environment steps.
        seed: Of the draws.
    """

    def __init__(
        self,
        replay: Replay,
        collector: NStep,
        clip_rewards: bool,
        correction: Schedule,
        seed: int,
    ):
        self.replay, self.collector = replay, collector
        self.clip_rewards, self.correction = clip_rewards, correction
        self.chance = torch.Generator().manual_seed(seed)

    def remember(self, steps: Steps) -> None:
        """Take in one step of all environments."""
        if self.clip_rewards:
            steps = steps._replace(rewards=np.sign(steps.rewards))
        rows = self.collector.push(steps)
        if len(rows[0]):
            self.replay.add(*rows)

    def draw(
        self, batch_size: int, count: int, step: int
    ) -> Iterator[tuple[Transitions, Tensor | None, Tensor | None]]:
        """Some batches of B transitions, each with its places and weights if drawn by priority.

        What is found out about one batch (`reconsider`) counts for the next.
        """
        if isinstance(self.replay, PrioritisedReplay):
            for _ in range(count):
                yield self.replay.draw(batch_size, self.correction(step), self.chance)
            return
        every = self.replay.sample(batch_size, count, self.chance)
        for fields in zip(*(field.split(batch_size) for field in every), strict=True):
            yield Transitions(*fields), None, None

    def reconsider(self, places: Tensor, errors: Tensor) -> None:
        """Tell how much each transition of a batch surprised, (B,)."""
        assert isinstance(self.replay, PrioritisedReplay)
        self.replay.update(places, errors)

    def state_dict(self, *, with_replay: bool) -> dict[str, Any]:
        """What a resumed run goes on with."""
        state = {"collector": self.collector.state_dict(), "chance": self.chance.get_state()}
        return state | ({"replay": self.replay.state_dict()} if with_replay else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on as another one would have."""
        self.chance.set_state(state["chance"])
        if "replay" in state:
            self.replay.load_state_dict(state["replay"])
            self.collector.load_state_dict(state["collector"])


def make_memory(settings: Mapping[str, Any], environments: Environments, seed: int) -> Memory:
    """The memory that the arguments of `DQN` ask for.

    Args:
        settings: The arguments.
        environments: What it takes in.
        seed: Of the draws.
    """
    shape, dtype = environments.observations.shape[1:], environments.observations.dtype
    kept = torch.from_numpy(np.empty(0, dtype)).dtype
    size = settings["buffer_size"]
    replay = Replay(size, shape, kept)
    if settings["prioritised"]:
        replay = PrioritisedReplay(size, shape, kept, settings["priority_exponent"])
    steps, discount = settings["n_step"], settings["discount"]
    collector = NStep(steps, discount, len(environments), shape, dtype)
    correction = Schedule(settings["priority_correction"], 1.0, settings["exploration_steps"])
    return Memory(
        replay, collector, settings["clip_rewards"], correction, derive_seed("replay", seed) % 2**31
    )

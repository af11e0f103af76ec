"""One process among several that something else has started: its ranks, its device, its shares.

Whoever starts them (Ray Train, say) sets `RANK`, `LOCAL_RANK`, `NODE_RANK` and `WORLD_SIZE` and may
have opened torch's process group; Lightning then neither starts processes nor counts devices.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from pytorch_lightning.strategies import DDPStrategy

from ..configuration.config import Config
from ..errors import UserError, must

# What `trainer.strategy` may say, and whether DDP looks for parameters without a gradient then.
STRATEGIES = {
    "auto": False,
    "ddp": False,
    "ddp_find_unused_parameters_true": True,
    "ddp_find_unused_parameters_false": False,
}


class GivenRanks(ClusterEnvironment):
    """The ranks that the environment variables give."""

    @property
    def creates_processes_externally(self) -> bool:
        """All processes are there."""
        return True

    @property
    def main_address(self) -> str:
        """Where rank 0 listens."""
        return os.environ["MASTER_ADDR"]

    @property
    def main_port(self) -> int:
        """The port there."""
        return int(os.environ["MASTER_PORT"])

    @staticmethod
    def detect() -> bool:
        """Never chosen by Lightning itself."""
        return False

    def world_size(self) -> int:
        """How many processes there are."""
        return int(os.environ["WORLD_SIZE"])

    def set_world_size(self, size: int) -> None:
        """It is given."""

    def global_rank(self) -> int:
        """This process's number among all."""
        return int(os.environ["RANK"])

    def set_global_rank(self, rank: int) -> None:
        """It is given."""

    def local_rank(self) -> int:
        """This process's number on its node."""
        return int(os.environ["LOCAL_RANK"])

    def node_rank(self) -> int:
        """The node's number."""
        return int(os.environ["NODE_RANK"])


class GivenDeviceDDP(DDPStrategy):
    """DDP over processes of one device each, however many of them share a node.

    Args:
        device: This process's device.
        **kwargs: See `DDPStrategy`.
    """

    def __init__(self, device: torch.device, **kwargs: Any):
        super().__init__(**kwargs)
        self._device = device

    @property
    def root_device(self) -> torch.device:
        """The device that was given."""
        return self._device

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        """Which share of the data this process takes; nodes may have unequal numbers of them."""
        return {"num_replicas": self.world_size, "rank": self.global_rank}


def check_strategy(config: Config) -> None:
    """Refuse a trainer that wants to place its processes itself.

    Raises:
        UserError: The config names another strategy than DDP, devices or nodes.
    """
    rules = {
        "strategy": (set(STRATEGIES), f"one of {', '.join(STRATEGIES)} with --workers"),
        "devices": ({"auto", 1}, "left out with --workers"),
        "num_nodes": ({1}, "left out with --workers"),
    }
    for name, (allowed, rule) in rules.items():
        key = f"trainer.{name}"
        given = config.get(key)
        if isinstance(given, (dict, list)) or given not in allowed:
            remedy = "leave --workers out: Lightning then starts the processes, on this machine"
            raise UserError(must(key, rule, given), config.where(key), remedy)


def arguments_of_one(config: Config, device: torch.device) -> dict[str, Any]:
    """The trainer's arguments that the place of this process decides."""
    return {
        "accelerator": "gpu" if device.type == "cuda" else "cpu",
        "devices": 1,
        "num_nodes": 1,
        "strategy": GivenDeviceDDP(
            device,
            find_unused_parameters=STRATEGIES[config.get("trainer.strategy")],
            gradient_as_bucket_view=True,  # else each step copies all gradients twice
        ),
        "plugins": [GivenRanks()],
    }

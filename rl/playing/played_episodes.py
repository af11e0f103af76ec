"""Validations and tests of agents: whole episodes without exploration, told as mean and spread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ...lightning_modules.data.order import derive_seed
from ..evaluation import Policy, Returns, evaluate, num_environments_for
from .acting import Environments
from .making import Maker

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pytorch_lightning import LightningModule as Beside  # what the mixin finds beside itself
else:
    Beside = object


class PlaysEpisodes(Beside):
    """Part of `ActsInEnvironments`: the module is judged by what it does.

    The module has `act_greedily`: observations (N, *O) to actions (N,).
    """

    maker: Maker
    eval_episodes: int
    test_episodes: int
    env_steps: int
    history: list[list[float]]  # of evaluations: steps, mean, half width, worst

    def val_dataloader(self) -> list[int]:
        """One evaluation."""
        return [0]

    def test_dataloader(self) -> list[int]:
        """One evaluation."""
        return [0]

    def act_greedily(self, observations: Any) -> Any:
        """Actions (N,) without exploration for observations (N, *O)."""
        raise NotImplementedError(f"{type(self).__name__} must define act_greedily().")

    def figures(self) -> dict[str, Figure]:
        """`returns`: the evaluations so far."""
        from ..pictures.returns import return_curve  # matplotlib takes a while to import

        name = self.maker.environment
        return {"returns": return_curve(self.history, name)} if self.history else {}

    def recordings(self) -> dict[str, bytes]:
        """`episode.gif`: one without exploration, where the environment can draw itself."""
        from .video import episode_gif

        made = episode_gif(self.maker, self.act_greedily, self._evaluation_seed("test"))
        return {} if made is None else {"episode.gif": made}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Logs `eval/return`: mean undiscounted return, its 95 % half width, and the worst."""
        returns = self._log_returns("eval", self.eval_episodes)
        if not self.trainer.sanity_checking:
            row = [returns["return"], returns["return_half_width"], returns["return_worst"]]
            self.history.append([float(self.env_steps), *row])

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Logs the same over more episodes as `test/return`."""
        self._log_returns("test", self.test_episodes)

    def _log_returns(self, stage: str, num_episodes: int) -> dict[str, float]:
        """The first process plays; all are told."""
        told = torch.zeros(4, device=self.device)
        if self.trainer.is_global_zero:
            returns = play(
                self.maker, self.act_greedily, num_episodes, self._evaluation_seed(stage)
            )
            length = float(returns.lengths.mean())
            told += torch.tensor([returns.mean, returns.half_width, returns.worst, length]).to(told)
        told = self.trainer.strategy.broadcast(told)
        names = ("return", "return_half_width", "return_worst", "episode_length")
        values: dict[str, float] = dict(zip(names, told.tolist(), strict=True))
        for name, value in values.items():
            self.log(f"{stage}/{name}", value, batch_size=1, sync_dist=True)
        return values

    def _evaluation_seed(self, stage: str) -> int:
        """Other starts at each validation, the same ones at each test."""
        steps = self.env_steps if stage == "eval" else 0
        return derive_seed(stage, torch.initial_seed() if stage == "eval" else 0, steps) % 2**31


def play(maker: Maker, policy: Policy, num_episodes: int, seed: int) -> Returns:
    """Returns of some episodes in environments of their own."""
    vector = maker.several(num_environments_for(num_episodes))
    try:
        return evaluate(Environments(vector, seed, maker.environment), policy, num_episodes)
    finally:
        vector.close()

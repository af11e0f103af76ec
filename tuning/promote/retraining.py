"""A configuration trained with each seed, once: what is done already is read, not trained again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...platform.configuration.config import Config
from ...platform.errors import PacelineError, UserError
from ...platform.evaluation import evaluate
from ...platform.home import names, read_state
from ...platform.tracking.store import Store
from ..retrained import run_name, train_again
from .comparison import Attempt


@dataclass(frozen=True)
class Retraining:
    """Trains the configurations of one sweep again.

    Args:
        sweep: The sweep's name.
        store: MLflow's store, open.
        parent: Run id of the promotion, under which the runs stand.
        command: The command line, for their notes.
        report: Told of each run: its name, and what happens to it.
    """

    sweep: str
    store: Store
    parent: str
    command: str
    report: Callable[[str, str], None]

    def attempts(self, config: Config, trial_id: str, seeds: Sequence[int]) -> list[Attempt]:
        """One attempt for each seed; one that fails is told, and the next begins.

        Args:
            config: The configuration.
            trial_id: The trial that had it.
            seeds: The seeds.

        Raises:
            UserError: The config is wrong, which no seed will mend.
        """
        return [self._attempt(config.override({"seed_everything": s}), trial_id, s) for s in seeds]

    def _attempt(self, config: Config, trial_id: str, seed: int) -> Attempt:
        name = run_name(self.sweep, trial_id, seed)
        try:
            state = train_again(config, name, self.parent, command=self.command, report=self.report)
            metrics = {k: float(v) for k, v in state["metrics"].items() if _is_measured(k)}
            metrics |= self._tested(name, state["run_id"], config)
        except UserError:
            raise
        except PacelineError as error:
            self.report(name, f"failed: {error.what}")
            return Attempt(seed, name, _run_id(name, config), error=error.what)
        return Attempt(seed, name, state["run_id"], metrics, state["checkpoint"])

    def _tested(self, name: str, run_id: str, config: Config) -> dict[str, float]:
        """Its test metrics, which never decide; measured once."""
        known = self.store.metrics(run_id)
        if found := {k: v for k, v in known.items() if k.startswith("test/")}:
            return found
        storage = config.launch.storage
        changes = {"launch.storage": (storage, "launch.storage")} if storage else {}
        try:
            return dict(evaluate(name, "test", changes=changes).metrics)
        except PacelineError as error:  # a module need not have a test set
            self.report(name, f"could not be tested: {error.what}")
            return {}


def _is_measured(metric: str) -> bool:
    """Whether a metric tells of the model on data that it was not trained with."""
    return metric != "lr" and not metric.startswith("train/")


def _run_id(name: str, config: Config) -> str:
    storage = config.launch.storage
    return read_state(name, storage)["run_id"] if name in names(storage) else ""

"""A configuration trained with each seed, once: what is done already is read, not trained again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...platform.configuration.config import Config, load
from ...platform.errors import PacelineError, UserError
from ...platform.evaluation import evaluate
from ...platform.home import names, read_state, run_folder
from ...platform.resume_run import resume_run
from ...platform.runs import fit_config
from ...platform.tracking.store import Store
from .comparison import Attempt

# Where a run happens and how it is recorded and searched does not make it another run.
_NOT_THE_MODEL = ("launch", "tracking", "sweep")
MAX_SWEEP_CHARS = 70  # of a sweep's name in that of a run, which may have 100


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
        name = self._done_by_the_sweep(config, seed) or self._own_name(trial_id, seed)
        try:
            state = self._trained(config, name)
            metrics = {k: float(v) for k, v in state["metrics"].items() if _is_measured(k)}
            metrics |= self._tested(name, state["run_id"], config)
        except UserError:
            raise
        except PacelineError as error:
            self.report(name, f"failed: {error.what}")
            return Attempt(seed, name, _run_id(name, config), error=error.what)
        return Attempt(seed, name, state["run_id"], metrics, state["checkpoint"])

    def _own_name(self, trial_id: str, seed: int) -> str:
        return f"{self.sweep[:MAX_SWEEP_CHARS]}-{trial_id}-seed{seed}"

    def _done_by_the_sweep(self, config: Config, seed: int) -> str:
        """The run of this seed by which the sweep measured its winner, if that is this config."""
        name = f"{self.sweep}-winner-{seed}"
        if len(name) > 100 or name not in names(config.launch.storage):
            return ""
        is_finished = read_state(name, config.launch.storage)["status"] == "finished"
        return name if is_finished and is_same(_config_of(name, config), config) else ""

    def _trained(self, config: Config, name: str) -> dict[str, Any]:
        """The state of a finished run: trained now, gone on with, or read."""
        storage = config.launch.storage
        if not (run_folder(name, storage) / "run.json").exists():
            self.report(name, "trains")
            fit_config(config, name=name, parent=self.parent, command=self.command)
            return read_state(name, storage)
        self._check_same(config, name)
        state = read_state(name, storage)
        if state["status"] != "finished":
            self.report(name, "goes on")
            resume_run(name, storage, command=self.command)
            return read_state(name, storage)
        self.report(name, "is done already")
        return state

    def _check_same(self, config: Config, name: str) -> None:
        if not is_same(_config_of(name, config), config):
            folder = run_folder(name, config.launch.storage)
            raise UserError(
                f"`{name}` must be a run of this promotion, but has another config.",
                str(folder),
                f"move it away: mv {folder} {folder}.other",
            )

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


def is_same(one: Config, other: Config) -> bool:
    """Whether two configs train the same model in the same way."""
    return _what_counts(one) == _what_counts(other)


def _what_counts(config: Config) -> str:
    kept = {key: value for key, value in config.resolved.items() if key not in _NOT_THE_MODEL}
    return json.dumps(kept, sort_keys=True, default=str)


def _config_of(name: str, like: Config) -> Config:
    return load(str(run_folder(name, like.launch.storage) / "config.yaml"))


def _run_id(name: str, config: Config) -> str:
    storage = config.launch.storage
    return read_state(name, storage)["run_id"] if name in names(storage) else ""

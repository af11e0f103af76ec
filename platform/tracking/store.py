"""The record of runs, as the process that drives them sees it.

The driver resolves one URI, makes the store ready, creates the experiment and every run, and gives
every run its end; workers only write into runs that exist (`writer`, `record`).
One sweep is a parent run, one trial a child of it.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ..errors import RunError, UserError, must
from ..run_context import JOB
from .client import (
    MAX_PARAM_CHARS,
    MlflowClient,
    MlflowException,
    asked,
    connect,
    cut,
    entity_name,
    now_ms,
)
from .creation import create_run_once
from .migration import not_ours, prepare_store
from .outlet import Outlet
from .params import flatten
from .redaction import redact, redact_all
from .search import search_runs
from .tags import checked_tags, describe_error, user_name
from .uri import public_uri, resolve_uri, sqlite_path
from .writer import MetricWriter

__all__ = ["Status", "Store", "public_uri", "resolve_uri"]

Status = Literal["finished", "failed", "killed"]
PARENT = "mlflow.parentRunId"
# Without it MLflow's page guesses, and shows runs that train as evaluations of language models.
KIND = "mlflow.experimentKind"


class Store:
    """One experiment of one MLflow store.

    Nothing is asked of the store before `open`, which only the driver calls. A worker makes a
    `Store(uri)` and writes into the run whose id it was given.

    Args:
        uri: What `resolve_uri` returned.
        experiment: The experiment's name; only `open` needs it.
        artifact_root: Folder under which runs keep their files; default: `artifacts` beside the
            SQLite file, or what the server decides.
        folder: Where writes are kept that the store does not take; without one they raise.
        writer: The writer of one run, whose threads take all writes of that run.
    """

    def __init__(
        self,
        uri: str,
        experiment: str = "",
        artifact_root: Path | None = None,
        *,
        folder: Path | None = None,
        writer: MetricWriter | None = None,
    ):
        self.uri = uri
        self.experiment = experiment
        self.outlet = Outlet(uri, folder, writer)
        path = sqlite_path(uri)
        if artifact_root is None and path is not None:
            artifact_root = path.parent / "artifacts"
        self.artifact_root = artifact_root
        self._experiment_id: str | None = None

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's client of this store."""
        return connect(self.uri)

    def keep_in(self, folder: Path) -> Store:
        """Keep in a folder what the store does not take; what waits there is uploaded first.

        Raises:
            UserError: What waits was changed.
        """
        self.outlet.folder = folder
        self.outlet.drain(folder)
        return self

    @property
    def experiment_id(self) -> str:
        """The id of the experiment, once `open` was called."""
        assert self._experiment_id is not None, "open() comes first"
        return self._experiment_id

    def open(self) -> Store:
        """Make the store and the experiment ready: create, migrate, or say what is wrong.

        Returns:
            The store itself.

        Raises:
            UserError: The store does not answer or cannot be written, its tables are another
                MLflow's, or the experiment's name is empty or was deleted.
        """
        if not self.experiment.strip() or len(self.experiment) > 500:
            rule = must("tracking.experiment", "a name of 1 to 500 characters", self.experiment)
            raise UserError(rule, "--experiment", "leave it out to use the recipe's name")
        prepare_store(self.uri, self.artifact_root)
        try:
            self._experiment_id = self._find_experiment() or self._create_experiment()
        except MlflowException as error:
            raise not_ours(self.uri, error) from error
        return self

    def _find_experiment(self) -> str | None:
        found = self.client.get_experiment_by_name(self.experiment)
        if found is None:
            return None
        if found.lifecycle_stage == "deleted":
            raise UserError(
                must("tracking.experiment", "a live experiment", self.experiment)[:-1]
                + ", which was deleted.",
                "--experiment",
                f"another name, or `MLFLOW_TRACKING_URI={public_uri(self.uri)} mlflow experiments "
                f"restore -x {found.experiment_id}`",
            )
        return found.experiment_id

    def _create_experiment(self) -> str:
        root = self.artifact_root and self.artifact_root.absolute().as_uri()
        try:
            return self.client.create_experiment(
                self.experiment, artifact_location=root, tags={KIND: "custom_model_development"}
            )
        except MlflowException:
            # Another process may have created it since we looked.
            if found := self._find_experiment():
                return found
            raise

    def create_run(
        self,
        name: str,
        *,
        parent: str | None = None,
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> str:
        """Create a run, which is RUNNING until `finish`.

        Args:
            name: The run's name in MLflow's pages.
            parent: Run id of the sweep that it belongs to.
            tags: Tags beside the parent and the user's name.
            params: A nested config, see `set_params`.

        Returns:
            The run id.
        """
        own = {"mlflow.user": user_name(), "mlflow.source.type": "LOCAL", "attempt": "1"}
        if parent:
            own[PARENT] = parent
        if job := os.environ.get(JOB):
            own["paceline.job"] = job
        tags = redact_all(checked_tags({**own, **(tags or {})}))
        run_id = create_run_once(self.uri, self.experiment_id, name, tags)
        if params:
            self.set_params(run_id, params)
        return run_id

    def set_params(self, run_id: str, config: Mapping[str, Any]) -> None:
        """Write a nested config once.

        A run that goes on with another value keeps the param that it began with, because MLflow
        refuses to change one, and gets the new value as a tag of the same name.

        Args:
            run_id: An open run.
            config: Flattened by `flatten`; values of more than 6,000 characters are cut with a
                mark, the whole of them stands in the artifact `config.yaml`.
        """
        params = {
            entity_name(name): cut(redact(value), MAX_PARAM_CHARS)
            for name, value in flatten(config).items()
        }
        self.outlet.write(run_id, "params", params=params)

    def set_tags(self, run_id: str, tags: Mapping[str, Any]) -> None:
        """Write tags in one call; values of more than 8,000 characters are cut with a mark."""
        self.outlet.write(run_id, "tags", tags=checked_tags(redact_all(dict(tags))))

    def reopen(self, run_id: str) -> None:
        """Let a run that was interrupted go on: RUNNING again, its attempts counted from 1."""
        self.outlet.write(run_id, "reopen", mark=uuid.uuid4().hex)

    def finish(
        self,
        run_id: str,
        status: Status,
        *,
        stop_reason: str | None = None,
        error: BaseException | str | None = None,
        folder: Path | None = None,
    ) -> None:
        """Give a run its end, and upload what its processes left behind.

        Args:
            run_id: The run.
            status: How it ended.
            stop_reason: `completed`, `early_stopped` or `budget`, kept as a tag.
            error: What it failed of. A tag `exception` keeps one line of it, the artifact
                `exception.txt` the whole with its traceback.
            folder: The folder of the run's processes, where it is not that of this store's writes.

        Raises:
            RunError: The store did not answer, and has no folder; the run may be RUNNING in it.
        """
        tags = {} if stop_reason is None else {"stop_reason": stop_reason}
        line, text = describe_error(error)
        if line:
            tags["exception"] = line
        if tags:
            self.set_tags(run_id, tags)
        self.outlet.write(run_id, "end", status=status.upper(), time_ms=now_ms())
        if text:
            try:
                self.outlet.send_text(run_id, text, "exception.txt")
            except (RunError, OSError):  # a full disk must not become a second failure
                self.set_tags(run_id, {"exception": text})
        for place in dict.fromkeys(filter(None, (folder, self.outlet.folder))):
            with contextlib.suppress(UserError):  # what was changed is for `paceline sync` to tell
                self.outlet.drain(place, run_id)

    def children(self, parent: str) -> dict[str, str]:
        """Run id -> status (`running`, `finished`, ...) of a sweep's trials, oldest first."""
        return {run: status for run, (status, _) in self.children_with(parent, PARENT).items()}

    def children_with(self, parent: str, tag: str) -> dict[str, tuple[str, str]]:
        """Run id -> (status, value of a tag, empty without it) of a sweep's runs, oldest first."""
        return {
            run.info.run_id: (run.info.status.lower(), run.data.tags.get(tag, ""))
            for run in search_runs(self.uri, f"tags.`{PARENT}` = '{parent}'")
        }

    def find_tagged(self, tag: str, value: str) -> str | None:
        """The id of the first run with a tag of that value, in whichever experiment."""
        found = search_runs(self.uri, f"tags.`{tag}` = '{value}'")
        return found[0].info.run_id if found else None

    def run_names(self) -> set[str]:
        """The names of all runs of the store that have no parent, deleted ones left out."""
        return {r.info.run_name for r in search_runs(self.uri) if PARENT not in r.data.tags}

    def find_run(self, name: str) -> str | None:
        """The id of the newest run of that name that has no parent, in whichever experiment."""
        quote = '"' if "'" in name else "'"
        if quote in name:
            return None
        found = search_runs(self.uri, f"attributes.run_name = {quote}{name}{quote}")
        return next((r.info.run_id for r in reversed(found) if PARENT not in r.data.tags), None)

    def status(self, run_id: str) -> str:
        """`running`, `finished`, `failed` or `killed`."""
        return asked(self.uri, lambda: self.client.get_run(run_id)).info.status.lower()

    def metrics(self, run_id: str) -> dict[str, float]:
        """The latest value of each metric of a run."""
        return dict(asked(self.uri, lambda: self.client.get_run(run_id)).data.metrics)

    def last_steps(self, run_id: str) -> dict[str, int]:
        """The last step of each metric of a run."""
        data = asked(self.uri, lambda: self.client.get_run(run_id)).data
        return {metric.key: metric.step for metric in data.to_proto().metrics}

    def link(
        self, run_id: str, ui: str = "http://127.0.0.1:5000", experiment_id: str | None = None
    ) -> str:
        """The address of a run's page.

        Args:
            run_id: The run.
            ui: Where `paceline ui` serves a store that is no server itself.
            experiment_id: The run's experiment; None: the store's.
        """
        base = self.uri if self.uri.startswith("http") else ui
        page = f"{base}/#/experiments/{experiment_id or self.experiment_id}/runs/{run_id}"
        # The page would open in its view of language models otherwise.
        return f"{page}?workflowType=machine_learning"

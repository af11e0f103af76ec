"""`mlflow run . --backend paceline`: any MLproject as a job of a Ray cluster, in its MLflow run.

MLflow makes the run here; the job goes on in it, and gives it its end wherever the one who
submitted it has gone. On the cluster the project is run by MLflow's own command, so that parameters
mean what they mean everywhere. The project's environment is the cluster's; with `--env-manager`
MLflow makes the one that the project names, on the node that runs it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlflow.exceptions import ExecutionException
from mlflow.projects.backend.abstract_backend import AbstractBackend
from mlflow.projects.utils import (
    PROJECT_DOCKER_ARGS,
    PROJECT_ENV_MANAGER,
    PROJECT_SYNCHRONOUS,
    fetch_and_validate_project,
    get_or_create_run,
    load_project,
)
from mlflow.tracking import MlflowClient

from ...platform.errors import PacelineError, UserError
from ...platform.tracking.redaction import redact
from ..jobs.cargo import load_cargo
from ..jobs.cluster import Jobs, find_cluster
from ..jobs.job import COMMAND, NAME, RUN_ID, TRACKING
from ..jobs.record_link import tracking_uri as checked_uri
from ..jobs.submission import Order, submit
from .settings import Settings, read_settings
from .submitted import SubmittedJob

logger = logging.getLogger("mlflow.projects.paceline")
ENTRY = "paceline.deploy.mlflow_plugins.project_job"


class RayJobBackend(AbstractBackend):
    """Runs MLflow's projects as Ray jobs."""

    def run(  # pyright: ignore[reportIncompatibleMethodOverride] - MLflow declares no types
        self,
        project_uri: str,
        entry_point: str,
        params: Mapping[str, Any] | None,
        version: str | None,
        backend_config: dict[str, Any],
        tracking_uri: str,
        experiment_id: str,
    ) -> SubmittedJob:
        """Submit a project.

        Args:
            project_uri: Folder or Git repository of the project.
            entry_point: What of it to run.
            params: Its parameters.
            version: A commit or branch.
            backend_config: See `Settings`; MLflow adds its own entries.
            tracking_uri: The server that keeps the run.
            experiment_id: Where the run is made.

        Raises:
            ExecutionException: The cluster, the server or the project cannot be used so.
        """
        settings = read_settings(backend_config)
        params = params or {}
        work_dir = fetch_and_validate_project(project_uri, version, entry_point, params)
        if load_project(work_dir).docker_env or backend_config.get(PROJECT_DOCKER_ARGS):
            raise ExecutionException(
                "`docker_env` must be left out of a project that runs as a Ray job, but is given. "
                "The image is that of the cluster's nodes."
            )
        words = ["-e", entry_point, *(w for k, v in params.items() for w in ("-P", f"{k}={v}"))]
        manager = backend_config.get(PROJECT_ENV_MANAGER) or "local"
        try:
            client, order = _order(settings, work_dir, [*words, "--env-manager", manager])
            uri = _reachable(tracking_uri, client)
        except PacelineError as error:
            raise ExecutionException(str(error)) from None
        run = get_or_create_run(
            None, project_uri, experiment_id, work_dir, version, entry_point, params
        )
        submitted = _submit(client, order, uri, run.info.run_id, experiment_id)
        if settings.follow and not backend_config.get(PROJECT_SYNCHRONOUS):
            submitted.follow()
        return submitted


def _order(settings: Settings, work_dir: str, words: list[str]) -> tuple[Jobs, Order]:
    """What is to run, all but the run that it goes into."""
    for word in words:
        if redact(word) != word:
            what = "`-P` must be given no password, for a job's command is readable in Ray's log."
            raise UserError(what, redact(word), "give it to the nodes, in their environment")
    cluster = find_cluster(settings.address)
    cargo = load_cargo(Path(work_dir), settings.exclude, keeps_data=True)
    order = Order(
        name=f"mlflow-{cargo.folder.name}"[:60],
        command=words,
        cargo=cargo,
        num_cpus=settings.num_cpus,
        num_gpus=settings.num_gpus,
        python=settings.python,
    )
    return Jobs(cluster), order


def _reachable(tracking_uri: str, client: Jobs) -> str:
    if not tracking_uri.startswith("http"):
        what = "`MLFLOW_TRACKING_URI` must be a server's address for a job, but is a file's."
        raise UserError(what, tracking_uri, "export MLFLOW_TRACKING_URI=http://host:5000")
    return str(checked_uri(tracking_uri, client.cluster))


def _submit(client: Jobs, order: Order, uri: str, run_id: str, experiment_id: str) -> SubmittedJob:
    """Hand it to the cluster; a run that no job came of is FAILED."""
    command = [ENTRY, run_id, "--experiment-id", str(experiment_id), *order.command]
    name = f"{order.name}-{run_id[:8]}"
    order = replace(
        order,
        name=name,
        command=command,
        metadata={NAME: name, COMMAND: "mlflow run", RUN_ID: run_id, TRACKING: uri},
        variables={"MLFLOW_TRACKING_URI": uri, "MLFLOW_RUN_ID": run_id},
    )
    tracking = MlflowClient()
    try:
        job_id = submit(client, order)
    except PacelineError as error:
        tracking.set_terminated(run_id, "FAILED")
        raise ExecutionException(str(error)) from None
    tracking.set_tag(run_id, "paceline.job", job_id)
    logger.info("=== Run (ID '%s') is job %s of %s ===", run_id, job_id, client.cluster.url)
    logger.info("=== End it with: paceline cancel %s ===", job_id)
    return SubmittedJob(client, job_id, run_id)

"""A saved model on its way into MLflow: created, identified, uploaded, linked with its run."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .client import LoggedModelOutput, MlflowClient

UPLOAD = "paceline_upload"  # the tag by which a model is known before its id was heard of


def upload_model(client: MlflowClient, run_id: str, path: Path) -> None:
    """Upload a saved model as the run's; one that was begun before is gone on with.

    Args:
        client: MLflow's client.
        run_id: The run.
        path: The saved model, in a folder whose name no other upload has.
    """
    run, upload = client.get_run(run_id), path.parent.name
    experiment = run.info.experiment_id
    begun = client.search_logged_models([experiment], f"tags.{UPLOAD} = '{upload}'")
    logged = (
        begun[0]
        if begun
        else client.create_logged_model(
            experiment, "model", source_run_id=run_id, tags={UPLOAD: upload}
        )
    )
    _identify(path, run_id, logged.model_id, logged.artifact_location)
    client.log_model_artifacts(logged.model_id, str(path))
    client.finalize_logged_model(logged.model_id, "READY")
    outputs = run.outputs.model_outputs if run.outputs else []
    if all(output.model_id != logged.model_id for output in outputs):
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])


def _identify(path: Path, run_id: str, model_id: str, location: str) -> None:
    """Write into a saved model which one it is."""
    with unwarned():
        from mlflow.models import Model

        model = Model.load(str(path))
        model.run_id, model.model_id, model.artifact_path = run_id, model_id, location
        model.save(str(path / "MLmodel"))


@contextmanager
def unwarned() -> Iterator[None]:
    """MLflow warns of types in its own agents when this part of it is imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

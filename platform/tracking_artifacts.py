"""What a run leaves behind as files: pictures, the model's signature, the model itself."""

from __future__ import annotations

import copy
import json
import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .tracking import Store
from .tracking_client import told
from .tracking_pictures import learning_curves
from .tracking_record import versions

logger = logging.getLogger("paceline.tracking")


def finish_artifacts(
    store: Store,
    run_id: str,
    module: Any,
    *,
    checkpoint: str | None = None,
    log_model: bool = False,
) -> list[str]:
    """Write a trained module's pictures, the learning curves, its signature and, if asked, itself.

    Training is over and its result stands, so what cannot be made here is told and left out.

    Args:
        store: The store of the run.
        run_id: The run; its metrics must have been flushed.
        module: The trained LightningModule. `figures()` and `example_input_array` are used where
            it has them.
        checkpoint: Path of the best checkpoint, whose weights `log_model` writes; default: the
            module's own.
        log_model: Write an MLflow model too, which takes about a second.

    Returns:
        What could not be made, one line each.
    """
    failures: list[str] = []
    with _spare(failures, "learning curves"):
        figure = learning_curves(metric_histories(store, run_id))
        log_figures(store, run_id, {"learning_curves": figure} if figure else {})
    with _spare(failures, "figures"):
        if hasattr(module, "figures"):
            log_figures(store, run_id, module.figures())
    if getattr(module, "example_input_array", None) is None:
        return failures
    with _spare(failures, "signature"):
        signature = infer(module)
        with told(store.uri):
            store.client.log_dict(run_id, _as_json(signature), "signature.json")
        if log_model:
            log_mlflow_model(store, run_id, module, signature, checkpoint)
    return failures


def log_figures(store: Store, run_id: str, figures: Mapping[str, Any]) -> None:
    """Write matplotlib figures as `figures/NAME.png`, where MLflow's page shows them."""
    for name, figure in figures.items():
        with told(store.uri):
            store.client.log_figure(run_id, figure, f"figures/{name}.png")


def log_files(store: Store, run_id: str, files: Iterable[Path], folder: str) -> None:
    """Write files into a folder of a run's artifacts."""
    for path in files:
        with told(store.uri):
            store.client.log_artifact(run_id, str(path), folder)


def metric_histories(store: Store, run_id: str) -> dict[str, list[tuple[int, float]]]:
    """Metric -> its (step, value) points in the order of the steps, system metrics left out."""
    names = [name for name in store.metrics(run_id) if not name.startswith("system/")]
    with told(store.uri):
        histories = {name: store.client.get_metric_history(run_id, name) for name in names}
    return {
        name: sorted((point.step, point.value) for point in history)
        for name, history in histories.items()
    }


def infer(module: Any) -> Any:
    """MLflow's signature of a module: names, types and shapes of what goes in and comes out."""
    from mlflow.models import infer_signature

    given = module.example_input_array
    return infer_signature(_arrays(given), _arrays(predict(module, given)))


def predict(module: Any, example: Any) -> Any:
    """The module's answer to an example, on its device, with nothing about it changed."""
    import torch
    from pytorch_lightning.utilities import move_data_to_device

    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            example = move_data_to_device(example, module.device)
            if isinstance(example, tuple):
                return module(*example)
            return module(**example) if isinstance(example, dict) else module(example)
    finally:
        module.train(was_training)


def log_mlflow_model(
    store: Store, run_id: str, module: Any, signature: Any, checkpoint: str | None = None
) -> str:
    """Write the module as an MLflow model, which `mlflow.pytorch.load_model` gives back.

    `mlflow.pytorch.log_model` would look for the active run of this thread, start a process to
    find the packages that the model needs, and try the model out once more. We know the run and the
    packages, so the model is saved and uploaded by its parts. The format is `pt2`, an exported
    graph: unlike a pickle it needs none of our code to load, and none runs.

    Args:
        store: The store of the run.
        run_id: The run.
        module: A LightningModule with an `example_input_array` of two or more examples: a batch of
            one would be taken for the only batch size.
        signature: From `infer`.
        checkpoint: Checkpoint whose weights are written; default: the module's own.

    Returns:
        The model's URI, `models:/m-...`; `runs:/RUN_ID/model` finds it too.
    """
    from mlflow.entities import LoggedModelOutput

    module = _exportable(module, checkpoint)
    installed = versions()
    needed = [f"{name}=={installed[name]}" for name in ("torch", "mlflow", "numpy")]
    with told(store.uri):
        experiment = store.client.get_run(run_id).info.experiment_id
        logged = store.client.create_logged_model(experiment, "model", source_run_id=run_id)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model")
            identity = {
                "artifact_path": logged.artifact_location,
                "run_id": run_id,
                "model_id": logged.model_id,
            }
            _save(module, path, identity, signature, needed)
            store.client.log_model_artifacts(logged.model_id, str(path))
        store.client.finalize_logged_model(logged.model_id, "READY")
        store.client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
    return f"models:/{logged.model_id}"


def _save(
    module: Any, path: Path, identity: dict[str, Any], signature: Any, needed: list[str]
) -> None:
    with warnings.catch_warnings():
        # MLflow warns of types in its own agents when this part of it is imported.
        warnings.simplefilter("ignore")
        from mlflow.models import Model
        from mlflow.pytorch import save_model

        save_model(
            module,
            path,
            mlflow_model=Model(**identity),
            signature=signature,
            input_example=_arrays(module.example_input_array),
            pip_requirements=needed,
            serialization_format="pt2",
        )


def _exportable(module: Any, checkpoint: str | None) -> Any:
    """A copy on the CPU, in evaluation mode, without its trainer, with the checkpoint's weights."""
    import torch

    trainer, module._trainer = getattr(module, "_trainer", None), None
    try:
        twin = copy.deepcopy(module).cpu().eval()
    finally:
        module._trainer = trainer
    if checkpoint is not None:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        twin.load_state_dict(state["state_dict"])
    twin.example_input_array = _to_cpu(twin.example_input_array)
    return twin


def _to_cpu(value: Any) -> Any:
    from pytorch_lightning.utilities import move_data_to_device

    return move_data_to_device(value, "cpu")


def _arrays(value: Any) -> Any:
    """Tensors as NumPy arrays, which is what MLflow knows; several become a dictionary."""
    if isinstance(value, Mapping):
        return {str(name): _arrays(inner) for name, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return {str(number): _arrays(inner) for number, inner in enumerate(value)}
    return value.detach().cpu().numpy()


def _as_json(signature: Any) -> dict[str, Any]:
    """A signature as plain JSON; MLflow keeps its parts as JSON texts."""
    parts = signature.to_dict()
    return {name: part and json.loads(part) for name, part in parts.items()}


@contextmanager
def _spare(failures: list[str], what: str) -> Iterator[None]:
    """Run a family's own code, which may raise anything, without spoiling the run."""
    try:
        yield
    except Exception as error:
        failures.append(f"{what}: {type(error).__name__}: {error}")
        logger.warning("The %s could not be made: %s", what, error, exc_info=True)

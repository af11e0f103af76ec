"""A trained module as an MLflow model, which `mlflow.pytorch.load_model` gives back."""

from __future__ import annotations

import copy
import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from .model_upload import unwarned
from .store import Store
from .versions import versions


def log_mlflow_model(
    store: Store, run_id: str, module: Any, signature: Any, checkpoint: str | None = None
) -> None:
    """Write the module as an MLflow model, which `mlflow.pytorch.load_model` gives back.

    `mlflow.pytorch.log_model` would look for the active run of this thread, start a process to
    find the packages that the model needs, and try the model out once more. We know the run and the
    packages, so the model is saved and uploaded by its parts. The format is `pt2`, an exported
    graph: unlike a pickle it needs none of our code to load, and none runs.

    `runs:/RUN_ID/model` finds it.

    Args:
        store: The store of the run.
        run_id: The run.
        module: A LightningModule with an `example_input_array` of two or more examples: a batch of
            one would be taken for the only batch size.
        signature: From `infer`.
        checkpoint: Checkpoint whose weights are written; default: the module's own.
    """
    module = exportable(module, checkpoint)
    installed = versions()
    needed = [f"{name}=={installed[name]}" for name in ("torch", "mlflow", "numpy")]

    def save(path: Path) -> None:
        with printed_kept():
            write_model(module, path, signature, needed)

    store.outlet.send_file(run_id, "model", "model", save)


def write_model(module: Any, path: Path, signature: Any, needed: list[str]) -> None:
    """Write a module that `exportable` gave as an MLflow model.

    Args:
        module: The module.
        path: A folder that does not exist.
        signature: From `infer`.
        needed: Packages that the model needs, with their versions.
    """
    with unwarned():
        from mlflow.pytorch import save_model

        save_model(
            module,
            path,
            signature=signature,
            input_example=arrays_of(module.example_input_array),
            pip_requirements=needed,
            serialization_format="pt2",
        )


def exportable(module: Any, checkpoint: str | None) -> Any:
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


@contextmanager
def printed_kept() -> Iterator[None]:
    """Keep what torch prints of a graph that it cannot export as a note of the error.

    What it imports for an export gives Python's logging a handler, which would go on writing into
    what is kept here, and silences warnings; both are taken back.
    """
    printed, handlers = io.StringIO(), list(logging.getLogger("torch").handlers)
    root = logging.getLogger()
    before, level = list(root.handlers), root.level

    def drop(_: logging.LogRecord) -> bool:
        return False

    for handler in handlers:
        handler.addFilter(drop)
    try:
        with redirect_stderr(printed):
            yield
    except Exception as error:
        error.add_note(printed.getvalue().strip())
        raise
    finally:
        for handler in handlers:
            handler.removeFilter(drop)
        root.handlers[:] = before
        root.setLevel(level)


def arrays_of(value: Any) -> Any:
    """Tensors as NumPy arrays, which is what MLflow knows; several become a dictionary."""
    if isinstance(value, Mapping):
        return {str(name): arrays_of(inner) for name, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return {str(number): arrays_of(inner) for number, inner in enumerate(value)}
    return value.detach().cpu().numpy()

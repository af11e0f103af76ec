"""What a run leaves behind as files: pictures, curves, and the model's signature."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any

from .model import arrays_of, log_mlflow_model
from .store import Store

logger = logging.getLogger("paceline.tracking")

LONGEST_LINE = 200  # of an error that is told; the rest is in the run


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
        module: The trained LightningModule. `figures()`, `recordings()` (name -> content of a file)
            and `example_input_array` are used where it has them.
        checkpoint: Path of the best checkpoint, whose weights `log_model` writes; default: the
            module's own.
        log_model: Write an MLflow model too, which takes about a second.

    Returns:
        What could not be made, one line each.
    """
    failures: list[str] = []
    spare = partial(_spare, failures, store, run_id)
    with spare("learning curves"):
        store.outlet.write(run_id, "curves")
    with spare("figures"):
        if hasattr(module, "figures"):
            log_figures(store, run_id, module.figures())
    with spare("recordings"):
        if hasattr(module, "recordings"):
            log_recordings(store, run_id, module.recordings())
    if getattr(module, "example_input_array", None) is None:
        return failures
    signature = None
    with spare("signature"):
        signature = infer(module)
        store.outlet.send_text(run_id, json.dumps(_as_json(signature), indent=2), "signature.json")
    if log_model and signature is not None:
        with spare("MLflow model"):
            log_mlflow_model(store, run_id, module, signature, checkpoint)
    return failures


def log_figures(store: Store, run_id: str, figures: Mapping[str, Any]) -> None:
    """Write matplotlib figures as `figures/NAME.png`, where MLflow's page shows them."""
    for name, figure in figures.items():
        store.outlet.send_figure(run_id, figure, f"figures/{name}.png")


def log_recordings(store: Store, run_id: str, recordings: Mapping[str, bytes]) -> None:
    """Write files that a module made, as moving pictures, as `recordings/NAME`."""
    for name, content in sorted(recordings.items()):
        store.outlet.send_bytes(run_id, content, f"recordings/{name}")


def log_files(store: Store, run_id: str, files: Iterable[Path], folder: str) -> None:
    """Write files into a folder of a run's artifacts."""
    for path in files:
        store.outlet.send_bytes(run_id, path.read_bytes(), f"{folder}/{path.name}")


def infer(module: Any) -> Any:
    """MLflow's signature of a module: names, types and shapes of what goes in and comes out."""
    from mlflow.models import infer_signature

    given = module.example_input_array
    return infer_signature(arrays_of(given), arrays_of(predict(module, given)))


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


def _as_json(signature: Any) -> dict[str, Any]:
    """A signature as plain JSON; MLflow keeps its parts as JSON texts."""
    parts = signature.to_dict()
    return {name: part and json.loads(part) for name, part in parts.items()}


@contextmanager
def _spare(failures: list[str], store: Store, run_id: str, what: str) -> Iterator[None]:
    """Run a family's own code, which may raise anything, without spoiling the run.

    A line is told; the traceback, which of an export holds a whole graph, goes into the run.
    """
    try:
        yield
    except Exception as error:
        place = f"failures/{what.replace(' ', '_')}.txt"
        told_here = shorten(str(error).strip().partition("\n")[0], LONGEST_LINE, placeholder=" ...")
        failures.append(f"{what}: {type(error).__name__}: {told_here}")
        details = "".join(traceback.format_exception(error))
        try:
            store.outlet.send_text(run_id, details, place)
        except Exception as lost:  # the store may be what failed
            place = f"nowhere: {type(lost).__name__}"
        message = "The %s could not be made: %s: %s (details in the run: %s)"
        logger.warning(message, what, type(error).__name__, told_here, place)

"""A module as an exported graph in MLflow's format, or one message that says why it is none.

The graph is `torch.export`'s, with the module's signature and its example beside it: it is loaded
without our code and without a pickle. A graph that was traced with a batch of two may have that
number written into it without a word; so it is tried with others before anybody relies on it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import RunError, UserError, must
from .artifacts import infer
from .client import cut
from .model import exportable, printed_kept, write_model
from .redaction import redact
from .versions import versions


def try_export(module: Any) -> None:
    """Export a module into a folder that is thrown away.

    Args:
        module: A LightningModule; its weights may be random.

    Raises:
        UserError: It cannot be exported; the message says why and what to do.
    """
    with tempfile.TemporaryDirectory() as folder:
        save_exported(module, Path(folder) / "model")


def save_exported(module: Any, path: Path) -> None:
    """Write a module as an MLflow model with its signature and its input example.

    Args:
        module: A LightningModule with an `example_input_array`.
        path: A folder that does not exist.

    Raises:
        UserError: It cannot be exported; the message says why and what to do.
        RunError: The folder cannot be written.
    """
    kind = type(module).__qualname__
    _check_example(kind, getattr(module, "example_input_array", None))
    installed = versions()
    needed = [f"{name}=={installed[name]}" for name in ("torch", "mlflow", "numpy")]
    try:
        with printed_kept():
            twin = exportable(module, None)
            write_model(twin, path, infer(module), needed)
            _check_batches(twin, path)
    except UserError:
        raise
    except OSError as error:
        raise RunError(
            f"The model could not be written: {error.strerror or error}", str(path)
        ) from error
    except Exception as error:  # whatever the module's own code or torch's export raises
        raise _not_exportable(kind, error) from error


def _check_example(kind: str, example: Any) -> None:
    """Refuse a module whose `forward` cannot be traced, or served, with one array.

    Raises:
        UserError: It has no example, or another than one batch of at least two.
    """
    import torch

    remedy = "set self.example_input_array to one tensor, a batch of two, in its constructor"
    if example is None:
        what = f"`{kind}` must have an `example_input_array` to be exported, but has none."
        raise UserError(what, kind, remedy)
    if not isinstance(example, torch.Tensor):
        rule = "one tensor, which is what MLflow serves"
        given = f"a {type(example).__name__}"
        raise UserError(must("example_input_array", rule, given), kind, remedy)
    if example.ndim == 0 or len(example) < 2:
        rule = "a batch of two or more: of one, torch.export makes the only batch size"
        raise UserError(must("example_input_array", rule, list(example.shape)), kind, remedy)


def _check_batches(module: Any, path: Path) -> None:
    """Refuse a graph that takes no other number of examples than it was traced with.

    Raises:
        UserError: It does not, or gives another shape than the module.
    """
    import torch

    graph = torch.export.load(path / "data" / "model.pt2").module(check_guards=False)
    example = module.example_input_array
    for count in (1, 3):
        batch = example[[0] * count]
        try:
            with torch.no_grad():
                expected, found = module(batch), graph(batch)
            same = _shapes(expected) == _shapes(found)
        except (RuntimeError, AssertionError):  # what the graph's own checks raise
            same = False
        if not same:
            kind = type(module).__qualname__
            raise UserError(
                f"`{kind}.forward` must take any number of examples once it is exported, but "
                f"its graph does not take {count}.",
                kind,
                "write -1 where the batch size stands in a reshape or expand, and no branch on it",
            )


def _shapes(value: Any) -> Any:
    """The shapes of nested tensors."""
    if isinstance(value, Mapping):
        return {name: _shapes(inner) for name, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return [_shapes(inner) for inner in value]
    return list(getattr(value, "shape", ()))


def _not_exportable(kind: str, error: Exception) -> UserError:
    """Why torch cannot write a module's `forward` as a graph, and what to do."""
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return UserError(
        f"`{kind}.forward` must be what torch.export can write as a graph, but is not: "
        f"{type(error).__name__}: {cut(redact(first.strip()), 300)}",
        kind,
        "write `forward` from tensors to tensors, without branches on their values (torch.where, "
        "torch.cond), NumPy or .item(); try it: torch.export.export(model, "
        "(model.example_input_array,))",
    )

"""A saved MLflow model as MLflow's scoring server wants one: `metadata` and `predict`.

Only the flavor that `paceline promote` writes is taken, an exported graph: every other loads code
or a pickle. The model says by its signature what it takes; numbers of another shape or kind are one
message, never a traceback.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.protos.databricks_pb2 import BAD_REQUEST, INTERNAL_ERROR

from ...platform.errors import UserError, must
from .archive import FILE, open_archive


class Scorer:
    """Answers batches with an exported model.

    Args:
        folder: A saved MLflow model.

    Raises:
        UserError: It is of another kind, or not only a graph and tensors.
    """

    def __init__(self, folder: Path):
        self.metadata = read_metadata(folder)
        self._module = open_archive(folder / str(_data_of(self.metadata)) / FILE)
        schema = self.metadata.get_input_schema()
        assert schema is not None, "read_metadata wants one"
        self._inputs = schema.inputs

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> Any:
        """What the model says of a batch.

        Args:
            data: A DataFrame with a row for each example, an array, or name -> array.
            params: Must be empty: an exported graph has none.

        Returns:
            An array, a list of them, or name -> array, as the module's `forward` returns them.

        Raises:
            MlflowException: The batch does not fit the signature; becomes the status 400.
        """
        if params:
            raise _bad(f"`params` must be left out, but has {sorted(params)}.")
        tensors = [self._tensor(spec, values) for spec, values in self._by_input(data)]
        sizes = {len(tensor) for tensor in tensors}
        if len(sizes) != 1 or 0 in sizes:
            raise _bad(f"All inputs must have the same number of examples, but have {sizes}.")
        with torch.inference_mode():
            return _arrays(self._module(*tensors))

    def _by_input(self, data: Any) -> list[tuple[Any, Any]]:
        """Each input's specification with the values given for it."""
        specs = self._inputs
        if isinstance(data, Mapping):
            names = [spec.name for spec in specs]
            if set(data) != set(names):
                told = ", ".join(map(str, names)) if any(names) else "one array without a name"
                raise _bad(f"`inputs` must have {told}, but has {', '.join(map(str, data))}.")
            return [(spec, data[spec.name]) for spec in specs]
        if len(specs) != 1:
            told = ", ".join(str(spec.name) for spec in specs)
            raise _bad(f"`inputs` must have {told}, but is one array.")
        return [(specs[0], _values_of(data) if hasattr(data, "columns") else data)]

    def _tensor(self, spec: Any, values: Any) -> torch.Tensor:
        """Values as the tensor that a specification asks for; flat rows are folded into it."""
        try:
            array = np.asarray(values)
            if array.dtype == object:
                array = np.array([np.asarray(row).tolist() for row in array.tolist()])
        except ValueError:
            raise _bad("The examples must all have the same shape, but have several.") from None
        if array.dtype.kind not in "biuf":
            raise _bad("The examples must be numbers, but are not.")
        shape = tuple(spec.shape)
        if array.ndim and array.shape[1:] == (int(np.prod(shape[1:])),):
            array = array.reshape(len(array), *shape[1:])
        fits = array.ndim == len(shape) and all(
            want in (-1, have) for want, have in zip(shape, array.shape, strict=True)
        )
        if not fits:
            example = " x ".join("any" if size == -1 else str(size) for size in shape)
            raise _bad(f"A batch must have the shape {example}, but has {list(array.shape)}.")
        return torch.from_numpy(_cast(array, np.dtype(spec.type)))


def _cast(array: np.ndarray, wanted: np.dtype) -> np.ndarray:
    """Numbers as the kind that the model takes, which has to hold them."""
    with np.errstate(all="ignore"):
        found = np.ascontiguousarray(array, dtype=wanted)
    if wanted.kind in "iu" and not np.array_equal(found, array):
        raise _bad(f"The examples must be whole numbers of {wanted}, but some are not.")
    if not np.isfinite(found).all():
        raise _bad(f"The examples must be finite numbers of {wanted}, but some are not.")
    return found


def _values_of(frame: Any) -> Any:
    """A frame's rows; of one whose only column holds whole examples, these."""
    is_nested = frame.shape[1] == 1 and frame.dtypes.iloc[0].kind == "O"
    return frame.iloc[:, 0].tolist() if is_nested else frame.to_numpy()


def read_metadata(folder: Path) -> Model:
    """What a saved model is, when it is one that loads without a pickle and without its own code.

    Raises:
        UserError: It is none, or another kind.
    """
    try:
        metadata = Model.load(str(folder))
    except Exception as error:  # no file, no YAML, no model
        raise UserError(must("MODEL", "a saved MLflow model", str(folder)), str(error)) from None
    flavor = metadata.flavors.get("python_function", {})
    pytorch = metadata.flavors.get("pytorch", {})
    loader = flavor.get("loader_module") or ", ".join(metadata.flavors)
    schema = metadata.get_input_schema()
    why = ""
    if not pytorch or loader not in ("mlflow.pytorch", "pytorch"):
        why = f"is loaded by {loader}"
    elif any(part.get("code") for part in (flavor, pytorch)):
        why = "brings code of its own"
    elif not (folder / str(_data_of(metadata)) / FILE).is_file():
        why = "is a pickle"
    elif schema is None or not schema.is_tensor_spec():
        why = "has no signature of tensors"
    if why:
        raise UserError(
            f"`MODEL` must be an exported graph with a signature, but {why}.",
            str(folder),
            "log it as one: paceline promote SWEEP, or mlflow.pytorch.log_model(..., "
            "serialization_format='pt2', signature=...)",
        )
    return metadata


def _data_of(metadata: Model) -> str:
    """The folder of the model's data; a name, never a path that leads elsewhere."""
    name = str(metadata.flavors.get("pytorch", {}).get("model_data", "data"))
    return "data" if "/" in name or name in ("", "..") else name


def _arrays(value: Any) -> Any:
    """Tensors as arrays of finite numbers, which JSON can hold."""
    if isinstance(value, Mapping):
        return {str(name): _arrays(inner) for name, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return [_arrays(inner) for inner in value]
    if not isinstance(value, torch.Tensor):
        return value
    if value.is_floating_point() and not torch.isfinite(value).all():
        told = "The model's answer must be finite numbers, but some are not."
        raise MlflowException(told, error_code=INTERNAL_ERROR)
    return value.numpy()


def _bad(message: str) -> MlflowException:
    return MlflowException(message, error_code=BAD_REQUEST)

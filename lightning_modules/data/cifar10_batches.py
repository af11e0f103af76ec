"""The official batches of CIFAR-10: pickled dicts, read without trusting them.

A pickle is a program, and the usual way to read these files runs whatever program lies there. Here
each name that the file asks for is answered with a stand-in of ours that only keeps what it is
given, so the file can make dicts, lists, numbers, bytes and one array of bytes, and nothing else.

Letters: N pictures.
"""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import numpy as np

PICTURE = (3, 32, 32)


class _Type:
    """Stands for `numpy.dtype`; its state (byte order, ...) means nothing for bytes."""

    def __init__(self, name: Any, *_: Any):
        if name not in (b"u1", "u1"):
            raise pickle.UnpicklingError(f"an array of the type {name!r}")

    def __setstate__(self, state: Any) -> None:
        pass


class _Array:
    """Stands for `numpy.ndarray`: keeps shape and bytes."""

    shape: tuple[int, ...] = ()
    content: bytes = b""

    def __init__(self, *_: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, by_columns, content = state
        whole = isinstance(shape, tuple) and all(type(side) is int for side in shape)
        if not whole or not isinstance(kind, _Type) or by_columns or type(content) is not bytes:
            raise pickle.UnpicklingError("an array of another form")
        self.shape, self.content = shape, content


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Type,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        """The stand-in for what the file asks for.

        Raises:
            pickle.UnpicklingError: It asks for anything that no batch needs.
        """
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"a call of {module}.{name}")
        return _STAND_INS[module, name]


def parse_batch(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N, 3, 32, 32) uint8 and classes (N,) int64 of one batch.

    Args:
        content: The whole file.
        name: What errors call it.

    Raises:
        ValueError: The pickle holds anything but a batch; nothing of it has been run.
    """
    try:
        # The official files were written by Python 2, whose strings are bytes.
        batch = _Reader(io.BytesIO(content), encoding="bytes").load()
    except pickle.UnpicklingError as error:
        raise _wrong(name, f"holds {error}") from None
    except Exception as error:  # a damaged pickle may raise anything
        raise _wrong(name, f"is damaged ({error})") from None
    if not isinstance(batch, dict):
        raise _wrong(name, f"holds a {type(batch).__name__}")
    data, labels = (batch.get(key, batch.get(key.decode())) for key in (b"data", b"labels"))
    if not isinstance(data, _Array) or not isinstance(labels, list):
        raise _wrong(name, "holds no `data` and `labels`")
    shape = (len(labels), math.prod(PICTURE))
    if data.shape != shape or len(data.content) != math.prod(shape):
        raise _wrong(name, f"holds an array of {data.shape} for {len(labels)} labels")
    if not all(type(label) is int and 0 <= label < 10 for label in labels):
        raise _wrong(name, "holds labels that are no classes from 0 to 9")
    pictures = np.frombuffer(data.content, np.uint8).reshape(-1, *PICTURE)  # (N, 3, 32, 32)
    return pictures, np.array(labels, np.int64)


def _wrong(name: str, found: str) -> ValueError:
    error = ValueError(f"`{name}` must be a batch of CIFAR-10 and no other pickle, but {found}.")
    error.add_note("delete this file, then run `paceline data get cifar10`")
    return error

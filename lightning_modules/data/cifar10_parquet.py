"""CIFAR-10 as the Hugging Face hub keeps it: one encoded picture and its class in each row.

Letters: N pictures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .decoding import decode, pixels

SIDE = 32
NUM_CLASSES = 10


def read_parquet(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N, 3, 32, 32) uint8 and classes (N,) int64 of one file.

    Raises:
        ValueError: The file is damaged, has other columns, or a row holds no such picture.
    """
    encoded, classes = _columns(path)
    pictures = np.empty((len(encoded), 3, SIDE, SIDE), np.uint8)
    for row, content in enumerate(encoded):
        try:
            picture = decode(content, channels=3)
        except ValueError as error:
            raise _wrong(path, f"is not in row {row}: {error}") from None
        if picture.size != (SIDE, SIDE):
            raise _wrong(path, f"has {picture.size[0]} x {picture.size[1]} pixels in row {row}")
        pictures[row] = pixels(picture)
    return pictures, classes


def _columns(path: Path) -> tuple[list[bytes], np.ndarray]:
    """The encoded pictures and the classes of all rows."""
    import pyarrow
    import pyarrow.parquet

    try:
        table: Any = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise _wrong(path, f"is no whole parquet file ({error})") from None
    if not {"img", "label"} <= set(table.column_names):
        raise _wrong(path, f"has the columns {', '.join(table.column_names)}")
    column = table.column("img").combine_chunks()
    if pyarrow.types.is_struct(column.type):
        column = column.field("bytes")
    encoded, labels = column.to_pylist(), table.column("label").to_pylist()
    if not all(isinstance(content, bytes) for content in encoded):
        raise _wrong(path, "has rows without the bytes of a picture")
    if not all(type(label) is int and 0 <= label < NUM_CLASSES for label in labels):
        raise _wrong(path, "has labels that are no classes from 0 to 9")
    return encoded, np.array(labels, np.int64)


def _wrong(path: Path, found: str) -> ValueError:
    error = ValueError(
        f"`{path}` must hold pictures of {SIDE} x {SIDE} (`img`) and classes (`label`), but {found}"
    )
    error.add_note("delete this file, then run `paceline data get cifar10`")
    return error

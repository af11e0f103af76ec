"""Arrays that took seconds to make, kept in one file so that the next process only reads them.

A file is written whole or not at all, read without pickles, and checked: by the CRC that zip keeps
of each array, and by shape and type. What is damaged counts as absent, and a folder that cannot be
written costs no more than the time to make the arrays again.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

Form = tuple[tuple[int, ...], str]  # shape, name of the type


def cached_arrays(
    cache: Path, forms: Mapping[str, Form], make: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """The arrays of the cache file, or what `make` returns, which is then kept there.

    Args:
        cache: The file, `.npz`; its name must tell apart whatever makes the arrays differ.
        forms: Shape and type of each array.
        make: Makes all of them.
    """
    arrays = load_arrays(cache, forms)
    if arrays is None:
        arrays = make()
        with contextlib.suppress(OSError):  # no cache, no harm
            keep_arrays(arrays, cache)
    return arrays


def load_arrays(cache: Path, forms: Mapping[str, Form]) -> dict[str, np.ndarray] | None:
    """The arrays of a whole and sound cache file, else None."""
    try:
        with cache.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in forms}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    found = {key: (array.shape, array.dtype.name) for key, array in arrays.items()}
    return arrays if found == dict(forms) else None


def keep_arrays(arrays: dict[str, np.ndarray], cache: Path) -> None:
    """Write the cache whole or not at all.

    Raises:
        OSError: The folder cannot be written.
    """
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.parent, prefix=".writing-") as folder:
        path = Path(folder) / cache.name
        np.savez(path, allow_pickle=False, **arrays)
        os.replace(path, cache)

"""The IDX format of MNIST's files: a header that names type and sides, then the numbers.

Bytes 0 and 1 are zero, byte 2 is the type, byte 3 the number of sides, then each side as four
bytes, big endian (LeCun's MNIST page). Only unsigned bytes are read here: the published files
hold nothing else.
"""

from __future__ import annotations

import math

import numpy as np

UNSIGNED_BYTE = 0x08


def parse_idx(content: bytes, name: str) -> np.ndarray:
    """The array in the content of an IDX file.

    Args:
        content: The whole file, unpacked.
        name: What errors call it.

    Returns:
        A read-only uint8 array with the sides of the header; it shares the memory of `content`.

    Raises:
        ValueError: The header is not that of an IDX file of bytes, or promises another size.
    """
    if len(content) < 4 or content[:2] != b"\0\0":
        raise _wrong(
            name, "begin with two zero bytes, a type and a number of sides", content[:4].hex(" ")
        )
    kind, num_sides = content[2], content[3]
    if kind != UNSIGNED_BYTE:
        raise _wrong(name, "hold unsigned bytes (type 08)", f"of type {kind:02x}")
    start = 4 + 4 * num_sides
    if num_sides == 0 or len(content) < start:
        raise _wrong(name, "have a whole header", f"cut off in it ({len(content)} bytes)")
    sides = [int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4)]
    if len(content) - start != math.prod(sides):
        product = " x ".join(map(str, sides))
        raise _wrong(name, f"hold {product} bytes after its header", f"{len(content) - start} long")
    return np.frombuffer(content, np.uint8, offset=start).reshape(sides)


def _wrong(name: str, rule: str, found: str) -> ValueError:
    return ValueError(f"`{name}` must {rule}, but is {found}.")

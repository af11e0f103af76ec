"""From an encoded picture (JPEG, PNG, ...) to bytes of one size, one file at a time.

Grey, palette and transparent pictures become the channels that are asked for: what is transparent
shows black, the stored zero that augmentation moves in as well. Sixteen grey bits keep their upper
eight.

Letters: C channels, H x W picture, S side of a square.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

MODES = {1: "L", 3: "RGB"}

# What Pillow raises for files that are cut off, damaged, no pictures, or far too large.
_UNREADABLE = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    IndexError,
    KeyError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

# Random resized crop: share of the area and ratio of the sides that are tried, and how often.
AREA, RATIO, ATTEMPTS = (0.08, 1.0), (3 / 4, 4 / 3), 10


def decode(source: bytes | Path, channels: int, at_least: int | None = None) -> Image.Image:
    """Decode a whole picture.

    Args:
        source: The encoded bytes, or the file that holds them.
        channels: 1 or 3.
        at_least: A JPEG may be decoded at a fraction of its size as long as its shorter side keeps
            this many pixels, which saves most of the time for photographs; default: full size.

    Raises:
        ValueError: It is no picture, damaged, or cut off before its end.
    """
    try:
        with Image.open(_stream(source)) as picture:
            if at_least is not None:
                picture.draft(None, _draft_size(picture.size, at_least))
            return _with_channels(picture, channels)
    except _UNREADABLE as error:
        name = "a picture" if isinstance(source, bytes) else f"`{source}`"
        # Pillow names the file or its buffer in some messages; once is enough.
        reason = str(error).partition(" '")[0].partition(" <")[0] or type(error).__name__
        raise ValueError(f"{name} must be a whole picture, but is not: {reason}.") from None


def _stream(source: bytes | Path) -> io.BytesIO | Path:
    return io.BytesIO(source) if isinstance(source, bytes) else source


def _draft_size(size: tuple[int, int], at_least: int) -> tuple[int, int]:
    """The smallest size of the same form whose shorter side is `at_least`."""
    scale = at_least / min(size)
    return max(1, math.ceil(size[0] * scale)), max(1, math.ceil(size[1] * scale))


def _with_channels(picture: Image.Image, channels: int) -> Image.Image:
    if picture.mode.startswith("I"):
        high = np.asarray(picture).astype(np.int64) >> 8
        picture = Image.fromarray(high.clip(0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        picture = Image.alpha_composite(black, picture)
    return picture.convert(MODES[channels])


def pixels(picture: Image.Image) -> np.ndarray:
    """The picture as bytes (C, H, W)."""
    array = np.asarray(picture)  # (H, W) or (H, W, 3)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)  # (C, H, W)


def centre_square(picture: Image.Image, side: int) -> Image.Image:
    """The largest square about the centre, resized to `side` pixels (area-weighted, bilinear)."""
    width, height = picture.size
    edge = min(width, height)
    left, top = (width - edge) / 2, (height - edge) / 2
    box = (left, top, left + edge, top + edge)
    return picture.resize((side, side), Image.Resampling.BILINEAR, box)


def random_square(picture: Image.Image, side: int, rng: np.random.Generator) -> Image.Image:
    """A random part of the picture, resized to `side` pixels.

    Szegedy et al. (2015), "Going Deeper with Convolutions", section 6: a part that holds 8 % to
    100 % of the area, whose sides stand at 3/4 to 4/3; drawn on a logarithmic scale, so that
    lying and standing parts are as likely. If ten draws do not fit, the centre square is taken.
    """
    width, height = picture.size
    for _ in range(ATTEMPTS):
        area = width * height * rng.uniform(*AREA)
        ratio = math.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left, top = rng.integers(width - across + 1), rng.integers(height - down + 1)
            box = (int(left), int(top), int(left) + across, int(top) + down)
            return picture.resize((side, side), Image.Resampling.BILINEAR, box)
    return centre_square(picture, side)

"""Picture files as a network wants them: its size, its channels, bytes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import UserError


def read_picture(path: str) -> Image.Image:
    """A picture file, upright, in colours; what is transparent is shown on white.

    Raises:
        UserError: It is missing, no picture, cut off or too large to be one.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                image = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise _unreadable(path, error) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _unreadable(path, error) from None
    if image.mode.startswith(("I", "F")):  # 16 bits and more: from its darkest to its brightest
        values = np.asarray(image, dtype=np.float64)
        low, high = float(values.min()), float(values.max())
        return Image.fromarray(np.uint8(255 * (values - low) / max(high - low, 1e-12))).convert(
            "RGB"
        )
    layers = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers).convert("RGB")


def _unreadable(path: str, error: Exception) -> UserError:
    if isinstance(error, FileNotFoundError):
        reason = "there is no such file"
    elif isinstance(error, IsADirectoryError):
        reason = "it is a folder"
    elif isinstance(error, UnidentifiedImageError):
        reason = "it is no picture, or of a kind that is not known"
    else:
        reason = str(error).partition("\n")[0] or type(error).__name__
    return UserError(
        f"`IMAGE` must be a picture that can be read, but is {path!r}: {reason}.",
        path,
        "a PNG or JPEG file",
    )


def as_input(image: Image.Image, in_shape: Sequence[int], *, invert: bool = False) -> np.ndarray:
    """The middle of a picture in a network's size and channels.

    Args:
        image: A picture in colours.
        in_shape: (C, H, W) with 1 (grey) or 3 (colour) channels.
        invert: Turn light and dark round; the digits of MNIST are light on dark.

    Returns:
        Bytes (C, H, W).
    """
    channels, height, width = in_shape
    fitted = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(fitted.convert("L" if channels == 1 else "RGB"))
    pixels = pixels.reshape(height, width, channels).transpose(2, 0, 1)  # (C, H, W)
    return 255 - pixels if invert else pixels.copy()

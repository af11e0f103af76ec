"""The deck's kernels on a photograph: what a convolution does before anything is learned.

Deck, slide "Convolutional Kernels". The weights are the deck's. Its `blur` sums to 9, so here the
result is divided by 9 to stay a picture. Its `sharpen` sums to 0: it finds edges of all directions
(the discrete Laplacian); with 5 in the middle, identity plus it, the picture itself comes out
sharper, and that is drawn beside it. Results of kernels that sum to 0 are drawn from black (minus)
over grey (zero) to white (plus).

The picture of docs/kernels.png is made by

    python -c "from paceline.lightning_modules.pictures.kernels import kernels_figure as draw; \
draw().savefig('docs/kernels.png')"

H x W picture, C channels.
"""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from torch.nn import functional as F

from ..blocks.checks import require, require_one_of

KERNELS = {
    "identity": ((0, 0, 0), (0, 1, 0), (0, 0, 0)),
    "blur": ((1, 1, 1), (1, 1, 1), (1, 1, 1)),
    "sharpen": ((0, -1, 0), (-1, 4, -1), (0, -1, 0)),
    "edge": ((0, 0, 0), (-1, 1, 0), (0, 0, 0)),
}
PHOTOGRAPHS = ("china", "flower")  # those that scikit-learn ships, 427 x 640


def apply_kernel(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Slide a kernel over each channel, as a convolutional layer does (cross-correlation).

    Args:
        image: (H, W, C).
        kernel: (k, k), k odd.

    Returns:
        (H, W, C) in float64; beyond its edges the picture goes on with its outermost pixels.

    Raises:
        ValueError: If the image has no channels, or the kernel is not an odd square.
    """
    require(image.ndim == 3, "image", "of shape (H, W, C)", image.shape)
    side = len(kernel)
    square = kernel.shape == (side, side) and side % 2 == 1
    require(square, "kernel", "of shape (k, k), k odd", kernel.shape)
    channels = torch.from_numpy(image.astype(np.float64)).permute(2, 0, 1)  # (C, H, W)
    edges = [side // 2] * 4
    padded = F.pad(channels[None], edges, mode="replicate")[0]  # (C, H + k - 1, W + k - 1)
    weight = torch.from_numpy(kernel.astype(np.float64))[None, None]  # (1, 1, k, k)
    return F.conv2d(padded[:, None], weight)[:, 0].permute(1, 2, 0).numpy()  # (H, W, C)


def photograph(name: str = "china") -> np.ndarray:
    """A photograph with values from 0 to 1, (427, 640, 3).

    Args:
        name: `china` or `flower`.

    Raises:
        ValueError: If it is another name.
    """
    from sklearn.datasets import load_sample_image  # takes a second to import

    require_one_of("name", name, PHOTOGRAPHS)
    return load_sample_image(f"{name}.jpg") / 255


def kernels_figure(image: np.ndarray | None = None) -> Figure:
    """What the deck's kernels make of a picture, each with its weights.

    Args:
        image: (H, W, 3) with values from 0 to 1; default: a detail of `china`.
    """
    if image is None:
        image = photograph()[40:240, 60:360]
    identity, sharpen = np.array(KERNELS["identity"]), np.array(KERNELS["sharpen"])
    kernels = {name: np.array(weights) for name, weights in KERNELS.items()}
    kernels["identity + sharpen"] = identity + sharpen
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    grid = list(figure.subplots(2, 3).flat)
    for axes, (name, kernel) in zip(grid, kernels.items(), strict=False):
        axes.imshow(_as_picture(apply_kernel(image, kernel), kernel))
        rows = "\n".join(" ".join(f"{w:2d}" for w in row) for row in kernel)
        text = {"fontfamily": "monospace", "fontsize": 7, "va": "top", "color": "black"}
        box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none"}
        axes.text(0.02, 0.97, rows, transform=axes.transAxes, bbox=box, **text)
        axes.set_title(name)
    for axes in grid:
        axes.set_axis_off()
    return figure


def _as_picture(result: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Values from 0 to 1: as they are, the mean under a blur, or about grey if nothing sums up."""
    total = kernel.sum()
    if total:
        return np.clip(result / total, 0, 1)
    grey = result.mean(2, keepdims=True).repeat(3, 2)  # (H, W, 3)
    return np.clip(0.5 + grey, 0, 1)

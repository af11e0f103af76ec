"""Which codes a variational autoencoder is asked about, so that one sees what it has learned.

Kingma and Welling 2014, figures 4 and 5. N pictures, D pixels, Z code.
"""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ..rules.variational_rule import VariationalRule
from . import latent_walks
from .grids import code_map, picture_grid, picture_rows
from .reconstructions import reconstructions

NUM_WALKS, NUM_STEPS = 4, 11  # walks between two pictures, and steps of every walk
MOST_NUMBERS = 10  # of a code that are walked along
MANIFOLD_SIDE = 20


@torch.no_grad()
def samples(model: VariationalRule, codes: Tensor, title: str = "") -> Figure:
    """What the decoder makes of codes (N, Z), in rows of about the square root of N."""
    pictures = model.picture_of(codes).cpu().numpy()
    return picture_grid(pictures, columns=round(len(codes) ** 0.5), title=title)


@torch.no_grad()
def figures(
    model: VariationalRule, pixels: Tensor | None, labels: Tensor | None
) -> dict[str, Figure]:
    """All pictures of a model.

    `samples`, `single_numbers` (each row changes one number of a code) and, of codes of two
    numbers, `manifold`; where pictures were evaluated, `reconstructions`, `latent_walk` (between
    two of them) and `code_map`.

    Args:
        model: What was trained.
        pixels: Pictures of the latest evaluation, (N, D).
        labels: Their classes (N,), if they have any.
    """
    made = {"samples": samples(model, model.draw_codes(64), _distance(model, pixels))}
    start = torch.zeros(model.code_size, device=model.device)
    numbers = torch.arange(model.code_size)
    if pixels is not None:
        pixels = pixels.to(model.device)
        codes, _ = model.network.encode(pixels)  # (N, Z)
        # Those that the encoder uses most come first; it leaves some of a long code unused.
        start, numbers = codes[0], codes.std(0).argsort(descending=True)
        inputs = pixels[:8].view(-1, *model.network.in_shape).cpu().numpy()
        made["reconstructions"] = reconstructions(inputs, _pictures(model, codes[:8]))
        made["latent_walk"] = _latent_walk(model, codes)
        if model.code_size == 2:
            classes = None if labels is None else labels[: len(codes)].cpu().numpy()
            made["code_map"] = code_map(codes.cpu().numpy(), classes)
    made["single_numbers"] = _single_numbers(model, start, numbers[:MOST_NUMBERS].tolist())
    if model.code_size == 2:
        codes = latent_walks.manifold(MANIFOLD_SIDE).to(model.device)
        made["manifold"] = samples(model, codes)
    return made


def _pictures(model: VariationalRule, codes: Tensor) -> np.ndarray:
    """Pixels of codes (..., Z), as an array (..., *in_shape)."""
    return model.picture_of(codes).cpu().numpy()


def _distance(model: VariationalRule, pixels: Tensor | None) -> str:
    if pixels is None:
        return ""
    distance = model.sample_distance(pixels.to(model.device)).item()
    return f"a pixel is {distance:.3f} (root mean square) from the nearest real picture's"


def _latent_walk(model: VariationalRule, codes: Tensor) -> Figure:
    """Straight ways between the codes of neighbouring pictures, at most four."""
    pairs = min(NUM_WALKS, len(codes) - 1)
    ways = latent_walks.between(codes[:pairs], codes[1 : pairs + 1], NUM_STEPS)
    names = [f"{number} to {number + 1}" for number in range(pairs)]
    return picture_rows(_pictures(model, ways), names, "from one picture's code to another's")


def _single_numbers(model: VariationalRule, start: Tensor, numbers: list[int]) -> Figure:
    walks = latent_walks.along_single_numbers(start, numbers, NUM_STEPS)
    names = [f"$z_{{{number + 1}}}$" for number in numbers]
    title = "one number of a code from -2.5 to 2.5"
    return picture_rows(_pictures(model, walks), names, title)

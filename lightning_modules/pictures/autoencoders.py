"""The pictures that an autoencoder offers of the latest evaluation's examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..code_measures import principal_components
from .codes import codes_beside_pca
from .reconstructions import reconstructions
from .weights import filters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_PICTURES, NUM_FILTERS = 8, 64


@torch.no_grad()
def reconstructions_of(model: Any, examples: tuple[Tensor, Tensor | None] | None) -> dict[str, Any]:
    """`reconstructions`: some inputs, spoiled if the model learns from such, above its outputs."""
    if examples is None:
        return {}
    x = examples[0][:NUM_PICTURES]
    generator = torch.Generator(x.device)
    generator.manual_seed(0)
    shown = model.spoil(model.pixels(x), generator)
    said = model.as_pixels(model.network(shown)[0])
    pair = (part.clamp(0, 1).view(x.shape).cpu().numpy() for part in (shown, said))
    return {"reconstructions": reconstructions(*pair)}


@torch.no_grad()
def figures(model: Any, examples: tuple[Tensor, Tensor | None] | None) -> dict[str, Figure]:
    """Pictures of a model.

    Returns:
        `first_layer`: what its first layer looks for; after an evaluation also `reconstructions`
        and, of a code of two numbers, `code`: where the classes lie in it, beside PCA.
    """
    drawn = reconstructions_of(model, examples) | {"first_layer": _first_layer(model)}
    if examples is not None and model.code_size == 2 and examples[1] is not None:
        pixels = model.pixels(examples[0])
        mean, directions = principal_components([pixels], 2)
        parts = model.network.encoder(pixels), (pixels.double() - mean) @ directions, examples[1]
        drawn["code"] = codes_beside_pca(*(part.cpu().numpy() for part in parts))
    return drawn


def _first_layer(model: Any) -> Figure:
    layer = next(m for m in model.network.encoder if isinstance(m, nn.Linear | nn.Conv2d))
    weight = layer.weight.detach()[:NUM_FILTERS].cpu().contiguous()
    if isinstance(layer, nn.Linear):
        weight = weight.view(len(weight), *model.example_input_array.shape[1:])
    return filters(weight.numpy())

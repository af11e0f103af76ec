"""The pictures that an autoencoder offers of the latest evaluation's examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..rules.code_measures import principal_components
from .codes import codes_beside_pca
from .grids import picture_grid
from .reconstructions import reconstructions
from .weights import filters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUM_PICTURES, NUM_FILTERS, NUM_SAMPLES = 8, 64, 64


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
        `first_layer`: what its first layer looks for; after an evaluation also `reconstructions`,
        `plain_decoder_samples` and, of a code of two numbers, `code`: where the classes lie in it,
        beside PCA.
    """
    drawn = reconstructions_of(model, examples) | {"first_layer": _first_layer(model)}
    if examples is not None and (codes := fitted_codes(model, examples[0])) is not None:
        drawn["plain_decoder_samples"] = _decoded(model, codes, examples[0].shape[1:])
    if examples is not None and model.code_size == 2 and examples[1] is not None:
        pixels = model.pixels(examples[0])
        mean, directions = principal_components([pixels], 2)
        parts = model.network.encoder(pixels), (pixels.double() - mean) @ directions, examples[1]
        drawn["code"] = codes_beside_pca(*(part.cpu().numpy() for part in parts))
    return drawn


@torch.no_grad()
def fitted_codes(model: Any, x: Tensor, count: int = NUM_SAMPLES, seed: int = 0) -> Tensor | None:
    """Codes drawn from the Gaussian with the mean and the covariance of those of some examples.

    Nothing asks the codes of a plain autoencoder to lie like a Gaussian, so that the decoder meets
    codes here that no picture has: why the deck goes on to the variational one. A unit Gaussian
    would be harder on it still, as codes have no fixed scale.

    Args:
        model: The autoencoder.
        x: Examples (N, ...), normalised.
        count: How many are drawn.
        seed: The same seed draws the same codes.

    Returns:
        (count, Z); None of fewer than two examples, or where a code is not finite.
    """
    codes = model.network.encoder(model.pixels(x)).double().cpu()  # (N, Z)
    if len(codes) < 2 or not codes.isfinite().all():
        return None
    covariance = torch.cov(codes.T).view(codes.shape[1], -1)  # (Z, Z), also of Z = 1
    variances, directions = torch.linalg.eigh(covariance)  # some may be 0, or -0 by rounding
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, codes.shape[1], generator=generator, dtype=torch.float64)
    drawn = codes.mean(0) + noise * variances.clamp(min=0).sqrt() @ directions.T
    return drawn.to(x)


def _decoded(model: Any, codes: Tensor, shape: torch.Size) -> Figure:
    """What the decoder makes of codes (N, Z)."""
    said = model.as_pixels(model.network.decoder(codes)).clamp(0, 1).view(-1, *shape)
    title = "codes from the Gaussian with the mean and covariance of real pictures' codes"
    return picture_grid(said.cpu().numpy(), columns=round(len(codes) ** 0.5), title=title)


def _first_layer(model: Any) -> Figure:
    layer = next(m for m in model.network.encoder if isinstance(m, nn.Linear | nn.Conv2d))
    weight = layer.weight.detach()[:NUM_FILTERS].cpu().contiguous()
    if isinstance(layer, nn.Linear):
        weight = weight.view(len(weight), *model.example_input_array.shape[1:])
    return filters(weight.numpy())

"""What the decoders of a plain and of a variational autoencoder make of codes that nobody encoded.

Two networks with the same layers and equally many numbers in the code learn from the same batches
of MNIST; one has the reconstruction loss alone, the other the latent loss too. Then codes are drawn
for each from the unit Gaussian, which the variational one was taught, and for the plain one also
from the Gaussian with the mean and covariance of the codes of 5,000 held-out pictures, the kindest
that one can draw from without a further model. Deck, slide "Variational Autoencoders".

    python tests/benchmarks/decoders.py [--epochs 5] [--code-size 20] [--seed 1]
                                        [--picture docs/decoders.png]

One JSON line, and the picture. `plain_unit`, `plain_fitted` and `variational_unit` are how far a
pixel of 1,000 such pictures is from that of the nearest of 10,000 real ones (root mean square),
`real` the same of held-out real pictures; `..._error` is the squared error a picture of what is
said again of the held-out ones.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from matplotlib.figure import Figure
from paceline.lightning_modules.autoencoder import Autoencoder
from paceline.lightning_modules.blocks.losses import reconstruction_error
from paceline.lightning_modules.blocks.schedules import OneCycle
from paceline.lightning_modules.data.mnist import MNIST
from paceline.lightning_modules.pictures.autoencoders import fitted_codes
from paceline.lightning_modules.pictures.grids import show_grid
from paceline.lightning_modules.vae import VAE
from torch import Tensor

HIDDEN_SIZES, BATCH_SIZE, RATE = [500, 500], 128, 2e-3
NUM_DRAWN, NUM_REAL, NUM_SHOWN = 1000, 10_000, 64
TITLES = {
    "plain_unit": "plain, codes from the unit Gaussian",
    "plain_fitted": "plain, codes from a Gaussian fitted to its own",
    "variational_unit": "variational, codes from the unit Gaussian",
}


def objective(model: Autoencoder | VAE, pixels: Tensor) -> Tensor:
    """The training loss of either, nats a picture."""
    if isinstance(model, VAE):
        return torch.stack(model.losses(pixels)).sum()
    return model.reconstruction_loss(model.network(pixels)[0], pixels)


def train(model: Autoencoder | VAE, pixels: Tensor, epochs: int, seed: int) -> None:
    """Train on pixels (N, D) from 0 to 1; both models see the same batches."""
    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), RATE, fused=True)
    schedule = OneCycle(optimizer, total_steps=epochs * -(-len(pixels) // BATCH_SIZE))
    for _ in range(epochs):
        for index in torch.randperm(len(pixels), generator=order).split(BATCH_SIZE):
            loss = objective(model, pixels.index_select(0, index))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def nearest(pictures: Tensor, real: Tensor) -> float:
    """How far a pixel of pictures (N, D) is from that of the nearest real one (M, D)."""
    return float(torch.cdist(pictures, real).amin(1).mean() / pictures.shape[1] ** 0.5)


@torch.no_grad()
def drawn(model: Autoencoder | VAE, held_out: Tensor, seed: int) -> dict[str, Tensor]:
    """Title's key -> pictures (N, D) that the decoder makes of codes that nobody encoded."""
    if isinstance(model, VAE):
        codes = model.draw_codes(NUM_DRAWN, seed)
        return {"variational_unit": model.picture_of(codes).flatten(1)}
    unit = torch.randn(NUM_DRAWN, model.code_size, generator=torch.Generator().manual_seed(seed))
    fitted = fitted_codes(model, held_out, NUM_DRAWN, seed)
    assert fitted is not None
    both = {"plain_unit": unit, "plain_fitted": fitted}
    return {key: model.as_pixels(model.network.decoder(codes)) for key, codes in both.items()}


def measure(epochs: int, code_size: int, seed: int) -> tuple[dict[str, float], dict[str, Tensor]]:
    """The figures of the module docstring, and pictures (N, D) of each decoder."""
    splits = MNIST().splits
    pixels, held_out = (part.inputs.flatten(1) / 255 for part in (splits.train, splits.val))
    real = pixels[:NUM_REAL]
    figures, made = {"real": nearest(held_out[:NUM_DRAWN], real)}, {}
    for family, name in ((Autoencoder, "plain"), (VAE, "variational")):
        torch.manual_seed(seed)
        model = family(
            in_shape=[1, 28, 28],
            hidden_sizes=HIDDEN_SIZES,
            code_size=code_size,
            activation="relu",
            weight_init="kaiming",
        )
        train(model, pixels, epochs, seed)
        made |= drawn(model, held_out, seed)
        with torch.no_grad():
            said = model(held_out).flatten(1)  # (N, D)
        figures[f"{name}_error"] = reconstruction_error(said, held_out).item()
    figures |= {key: nearest(pictures, real) for key, pictures in made.items()}
    return {key: float(f"{value:.4g}") for key, value in figures.items()}, made


def side_by_side(made: dict[str, Tensor], figures: dict[str, float], code_size: int) -> Figure:
    """What each decoder makes of what was drawn."""
    figure = Figure(figsize=(13, 5), layout="constrained")
    for axes, (key, pictures) in zip(figure.subplots(1, 3), made.items(), strict=True):
        show_grid(axes, pictures[:NUM_SHOWN].view(-1, 1, 28, 28).numpy(), 8)
        axes.set_title(f"{TITLES[key]}\ndistance to the nearest real picture {figures[key]:.3f}")
    told = f"autoencoders of MNIST with {code_size} numbers in the code"
    figure.suptitle(f"{told}; of held-out real pictures the distance is {figures['real']:.3f}")
    return figure


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--code-size", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    started = time.monotonic()
    figures, made = measure(options.epochs, options.code_size, options.seed)
    seconds = round(time.monotonic() - started, 1)
    asked = {"epochs": options.epochs, "code_size": options.code_size, "seed": options.seed}
    answer = {"benchmark": "decoders", **asked, **figures, "seconds": seconds}
    print(json.dumps(answer), flush=True)
    if options.picture:
        side_by_side(made, figures, options.code_size).savefig(options.picture, dpi=110)


if __name__ == "__main__":
    main()

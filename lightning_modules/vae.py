"""The variational autoencoder: an autoencoder whose codes are drawn, and kept near a unit Gaussian.

Deck, slides "Variational Autoencoders" and "Variational Autoencoder": a plain autoencoder's decoder
makes noise of codes that no picture had; with a latent loss beside the generative loss codes match
a unit Gaussian, and those drawn from one become pictures. Kingma and Welling 2014, "Auto-Encoding
Variational Bayes": the two losses add up to minus the ELBO, a bound on log p(x). From later papers:
`kl_weight` (Higgins et al. 2017, beta-VAE), its warm-up (Sonderby et al. 2016, section 2.3), and
the estimate of log p(x) with k codes (Burda et al. 2016).
B batch, D pixels of a picture, Z code, k samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .blocks.activations import Activation
from .blocks.checks import require
from .blocks.initializers import WeightInit
from .blocks.layers import LayerStyle
from .networks.vae_networks import VAENetwork
from .pixel_range import PixelRange
from .rules.vae_objective import (
    SQUARED_ERROR_STD,
    Binarize,
    LatentWeight,
    Likelihood,
    PixelLikelihood,
)
from .rules.variational_rule import VariationalRule
from .shapes import resolve_input

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class VAE(VariationalRule):
    """A variational autoencoder under the rule of `VariationalRule`, which tells what is logged.

    Args:
        in_features: D; default: that of the data.
        in_shape: Shape of one example; default: that of the data.
        pixel_mean: What the data subtracted from the pixels, one number or one a channel; default:
            that of the data, or 0.
        pixel_std: What it divided them by, > 0; default: that of the data, or 1.
        hidden_sizes: Units of the encoder's fully connected layers, the decoder has them reversed;
            default: 500 and 500.
        channels: Channels of convolutions before them, each halving the picture; default: none.
        code_size: Z.
        activation: Non-linearity of the hidden layers.
        likelihood: How pixels scatter about what the decoder says: `bernoulli`, coins, or
            `gaussian`: the deck's squared error, in nats.
        noise_std: Deviation of a pixel under `gaussian`, > 0; default: that whose loss is the
            squared error and a constant. A smaller one makes sharper pictures and longer codes.
        binarize: Pixels as coins that are thrown anew each time (`dynamic`), or compared with 0.5
            (`threshold`), or grey as they are (`none`).
        variational: Whether codes are drawn; without it this is a plain autoencoder, which has the
            generative loss alone and logs nothing of the other.
        kl_weight: Weight of the latent loss in training, >= 0; beta-VAE's beta.
        kl_warmup_epochs: Epochs over which that weight grows from 0; 0: it starts whole.
        kl_warmup_steps: The same, in updates.
        num_importance_samples: k of `test/log_likelihood`; 0: it is not estimated.
        weight_init: How weights start; `kaiming` suits the rectifiers.
        weight_init_std: Standard deviation of `normal`.

    Raises:
        ValueError: If an argument is outside its range, or set where it has no effect.
    """

    def __init__(
        self,
        in_features: int | None = None,
        in_shape: list[int] | None = None,
        pixel_mean: float | list[float] | None = None,
        pixel_std: float | list[float] | None = None,
        hidden_sizes: list[int] | None = None,
        channels: list[int] | None = None,
        code_size: int = 20,
        activation: Activation = "relu",
        likelihood: Likelihood = "bernoulli",
        noise_std: float = SQUARED_ERROR_STD,
        binarize: Binarize = "none",
        variational: bool = True,
        kl_weight: float = 1.0,
        kl_warmup_epochs: float = 0,
        kl_warmup_steps: int = 0,
        num_importance_samples: int = 100,
        weight_init: WeightInit = "kaiming",
        weight_init_std: float = 0.01,
    ):
        _, shape = resolve_input(in_features, in_shape)
        style = LayerStyle(activation, 2, False, weight_init, weight_init_std)
        sizes = [500, 500] if hidden_sizes is None else hidden_sizes
        super().__init__(
            VAENetwork(shape, code_size, sizes, channels or [], style, variational),
            code_size,
            PixelLikelihood(likelihood, noise_std, binarize),
            LatentWeight(kl_weight, kl_warmup_epochs, kl_warmup_steps),
            num_importance_samples,
            PixelRange(pixel_mean, pixel_std, shape),
        )
        self.save_hyperparameters()
        self.example_input_array = torch.zeros(2, *shape)

    def sample(
        self, *, seed: int = 0, count: int = 64, latent: list[float] | None = None
    ) -> dict[str, Figure]:
        """Pictures of codes from the unit Gaussian.

        Args:
            seed: The same seed draws the same codes.
            count: Pictures, 1 to 400; a code that is given whole makes one.
            latent: The first numbers of the codes, which are then not drawn.

        Raises:
            ValueError: If an option is outside its range.
        """
        from .pictures.variational import samples

        given = list(latent or [])
        require(1 <= count <= 400, "count", "from 1 to 400", count)
        rule = f"at most {self.code_size} finite numbers"
        finite = bool(torch.tensor(given).isfinite().all())
        require(finite and len(given) <= self.code_size, "latent", rule, given)
        codes = self.draw_codes(1 if len(given) == self.code_size else count, seed)
        codes[:, : len(given)] = codes.new_tensor(given)
        return {"samples": samples(self, codes)}

    def snapshots(self) -> dict[str, Figure]:
        """What the decoder makes so far of 25 codes, the same ones each time."""
        from .pictures.variational import samples

        return {"samples": samples(self, self.draw_codes(25))}

    def figures(self) -> dict[str, Figure]:
        """What the decoder makes of codes, and what is said of the latest evaluation's pictures."""
        from .pictures.variational import figures  # matplotlib takes a while to import

        return figures(self, *(self._pictures or (None, None)))

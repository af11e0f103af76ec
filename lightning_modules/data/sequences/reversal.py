"""A made task for encoder and decoder: say a row of digits backwards.

The deck's many-to-many case (slides "Sequence Learning", "More RNN Structures") without any file:
all that is read must be remembered or looked up again before the first digit can be said.
"""

from __future__ import annotations

import numpy as np

from ..arguments import whole_number
from ..order import derive_seed
from .pairs import PairDataModule, Texts
from .subwords import SPECIALS

DIGITS = "0123456789"


class Reversal(PairDataModule):
    """Rows of random digits, each with the same row backwards.

    A row of the validation or the test may also be among those trained on when rows are short;
    of ten digits or more that hardly happens.

    Args:
        min_digits: Fewest digits of a row.
        max_digits: Most digits of a row.
        num_train_pairs: Rows to train on.
        num_held_out: Rows of the validation, and as many of the test.
        generator_seed: The rows are a function of the arguments above and this.
        batch_size: Training pairs per step and process.
    """

    name = "reverse"

    def __init__(
        self,
        min_digits: int = 3,
        max_digits: int = 12,
        num_train_pairs: int = 8000,
        num_held_out: int = 500,
        generator_seed: int = 0,
        batch_size: int = 64,
    ):
        super().__init__(batch_size, len(SPECIALS) + 1 + len(DIGITS))
        self.min_digits = whole_number("min_digits", min_digits, 1)
        self.max_digits = whole_number("max_digits", max_digits, min_digits)
        self.sizes = {
            "train": whole_number("num_train_pairs", num_train_pairs, 100),
            "val": whole_number("num_held_out", num_held_out, 1),
            "test": num_held_out,
        }
        self.generator_seed = whole_number("generator_seed", generator_seed, 0)

    def read(self, split: str) -> Texts:
        """Draw the rows of a split."""
        rng = np.random.default_rng(derive_seed("reverse", split, self.generator_seed))
        lengths = rng.integers(self.min_digits, self.max_digits + 1, self.sizes[split])
        rows = ["".join(map(str, rng.integers(0, 10, length))) for length in lengths]
        return rows, [row[::-1] for row in rows]

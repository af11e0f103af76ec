"""The adding problem: two marked numbers of a long sequence are to be added.

Hochreiter and Schmidhuber 1997, "Long Short-Term Memory", section 5.4; deck, slide "Long-Term
Dependencies Problem". Each step shows a number and whether it is marked. One mark stands in the
first half, one in the second, so the network must carry a number over a good part of the sequence
and let all others pass. Who always says 1 has a mean squared error of 1/6: the sum of two numbers
from 0 to 1 has that variance.

As Le, Jaitly and Hinton 2015 have it ("A Simple Way to Initialize Recurrent Networks of Rectified
Linear Units", section 4.1): numbers from 0 to 1 and their plain sum. In the paper of 1997 numbers
are from -1 to 1, the sum is scaled, lengths vary by a tenth and the ends are marked too.
N sequences, T time.
"""

from __future__ import annotations

import numpy as np
import torch

from ..arguments import drawn, whole_number
from ..samples import Samples, Splits
from ..tensors import TensorDataModule

GUESS = 1.0  # the best constant: the mean of the sums
GUESS_ERROR = 1 / 6  # its mean squared error


class Adding(TensorDataModule):
    """Sequences of (number, mark) pairs, and the sum of the two marked numbers.

    Args:
        length: T, at least 2.
        num_samples: Training sequences; a tenth as many more are held out for validation and
            again for the test.
        generator_seed: The sequences are a function of the arguments above and this.
        batch_size: Training samples per step and process.
        drop_last: Leave out the training samples that do not fill a batch.

    Raises:
        ValueError: An argument breaks its rule.
    """

    name = "adding"

    def __init__(
        self,
        length: int = 50,
        num_samples: int = 10_000,
        generator_seed: int = 0,
        batch_size: int = 100,
        drop_last: bool = False,
    ):
        self.length = whole_number("length", length, 2, 100_000)
        self.in_shape = (length, 2)
        super().__init__(batch_size, None, drop_last)
        self.num_samples, self.generator_seed = drawn(num_samples, generator_seed)

    def load(self) -> Splits:
        """Draw the sequences; they are not normalised."""
        rng, tenth = np.random.default_rng(self.generator_seed), self.num_samples // 10
        test, val, train = (
            adding_samples(rng, count, self.length) for count in (tenth, tenth, self.num_samples)
        )
        return Splits(train, val, test)


def adding_samples(rng: np.random.Generator, count: int, length: int) -> Samples:
    """Draw sequences of the adding problem.

    Args:
        rng: Where they come from.
        count: N.
        length: T, at least 2.

    Returns:
        Inputs (N, T, 2): at each step a number from 0 to 1 and its mark, 1 or 0; targets (N,), the
        sums of the marked numbers.
    """
    numbers = rng.random((count, length), np.float32)  # (N, T)
    marks = np.zeros_like(numbers)  # (N, T)
    rows, half = np.arange(count), length // 2
    marks[rows, rng.integers(0, half, count)] = 1
    marks[rows, rng.integers(half, length, count)] = 1
    inputs = torch.from_numpy(np.stack((numbers, marks), 2))  # (N, T, 2)
    return Samples(inputs, torch.from_numpy((numbers * marks).sum(1)))

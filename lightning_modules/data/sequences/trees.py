"""Nested expressions as flat trees: what is the value of sum(max(3, 7), min(sum(9, 4), 2))?

After ListOps (Nangia and Bowman 2018, "ListOps: A Diagnostic Dataset for Latent Tree Learning"):
minimum, maximum and sum modulo 10 of digits, nested. Ours have two arguments each, the trees are
given rather than to be found, and there is no median, which two numbers lack. With `modulus: 2` the
operators are and, or, exclusive or. The test's expressions are larger and deeper than all that is
trained on.

A tree of M nodes is four rows of M numbers: kind, left child, right child, height. Node 0 is the
root; children come after their parents; a leaf has height 0 and no children. N samples.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from ..arguments import drawn, whole_number
from ..order import derive_seed
from ..samples import Samples, Splits
from .tokens import TokenDataModule

KIND, LEFT, RIGHT, HEIGHT = range(4)  # rows of a tree
PADDING = 0  # kind of a node that is none
FIRST_DIGIT = 1  # kind of the digit 0
OPERATORS = ("min", "max", "sum")
MAX_LEAVES = 128  # 255 nodes: numbers of nodes are stored as bytes


class Expression(NamedTuple):
    """A nested expression: rows kind, left, right, height of its nodes, and its value."""

    rows: tuple[list[int], list[int], list[int], list[int]]
    value: int


class NestedExpressions(TokenDataModule):
    """Expressions of minimum, maximum and sum modulo m, each with its value as its class.

    Args:
        modulus: m, the number of digits and of classes.
        max_leaves: Most digits in an expression of training and validation; at least 2.
        test_leaves: Most digits in an expression of the test, which has more than `max_leaves`.
        num_samples: Expressions to train on; a tenth as many for the validation, and again for the
            test.
        generator_seed: The expressions are a function of the arguments above and this.
        batch_size: Training samples per step and process.
        drop_last: Leave out the training samples that do not fill a batch.

    Raises:
        ValueError: An argument breaks its rule.
    """

    name = "nested-expressions"

    def __init__(
        self,
        modulus: int = 10,
        max_leaves: int = 8,
        test_leaves: int = 24,
        num_samples: int = 20_000,
        generator_seed: int = 0,
        batch_size: int = 64,
        drop_last: bool = False,
    ):
        self.modulus = whole_number("modulus", modulus, 2, 100)
        self.max_leaves = whole_number("max_leaves", max_leaves, 2, MAX_LEAVES - 1)
        self.test_leaves = whole_number("test_leaves", test_leaves, max_leaves + 1, MAX_LEAVES)
        self.num_samples, self.generator_seed = drawn(num_samples, generator_seed)
        self.class_names = tuple(map(str, range(modulus)))
        self.in_shape = (4, 2 * test_leaves - 1)
        super().__init__(batch_size, drop_last)

    @property
    def vocab_size(self) -> int:
        """Kinds of a node: none, the digits and the operators."""
        return FIRST_DIGIT + self.modulus + len(OPERATORS)

    def load(self) -> Splits:
        """Draw the expressions."""
        tenth, few, many = self.num_samples // 10, self.max_leaves, self.test_leaves
        train = self._draw("train", self.num_samples, (2, few))
        val, test = self._draw("val", tenth, (2, few)), self._draw("test", tenth, (few + 1, many))
        return Splits(train, val, test)

    def _draw(self, split: str, count: int, leaves: tuple[int, int]) -> Samples:
        seed = derive_seed("nested-expressions", split, self.generator_seed)
        return _samples(seed, count, leaves, self.modulus, self.in_shape[1])


@lru_cache(maxsize=6)  # the trials of a sweep that share a process draw them once
def _samples(
    seed: int, count: int, leaves: tuple[int, int], modulus: int, num_nodes: int
) -> Samples:
    """Expressions (N, 4, M) uint8 with as many leaves as the range says, and values (N,)."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(leaves[0], leaves[1] + 1, count).tolist()
    trees, values = np.zeros((count, 4, num_nodes), np.uint8), np.empty(count, np.int64)
    for number, size in enumerate(sizes):
        expression = draw_expression(rng, size, modulus)
        trees[number, :, : 2 * size - 1] = expression.rows
        values[number] = expression.value
    return Samples(torch.from_numpy(trees), torch.from_numpy(values))


def draw_expression(rng: np.random.Generator, num_leaves: int, modulus: int) -> Expression:
    """An expression with so many digits; operators, digits and splits are drawn evenly.

    Args:
        rng: Where it comes from.
        num_leaves: At least 1.
        modulus: m.
    """
    kind, left, right, height = rows = ([], [], [], [])

    def add(leaves: int) -> tuple[int, int]:
        """Append a subtree; its root's place and its value."""
        place = len(kind)
        for row in rows:
            row.append(0)
        if leaves == 1:
            digit = int(rng.integers(modulus))
            kind[place] = FIRST_DIGIT + digit
            return place, digit
        operator, share = int(rng.integers(len(OPERATORS))), int(rng.integers(1, leaves))
        kind[place] = FIRST_DIGIT + modulus + operator
        (left[place], a), (right[place], b) = add(share), add(leaves - share)
        height[place] = 1 + max(height[left[place]], height[right[place]])
        return place, (min(a, b), max(a, b), (a + b) % modulus)[operator]

    _, value = add(num_leaves)
    return Expression(rows, value)


def written(tree: torch.Tensor, modulus: int, place: int = 0) -> str:
    """An expression as one writes it: `sum(3, max(1, 2))`.

    Args:
        tree: (4, M) whole numbers.
        modulus: m.
        place: Root of the subtree to write.
    """
    kind = int(tree[KIND, place]) - FIRST_DIGIT
    if kind < modulus:
        return str(kind)
    sides = (written(tree, modulus, int(tree[side, place])) for side in (LEFT, RIGHT))
    return f"{OPERATORS[kind - modulus]}({', '.join(sides)})"

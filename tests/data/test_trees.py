"""Nested expressions: their values, their shape as flat trees, their splits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from paceline.lightning_modules.data.sequences.trees import (
    HEIGHT,
    KIND,
    LEFT,
    RIGHT,
    NestedExpressions,
    draw_expression,
    written,
)


def evaluated(text: str, modulus: int) -> int:
    """The value of an expression as Python reads it."""
    names = {"min": min, "max": max, "sum": lambda a, b: (a + b) % modulus}
    return eval(text, {"__builtins__": {}}, names)


@pytest.mark.parametrize("modulus", [2, 10])
def test_a_value_is_what_python_makes_of_the_written_expression(modulus):
    rng = np.random.default_rng(0)
    for leaves in [1, 2, 3, 8, 20] * 5:
        expression = draw_expression(rng, leaves, modulus)
        text = written(torch.tensor(expression.rows), modulus)
        assert expression.value == evaluated(text, modulus)
        assert len(expression.rows[KIND]) == 2 * leaves - 1


def test_children_come_after_parents_and_heights_grow_by_one():
    rows = np.array(draw_expression(np.random.default_rng(1), 15, 10).rows)
    inner = np.flatnonzero(rows[HEIGHT] > 0)
    assert len(inner) == 14
    for node in inner:
        left, right = rows[LEFT, node], rows[RIGHT, node]
        assert node < left < right
        assert rows[HEIGHT, node] == 1 + max(rows[HEIGHT, left], rows[HEIGHT, right])
    assert sorted([*rows[LEFT, inner], *rows[RIGHT, inner]]) == list(range(1, 29))


def test_the_test_has_larger_and_deeper_trees_than_any_that_is_trained_on():
    data = NestedExpressions(num_samples=500, max_leaves=4, test_leaves=12)
    train, test = data.splits.train.inputs, data.splits.test.inputs
    assert train.shape == (500, 4, 23)
    assert (train[:, KIND] > 0).sum(1).max() == 7
    assert (test[:, KIND] > 0).sum(1).min() == 9
    assert test[:, HEIGHT, 0].max() > train[:, HEIGHT, 0].max() == 3
    assert train[:, KIND].max() < data.vocab_size == 14
    assert len(data.splits.val) == len(data.splits.test) == 50
    (batch, _), *_ = data.train_dataloader()
    assert batch.dtype == torch.int64


def test_expressions_are_a_function_of_their_arguments():
    small = {"num_samples": 50}
    assert NestedExpressions(**small).digest == NestedExpressions(**small, batch_size=7).digest
    assert NestedExpressions(**small).digest != NestedExpressions(**small, generator_seed=1).digest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"modulus": 1}, "`modulus` must be a whole number of at least 2"),
        ({"max_leaves": 1}, "`max_leaves` must be a whole number of at least 2"),
        ({"test_leaves": 8}, "`test_leaves` must be a whole number of at least 9"),
        ({"test_leaves": 129}, "at most 128, but is 129"),
    ],
)
def test_a_wrong_argument_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        NestedExpressions(**arguments)

from __future__ import annotations

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from paceline.lightning_modules.data.sequences.trees import NestedExpressions
from paceline.lightning_modules.recursive import RecursiveClassifier, RecursiveNetwork

SMALL = {"vocab_size": 14, "num_classes": 10, "in_shape": [4, 15], "hidden_size": 6}


def silent(**arguments) -> pl.Trainer:
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "logger": False}
    return pl.Trainer(accelerator="cpu", enable_model_summary=False, **quiet, **arguments)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def naive(network: RecursiveNetwork, tree: np.ndarray, node: int = 0) -> tuple[np.ndarray, ...]:
    """The state of one node by plain recursion: h, and c where the cell is an LSTM."""
    kind, left, right, height = tree[:, node]
    weight = {name: p.detach().numpy() for name, p in network.named_parameters()}
    total = weight["cell.node.weight"] @ weight["embedding.weight"][kind] + weight["cell.node.bias"]
    children = [naive(network, tree, side) for side in (left, right)] if height else []
    if children:
        total = total + weight["cell.children_map.weight"] @ np.concatenate(
            [child[0] for child in children]
        )
    if network.cell.num_states == 1:
        return (np.tanh(total),)
    i, forget_left, forget_right, o, u = np.split(total, 5)
    c = sigmoid(i) * np.tanh(u)
    for forget, child in zip((forget_left, forget_right), children, strict=False):
        c = c + sigmoid(forget) * child[1]
    return sigmoid(o) * np.tanh(c), c


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_batched_levels_agree_with_naive_recursion(cell):
    torch.manual_seed(0)
    data = NestedExpressions(num_samples=100, max_leaves=8, test_leaves=14)
    trees = data.splits.test.inputs[:10].long()
    network = RecursiveNetwork(14, 10, hidden_size=6, cell=cell).double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    expected = np.stack([naive(network, tree)[0] for tree in trees.numpy()])
    found = network.root_states(trees).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-12)
    alone = torch.cat([network(tree[None]) for tree in trees])
    torch.testing.assert_close(network(trees), alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_the_exported_network_gives_the_same_scores(cell):
    torch.manual_seed(0)
    data = NestedExpressions(num_samples=100, max_leaves=6, test_leaves=8)
    trees = data.splits.test.inputs[:6].long()
    model = RecursiveClassifier(**SMALL, cell=cell).eval()
    batch = {0: torch.export.Dim("batch", min=2)}
    exported = torch.export.export(model.network, (trees[:3],), dynamic_shapes=(batch,)).module()
    torch.testing.assert_close(exported(trees), model(trees), rtol=0, atol=1e-6)


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_gradient_runs_through_the_structure(cell):
    data = NestedExpressions(num_samples=20, max_leaves=4, test_leaves=6)
    trees = data.splits.train.inputs[:2].long()
    network = RecursiveNetwork(14, 3, hidden_size=3, cell=cell).double()
    parameters = tuple(network.cell.parameters())

    def scores(*_):
        return network(trees)

    assert torch.autograd.gradcheck(scores, parameters)


def test_leaves_and_trees_of_padding_have_a_row_too():
    model = RecursiveClassifier(**SMALL)
    trees = torch.zeros(3, 4, 15, dtype=torch.long)
    trees[0, 0, 0] = 5
    assert model(trees).shape == (3, 10)
    assert torch.equal(model(trees)[1], model(trees)[2])


def test_which_side_an_argument_stands_on_can_be_told():
    torch.manual_seed(0)
    trees = torch.tensor([[[11, 3, 7], [1, 0, 0], [2, 0, 0], [1, 0, 0]]])
    swapped = torch.tensor([[[11, 7, 3], [1, 0, 0], [2, 0, 0], [1, 0, 0]]])
    model = RecursiveClassifier(**SMALL)
    assert not torch.allclose(model(trees), model(swapped))


def test_boolean_expressions_are_learned_and_larger_ones_too():
    pl.seed_everything(1, verbose=False)
    sizes = {"modulus": 2, "max_leaves": 5, "test_leaves": 10, "num_samples": 3000}
    data = NestedExpressions(**sizes, batch_size=100)
    shape = list(data.in_shape)
    model = RecursiveClassifier(data.vocab_size, 2, shape, hidden_size=24)
    model.configure_optimizers = lambda: torch.optim.Adam(model.parameters(), lr=1e-2)
    trainer = silent(max_epochs=8, num_sanity_val_steps=0)
    trainer.fit(model, data)
    assert trainer.callback_metrics["val/accuracy"] > 0.97
    (found,) = trainer.test(model, data, verbose=False)
    assert found["test/accuracy"] > 0.9  # the more frequent class has less than 0.6
    share = torch.bincount(data.splits.test.targets).max() / len(data.splits.test)
    assert share < 0.6
    bars = model.figures()["accuracy_by_height"].axes[0].patches
    assert len(bars) >= 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vocab_size": None}, "`vocab_size` must be a whole number of at least 2, but is None."),
        ({"in_shape": [3, 15]}, "`in_shape` must be [4, nodes of the largest tree], but is "),
        ({"cell": "gru"}, "`cell` must be one of rnn, lstm, but is 'gru'."),
        ({"hidden_size": 0}, "`hidden_size` must be at least 1, but is 0."),
        ({"dropout": 1.0}, "`dropout` must be in [0, 1), but is 1.0."),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match="must be") as caught:
        RecursiveClassifier(**{**SMALL, **arguments})
    assert str(caught.value).startswith(message)

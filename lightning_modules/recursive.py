"""Recursive networks: one composition, applied at every node of a tree from the leaves up.

Deck, recap "Zooming In", connectivity pattern "Recursive". Goller and Kuechler 1996, "Learning
Task-Dependent Distributed Representations by Backpropagation Through Structure"; after Pollack
1990, "Recursive Distributed Representations"; Socher et al. 2011, 2013 for language. The gradient
runs down the tree as it runs back in time in a recurrent network, which is the tree that is a line.
The cells: `rnn`, tanh of a linear map of both children, and `lstm`, the binary Tree-LSTM of Tai et
al. 2015, "Improved Semantic Representations From Tree-Structured Long Short-Term Memory Networks",
section 3.2. All nodes of one height over the whole batch are computed in one call.
B batch, M nodes, P real nodes of the batch, V kinds of nodes, H units, K classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from .blocks.checks import require, require_one_of
from .blocks.initializers import WeightInit, init_weights
from .blocks.layers import LayerStyle
from .classifier import Classifier
from .data.sequences.trees import HEIGHT, PADDING
from .shapes import require_num_classes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TreeCell = Literal["rnn", "lstm"]


class TreeRNNCell(nn.Module):
    """h = tanh(W x + U_l h_l + U_r h_r + b); at a leaf both children are zero.

    Args:
        hidden_size: H, of x too.
        weight_init: How weights start; biases start at zero.
        weight_init_std: Standard deviation of `normal`.
    """

    num_states = 1

    def __init__(self, hidden_size: int, weight_init: WeightInit, weight_init_std: float):
        super().__init__()
        self.size = hidden_size
        self.node = nn.Linear(hidden_size, hidden_size)
        self.children_map = nn.Linear(2 * hidden_size, hidden_size, bias=False)
        for layer in (self.node, self.children_map):
            init_weights(layer, weight_init, std=weight_init_std)

    def forward(self, x: Tensor, left: Tensor | None, right: Tensor | None) -> Tensor:
        """Compose nodes x (P, H) and their children's states (P, H) into states (P, H)."""
        total = self.node(x)
        if left is not None and right is not None:
            total = total + self.children_map(torch.cat((left, right), 1))
        return total.tanh()


class TreeLSTMCell(nn.Module):
    """The binary Tree-LSTM: one forget gate for each child, equations 9 to 14 with N = 2.

    A state holds h and the memory c side by side.

    Args:
        hidden_size: H, of x too.
        weight_init: How each gate's weights start; biases start at zero, of forget gates at 1.
        weight_init_std: Standard deviation of `normal`.
    """

    num_states = 2
    num_gates = 5  # input, forget left, forget right, output, update

    def __init__(self, hidden_size: int, weight_init: WeightInit, weight_init_std: float):
        super().__init__()
        self.size = hidden_size
        self.node = nn.Linear(hidden_size, self.num_gates * hidden_size)
        self.children_map = nn.Linear(2 * hidden_size, self.num_gates * hidden_size, bias=False)
        for layer in (self.node, self.children_map):
            _start_gates(layer, self.num_gates, weight_init, weight_init_std)
        with torch.no_grad():
            self.node.bias[hidden_size : 3 * hidden_size] = 1.0

    def forward(self, x: Tensor, left: Tensor | None, right: Tensor | None) -> Tensor:
        """Compose nodes x (P, H) and their children's states (P, 2 H) into states (P, 2 H)."""
        gates = self.node(x)  # (P, 5 H)
        if left is None or right is None:
            i, _, _, o, u = gates.chunk(5, 1)
            c = i.sigmoid() * u.tanh()
        else:
            (h_left, c_left), (h_right, c_right) = left.chunk(2, 1), right.chunk(2, 1)
            gates = gates + self.children_map(torch.cat((h_left, h_right), 1))
            i, f_left, f_right, o, u = gates.chunk(5, 1)
            c = i.sigmoid() * u.tanh() + f_left.sigmoid() * c_left + f_right.sigmoid() * c_right
        return torch.cat((o.sigmoid() * c.tanh(), c), 1)


@torch.no_grad()
def _start_gates(layer: nn.Linear, num_gates: int, weight_init: WeightInit, std: float) -> None:
    for rows in layer.weight.chunk(num_gates):
        gate = nn.Linear(rows.shape[1], rows.shape[0], bias=False)
        init_weights(gate, weight_init, std=std)
        rows.copy_(gate.weight)
    if layer.bias is not None:
        layer.bias.zero_()


CELLS: dict[str, type[TreeRNNCell] | type[TreeLSTMCell]] = {
    "rnn": TreeRNNCell,
    "lstm": TreeLSTMCell,
}


class RecursiveNetwork(nn.Module):
    """Embeds the nodes' kinds, composes them up to the root, and scores the root's state.

    Args:
        num_kinds: V; kind 0 pads.
        num_classes: K.
        hidden_size: H.
        cell: `rnn` or `lstm`.
        dropout: Share of the root's state silenced while training, in [0, 1).
        weight_init: How weights start; embeddings start as N(0, 1).
        weight_init_std: Standard deviation of `normal`.
    """

    def __init__(
        self,
        num_kinds: int,
        num_classes: int,
        hidden_size: int = 128,
        cell: TreeCell = "lstm",
        dropout: float = 0.0,
        weight_init: WeightInit = "xavier",
        weight_init_std: float = 0.01,
    ):
        super().__init__()
        self.embedding = nn.Embedding(num_kinds, hidden_size, padding_idx=PADDING)
        self.cell = CELLS[cell](hidden_size, weight_init, weight_init_std)
        self.dropout = nn.Dropout(dropout)
        style = LayerStyle("tanh", 2, False, weight_init, weight_init_std)
        self.scores = style.scores(hidden_size, num_classes)

    def root_states(self, trees: Tensor) -> Tensor:
        """Map trees (B, 4, M), int64, to the states h of their roots, (B, H)."""
        if torch.compiler.is_exporting():
            return self.root_states_of_all_levels(trees)
        kind, left, right, height = trees.unbind(1)  # (B, M) each
        num_trees, num_nodes = kind.shape
        # Every tree has a root, even one of padding: outputs have a row for each.
        real = (kind != PADDING) | (torch.arange(num_nodes, device=kind.device) == 0)
        nodes = real.flatten().nonzero().squeeze(1)  # (P,), places in (B M,)
        levels = height.flatten()[nodes]  # (P,)
        nodes = nodes[levels.argsort(stable=True)]  # from the leaves up
        place = nodes.new_zeros(num_trees * num_nodes)
        place[nodes] = torch.arange(len(nodes), device=nodes.device)  # where each node is computed
        start = nodes - nodes % num_nodes  # of the tree that a node belongs to
        left, right = (place[start + side.flatten()[nodes]] for side in (left, right))
        x = self.embedding(kind.flatten()[nodes])  # (P, H)
        states, first = x.new_empty(0, self.cell.num_states * self.cell.size), 0
        for level, count in enumerate(levels.bincount().tolist()):
            of = slice(first, first + count)
            children = (states[left[of]], states[right[of]]) if level else (None, None)
            states = torch.cat((states, self.cell(x[of], *children)))
            first += count
        return states[place[::num_nodes], : self.cell.size]

    def root_states_of_all_levels(self, trees: Tensor) -> Tensor:
        """The same at many times the cost: all nodes at each height that M nodes can have.

        A graph that is exported must not hang on how many nodes of a height there are.
        """
        kind, left, right, height = trees.unbind(1)  # (B, M) each
        x = self.embedding(kind)  # (B, M, H)
        size = self.cell.num_states * self.cell.size
        states = x.new_zeros(*kind.shape, size)  # (B, M, size): children of leaves count as zeros
        sides = [side.unsqueeze(2).expand(-1, -1, size) for side in (left, right)]
        for level in range((kind.shape[1] + 1) // 2):
            zero_at_leaves = [
                torch.where(height.unsqueeze(2) > 0, states.gather(1, side), 0.0).flatten(0, 1)
                for side in sides
            ]  # (B M, size) each
            new = self.cell(x.flatten(0, 1), *zero_at_leaves).view(states.shape)  # (B, M, size)
            states = torch.where(height.unsqueeze(2) == level, new, states)
        return states[:, 0, : self.cell.size]

    def forward(self, trees: Tensor) -> Tensor:
        """Map trees (B, 4, M), int64, to scores (B, K)."""
        return self.scores(self.dropout(self.root_states(trees)))


class RecursiveClassifier(Classifier):
    """A recursive network under the rule of `Classifier`.

    Args:
        vocab_size: V, kinds of nodes; default: that of the data.
        num_classes: K; default: that of the data.
        in_shape: (4, M): kind, left child, right child and height of each node, the root first;
            default: that of the data.
        hidden_size: H.
        cell: `rnn` or `lstm`.
        dropout: Share of the root's state silenced while training, in [0, 1).
        weight_init: How weights start.
        weight_init_std: Standard deviation of `normal`.
        **objective: See `Classifier`.

    Raises:
        ValueError: If an argument is outside its range.
    """

    def __init__(
        self,
        vocab_size: int | None = None,
        num_classes: int | None = None,
        in_shape: list[int] | None = None,
        hidden_size: int = 128,
        cell: TreeCell = "lstm",
        dropout: float = 0.0,
        weight_init: WeightInit = "xavier",
        weight_init_std: float = 0.01,
        **objective: Any,
    ):
        remedy = "give it, or run the model with a data module of trees"
        known = vocab_size is not None and vocab_size >= 2
        require(known, "vocab_size", "a whole number of at least 2", vocab_size, remedy)
        shape = list(in_shape or ())
        known = len(shape) == 2 and shape[0] == 4 and shape[1] >= 1
        require(known, "in_shape", "[4, nodes of the largest tree]", in_shape, remedy)
        require(hidden_size >= 1, "hidden_size", "at least 1", hidden_size)
        require_one_of("cell", cell, CELLS)
        require(0 <= dropout < 1, "dropout", "in [0, 1)", dropout)
        classes = require_num_classes(num_classes)
        network = RecursiveNetwork(
            vocab_size or 0, classes, hidden_size, cell, dropout, weight_init, weight_init_std
        )
        example = torch.zeros(2, *shape, dtype=torch.long)
        example[:, 0, 0] = 1  # a leaf is a tree
        super().__init__(network, classes, example, **objective)
        self.save_hyperparameters()

    def figures(self) -> dict[str, Figure]:
        """`confusion_matrix`; `accuracy_by_height`, of the latest evaluation's first batch."""
        from .pictures import outcomes as draw  # matplotlib takes a while to import
        from .pictures.trees import accuracy_by_height

        figures: dict[str, Figure] = {}
        counts = self._evaluation.confusion.view(self._evaluation.shape).cpu()
        if counts.any():
            figures["confusion_matrix"] = draw.confusion_matrix(counts.numpy(), self.class_names)
        if self._examples is not None:
            trees, labels = (part.to(self.device) for part in self._examples)
            was_training = self.network.training
            with torch.no_grad():
                right = self.network.eval()(trees).argmax(1) == labels  # (B,)
            self.network.train(was_training)
            height = trees[:, HEIGHT, 0].cpu().numpy()
            figures["accuracy_by_height"] = accuracy_by_height(height, right.cpu().numpy())
        return figures

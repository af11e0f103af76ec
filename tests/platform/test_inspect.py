"""`paceline inspect`: shapes, parameters and multiply-adds against torch's own counters."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from paceline.platform.catalog import entries
from paceline.platform.commands.inspect_command import inspect_config
from paceline.platform.configuration.config import load
from paceline.platform.examining.inspection import inspect, one_example
from paceline.platform.training.building import build
from torch import nn
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import FlopCounterMode

THEIRS = '''
import torch
from pytorch_lightning import LightningModule
from torch import nn


class Mixed(LightningModule):
    """Layers whose multiply-adds torch counts, a product of its own, and a shared weight."""

    def __init__(self, width: int = 6):
        super().__init__()
        self.rnn = nn.LSTM(5, 7, num_layers=2, batch_first=True)
        self.up = nn.ConvTranspose1d(7, 4, 4, stride=2, groups=1)
        self.mix = nn.MultiheadAttention(4, 2, batch_first=True)
        self.encode, self.decode = nn.Linear(4, width), nn.Linear(4, width)
        self.decode.weight = self.encode.weight
        self.idle = nn.Linear(3, 2)
        self.scale = nn.Parameter(torch.ones(width, 3))
        self.example_input_array = torch.zeros(2, 9, 5)

    def forward(self, x):
        x = self.up(self.rnn(x)[0].transpose(1, 2)).transpose(1, 2)
        x = self.mix(x, x, x)[0]
        return (self.encode(x) + self.decode(x)) @ self.scale


class Reads(Mixed):
    """Needs numbers where it is made."""

    def __init__(self):
        super().__init__(width=int(torch.tensor([6.0]).sum().item()))


class Blind(LightningModule):
    """Has nothing to be called with."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)
'''


@pytest.fixture
def theirs(run_command, monkeypatch: pytest.MonkeyPatch) -> str:
    """A third party's module, in the folder that the command is called from."""
    Path("mixed.py").write_text(THEIRS)
    Path("mixed.yaml").write_text("model: mixed.Mixed\n")
    monkeypatch.delitem(sys.modules, "mixed", raising=False)
    return "mixed.yaml"


def macs_of_torch(model: nn.Module, example) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(*example[0], **example[1])
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("recipe", sorted(entries("recipes")))
def test_the_decks_formulas_count_what_torch_counts(recipe: str, if_extras_allow):
    config = load(recipe)
    with if_extras_allow():
        model = build(config).model
    if getattr(model, "example_input_array", None) is None:
        pytest.skip(f"{recipe} has no example to be called with")
    built, found, device = inspect_config(config)
    model = built.model
    # The very example: how long a decoder writes may hang on it.
    example = tree_map(lambda x: x.to(device), one_example(model))
    assert found.totals["macs"] == macs_of_torch(model, example)
    assert found.totals["parameters"] == sum(p.numel() for p in model.parameters())


def test_convolutions_cost_the_filters_size_times_both_depths_times_the_positions():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 8, (5, 3), stride=2, padding=1)
            self.grouped = nn.Conv2d(8, 6, 3, groups=2, bias=False)
            self.act = nn.ReLU(inplace=True)
            self.up = nn.ConvTranspose2d(6, 4, 2, stride=2)

        def forward(self, x):
            return self.up(self.act(self.grouped(self.first(x))))

    found = inspect(Net(), ((torch.zeros(1, 3, 11, 9),), {}))
    first, grouped, act, up = found.layers
    assert first.output_shape == [8, 5, 5]
    assert first.parameters == 5 * 3 * 3 * 8 + 8
    assert first.macs == 5 * 3 * 3 * 8 * (5 * 5)
    assert first.formula == "(5 x 3) x 3 x 8 x (5 x 5)"
    assert (grouped.parameters, grouped.macs) == (3 * 3 * 4 * 6, 3 * 3 * 4 * 6 * (3 * 3))
    assert (up.parameters, up.macs) == (2 * 2 * 6 * 4 + 4, 2 * 2 * 6 * 4 * (3 * 3))
    assert first.activation_bytes == 4 * 8 * 5 * 5
    assert act.activation_bytes == 0  # it works in its input's memory
    assert found.macs_elsewhere == 0


def test_a_layer_that_is_called_twice_costs_twice_and_its_parameters_count_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return self.layer(self.layer(x))

    (layer,) = inspect(Twice(), ((torch.zeros(1, 4),), {})).layers
    assert (layer.calls, layer.macs, layer.parameters) == (2, 32, 20)


@pytest.mark.parametrize(("model", "device"), [("mixed.Mixed", "meta"), ("mixed.Reads", "cpu")])
def test_any_partys_module_is_inspected_without_its_numbers_where_it_can_be(
    run_command, theirs: str, model: str, device: str
):
    answer = run_command("inspect", theirs, "--model", model, "--json").json
    assert answer["computed_on"] == device
    layers = {layer["name"]: layer for layer in answer["layers"]}
    # 4 gates x 7 units, from 5 inputs or the 7 below, and from themselves, 9 steps long.
    assert layers["rnn"]["macs"] == (4 * 7 * (5 + 7) + 4 * 7 * (7 + 7)) * 9
    assert layers["up"]["macs"] == 7 * 4 * 4 * 9
    steps = 20  # (9 - 1) * 2 + 4
    projections, products = steps * 4 * (3 * 4 + 4), 2 * steps * steps * 4
    assert layers["mix"]["macs"] == projections + products
    assert (layers["encode"]["parameters"], layers["decode"]["parameters"]) == (30, 6)
    assert layers["idle"]["calls"] == 0
    assert layers["(itself)"]["macs"] == steps * 6 * 3
    assert answer["macs_elsewhere"] == 0
    assert answer["totals"]["macs"] == sum(layer["macs"] for layer in answer["layers"])


def test_the_table_ends_with_totals_and_tells_a_batchs_memory(run_command):
    answer = run_command("inspect", "mlp", "--model.hidden_sizes", "[32]", "--data.batch_size", 10)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0] == "mlp: MLP, one example of shape 1 x 8 x 8"
    assert any(line.split()[:3] == ["network.1", "Linear", "32"] for line in lines)
    (total,) = (line for line in lines if line.startswith("total"))
    assert total.split()[1:3] == [f"{64 * 32 + 32 + 32 * 10 + 10:,}", f"{64 * 32 + 32 * 10:,}"]
    assert "2.96 kB for a batch of 10" in answer.out  # 32 + 32 + 10 floats each


def test_large_networks_cost_no_memory(run_command):
    answer = run_command("inspect", "mlp", "--model.hidden_sizes", "[1000000, 1000000]", "--json")
    assert answer.json["totals"]["parameters"] == 64 * 10**6 + 10**12 + 10**7 + 2 * 10**6 + 10
    assert answer.json["computed_on"] == "meta"  # it would take 4 TB


def test_a_module_without_an_example_and_a_wrong_argument_are_one_message(run_command, theirs: str):
    answer = run_command("inspect", theirs, "--model", "mixed.Blind")
    assert answer.code == 2
    assert "`Blind.example_input_array` must be a batch" in answer.err
    wrong = run_command("inspect", "cnn-fashion-mnist", "--model.kernel_size", 4)
    assert wrong.code == 2
    assert "`kernel_size` must be odd, but is 4" in wrong.err
    assert wrong.out == ""

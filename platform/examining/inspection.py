"""What each layer of a network gives, holds and costs, found by calling it once.

The deck asks it of a convolution (slide "Generalizing Convolutions"): parameters are
(filter width x filter height) x input depth x output depth, and a bias for each output; the cost is
the product without biases times the positions that the filter is applied to. A linear map is a
filter as large as its input. What other layers multiply is counted by torch where it happens.
Activations, batch norm and pooling multiply no matrices: their few operations are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import FlopCounterMode

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_WITH_FORMULA = (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear, nn.RNNBase)
_ROOT = "(itself)"
Example = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass
class Layer:
    """One layer, for one example.

    Args:
        name: Its dotted name in the module.
        kind: Its class.
        output_shape: Shape of what it gives, without the batch; None where it was not called.
        parameters: Numbers that it learns; those that it shares are counted where they come first.
        macs: Multiply-adds of its matrix products and convolutions.
        activation_bytes: Memory of what it gives; 0 where that lies in its input's memory.
        formula: The deck's product behind `macs`, where it has one.
        calls: How often it was called.
    """

    name: str
    kind: str
    output_shape: list[int] | None = None
    parameters: int = 0
    macs: int = 0
    activation_bytes: int = 0
    formula: str = ""
    calls: int = 0


@dataclass
class Inspection:
    """All layers of a network in the order of their calls, and at the end those not called.

    Args:
        layers: Modules without parts, and those with parameters of their own.
        input_shape: Shape of the example without the batch; of several inputs, of the first.
        macs_elsewhere: Multiply-adds that torch counted outside all of these layers.
        parameter_bytes: Memory of the parameters.
    """

    layers: list[Layer]
    input_shape: list[int]
    macs_elsewhere: int = 0
    parameter_bytes: int = 0
    totals: dict[str, int] = field(init=False)

    def __post_init__(self):
        """Add up."""
        keys = ("parameters", "macs", "activation_bytes")
        self.totals = {key: sum(getattr(layer, key) for layer in self.layers) for key in keys}
        self.totals["macs"] += self.macs_elsewhere
        self.totals["parameter_bytes"] = self.parameter_bytes

    def as_dict(self) -> dict[str, Any]:
        """The part of `--json` that tells of the layers."""
        fields = asdict(self)
        fields.pop("parameter_bytes")
        return fields


def one_example(model: nn.Module) -> Example | None:
    """Arguments of the module for one example, from `example_input_array`; None without it."""
    given = getattr(model, "example_input_array", None)
    if given is None:
        return None
    one = tree_map(lambda part: part[:1] if isinstance(part, Tensor) else part, given)
    if isinstance(one, dict):
        return (), one
    return (one if isinstance(one, tuple) else (one,)), {}


@torch.no_grad()
def inspect(model: nn.Module, example: Example) -> Inspection:
    """Call a network once in evaluation mode and tell what each layer gave and cost.

    Args:
        model: The network; it may be on the meta device, where nothing is computed.
        example: Arguments for one example, on the network's device.
    """
    layers = _layers(model)
    called: list[Layer] = []
    handles = [m.register_forward_hook(_notes(layer, called)) for m, layer in layers.items()]
    counter = FlopCounterMode(display=False)
    try:
        with counter:
            model.eval()(*example[0], **example[1])
    finally:
        for handle in handles:
            handle.remove()
    counts = _macs_by_module(counter, type(model).__name__)
    elsewhere = counter.get_total_flops() // 2
    for module, layer in layers.items():
        prefix = "" if layer.name == _ROOT else f"{layer.name}."
        parts = (f"{prefix}{name}" for name, _ in module.named_children())
        own = counts.get(layer.name, 0) - sum(counts.get(part, 0) for part in parts)
        elsewhere -= own
        if not isinstance(module, _WITH_FORMULA):
            layer.macs = own
    idle = [layer for layer in layers.values() if not layer.calls and layer.parameters]
    tensors = [part for part in tree_leaves(example) if isinstance(part, Tensor)]
    memory = sum(p.numel() * p.element_size() for p in model.parameters())
    return Inspection(called + idle, list(tensors[0].shape[1:]), elsewhere, memory)


def _layers(model: nn.Module) -> dict[nn.Module, Layer]:
    """A row for each module without parts and each with parameters of its own."""
    layers, counted = {}, set[int]()
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        if any(True for _ in module.children()) and not own:
            continue
        size = sum(p.numel() for p in own if id(p) not in counted)
        counted.update(map(id, own))
        layers[module] = Layer(name or _ROOT, type(module).__name__, parameters=size)
    return layers


def _notes(layer: Layer, called: list[Layer]) -> Any:
    """A hook that writes into a row what its layer gave, and the row into `called`."""

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        given = {t.untyped_storage()._cdata for t in tree_leaves(inputs) if isinstance(t, Tensor)}
        tensors = [part for part in tree_leaves(output) if isinstance(part, Tensor)]
        new = [t for t in tensors if t.untyped_storage()._cdata not in given]
        if not layer.calls:
            called.append(layer)
        layer.calls += 1
        layer.output_shape = list(tensors[0].shape[1:]) if tensors else None
        layer.activation_bytes += sum(t.numel() * t.element_size() for t in new)
        factors = list(_factors(module, inputs, output))
        if factors:
            layer.macs += math.prod(math.prod(part) for part in factors)
            layer.formula = " x ".join(map(_product, factors))

    return note


def _factors(module: nn.Module, inputs: Any, output: Any) -> Iterator[tuple[int, ...]]:
    """The deck's product for a convolution or a linear map: filter, depths, positions."""
    if isinstance(module, _CONVOLUTIONS):
        yield tuple(module.kernel_size)
        yield (module.in_channels // module.groups,)
        yield (module.out_channels,)
        yield tuple(output.shape[2:])
    elif isinstance(module, _TRANSPOSED):
        yield tuple(module.kernel_size)
        yield (module.in_channels,)
        yield (module.out_channels // module.groups,)
        yield tuple(inputs[0].shape[2:])
    elif isinstance(module, nn.Linear):
        yield (module.in_features,)
        yield (module.out_features,)
        if output.ndim > 2:
            yield tuple(output.shape[1:-1])
    elif isinstance(module, nn.RNNBase):  # torch may do it in one operation that it cannot count
        weights = (p for name, p in module.named_parameters() if name.startswith("weight"))
        yield (sum(weight.numel() for weight in weights),)
        x = inputs[0]
        yield (x.shape[int(module.batch_first)] if x.ndim == 3 else x.shape[0],)


def _product(factors: tuple[int, ...]) -> str:
    text = " x ".join(map(str, factors))
    return f"({text})" if len(factors) > 1 else text


def _macs_by_module(counter: FlopCounterMode, root: str) -> dict[str, int]:
    """Dotted name -> multiply-adds inside it; torch counts each of them as two operations."""
    counts = counter.get_flop_counts()
    found = {}
    for name, operations in counts.items():
        name = _ROOT if name == root else name.removeprefix(f"{root}.")
        found[name] = sum(operations.values()) // 2
    return found

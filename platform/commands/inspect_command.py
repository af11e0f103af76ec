"""`paceline inspect RECIPE`: every layer's output shape, parameters, multiply-adds and memory."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from ..arguments import Arguments
from ..configuration.config import Config
from ..errors import UserError
from ..examining.inspection import Inspection, Layer, inspect, one_example
from ..tables import format_bytes, table
from ..training.building import Built, build
from ..training.trainer_context import quiet
from .run_commands import config_of

Answer = tuple[Any, str, int]


def inspect_command(arguments: Arguments) -> Answer:
    """`paceline inspect RECIPE`.

    Raises:
        UserError: The module has no example to be called with.
    """
    config = config_of(arguments)
    built, found, device = inspect_config(config)
    batch_size = getattr(built.data, "batch_size", None)
    kind = type(built.model).__name__
    answer = {"recipe": config.recipe, "model": kind, "computed_on": device} | found.as_dict()
    return answer, told(config.recipe, kind, found, batch_size), 0


def inspect_config(config: Config) -> tuple[Built, Inspection, str]:
    """Build a config's module and look through it.

    A large network costs nothing where it can be built without memory, on the meta device; one
    whose code needs numbers is built and called for real.

    Returns:
        Model and data, what was found, and the device: `meta` or `cpu`.

    Raises:
        UserError: The module has no example to be called with, or is built wrongly.
    """
    config.resolved  # noqa: B018 - a mistake in the config is told before anything is built
    with contextlib.suppress(Exception):
        return _inspected(config, "meta")
    return _inspected(config, "cpu")


def _inspected(config: Config, device: str) -> tuple[Built, Inspection, str]:
    with quiet(), torch.device(device):
        built = build(config)
        example = one_example(built.model)
        if example is None:
            name = type(built.model).__name__
            raise UserError(
                f"`{name}.example_input_array` must be a batch to call the module with, "
                "but is None.",
                config.where("model"),
                "set self.example_input_array = torch.zeros(2, ...) in its constructor",
            )
        args, kwargs = tree_map(
            lambda part: part.to(device) if isinstance(part, Tensor) else part, example
        )
        return built, inspect(built.model.to(device), (args, kwargs)), device


def told(recipe: str, kind: str, found: Inspection, batch_size: int | None) -> str:
    """What a person reads."""
    header = ("layer", "kind", "output", "parameters", "multiply-adds", "activations", "cost")
    rows = [_cells(layer) for layer in found.layers]
    if found.macs_elsewhere:
        rows.append(("(elsewhere)", "", "", "", f"{found.macs_elsewhere:,}", "", ""))
    totals = found.totals
    numbers = (f"{totals['parameters']:,}", f"{totals['macs']:,}")
    rows.append(("total", "", "", *numbers, format_bytes(totals["activation_bytes"]), ""))
    lines = [
        f"{recipe}: {kind}, one example of shape {_shape(found.input_shape)}",
        "",
        table(header, rows, "<<<>>>"),
        "",
        f"  parameters    {format_bytes(totals['parameter_bytes'])}",
    ]
    if isinstance(batch_size, int):
        size = format_bytes(batch_size * totals["activation_bytes"])
        lines.append(f"  activations   {size} for a batch of {batch_size}")
    return "\n".join(lines)


def _cells(layer: Layer) -> tuple[str, ...]:
    return (
        layer.name,
        layer.kind,
        "not called" if not layer.calls else _shape(layer.output_shape or []),
        f"{layer.parameters:,}" if layer.parameters else "",
        f"{layer.macs:,}" if layer.macs else "",
        format_bytes(layer.activation_bytes) if layer.activation_bytes else "",
        layer.formula + (f", {layer.calls} times" if layer.calls > 1 else ""),
    )


def _shape(sizes: list[int]) -> str:
    return " x ".join(map(str, sizes)) or "1"

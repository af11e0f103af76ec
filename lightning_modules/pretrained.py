"""Weights to start from: a file of another training run, or one that torchvision publishes.

A file is a state dict (name -> tensor) or a Lightning checkpoint of one of our families. It is read
with `weights_only=True`, so nothing in it can run. Names and shapes must be those of the network;
what differs is told name by name. The last layer belongs to the classes of the data it was trained
on: `pretrained_head: false` leaves it as it starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from .blocks.checks import require

MAX_NAMES = 12  # of each kind of difference, in a message
COUNTERS = ".num_batches_tracked"  # batch norm counts batches; files of before 2018 do not have it


def load_pretrained(network: nn.Module, path: str | None, with_head: bool = True) -> None:
    """Copy a file's weights into a network.

    Args:
        network: Its `heads` names the layers that depend on the number of classes; its `unused`,
            if any, what a file may hold beside the network's own (`aux1`, ...).
        path: The file; None leaves the network as it is.
        with_head: Whether the heads are taken too.

    Raises:
        ValueError: If the file is missing or no file of weights, or its names or shapes differ; or
            if `with_head` is false without a file.
    """
    rule = "true without `pretrained`"
    require(path is not None or with_head, "pretrained_head", rule, with_head)
    if path is None:
        return
    heads = cast("tuple[str, ...]", network.heads)
    left_out = cast("tuple[str, ...]", getattr(network, "unused", ())) + (
        () if with_head else heads
    )
    prefixes = tuple(f"{name}." for name in left_out)
    found, wanted = (
        {name: t for name, t in state.items() if not name.startswith(prefixes)}
        for state in (read_weights(path), network.state_dict())
    )
    differences = compare(wanted, found)
    if differences:
        error = ValueError(
            f"`pretrained` must be a file of this network's weights, but {path!r} differs."
        )
        for note in [*differences, *_advice(wanted, found, heads)]:
            error.add_note(note)
        raise error
    network.load_state_dict(found, strict=False)  # what is missing was left out on purpose


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read name -> tensor out of a state dict or a checkpoint of ours; nothing in it can run.

    Raises:
        ValueError: If the file is missing, damaged, or holds anything but tensors.
    """
    require(Path(path).is_file(), "pretrained", "a file that exists", str(path))
    rule = "a state dict or a checkpoint of plain tensors and values"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken zip, a pickle of objects, a short tensor: many types
        remedy = f"the file is damaged or holds other objects ({type(error).__name__})"
        raise _wrong(rule, path, remedy) from None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        # A rule keeps its network under that name.
        state = {n.removeprefix("network."): t for n, t in content["state_dict"].items()}
    else:
        state = content
    is_plain = isinstance(state, dict) and all(isinstance(t, Tensor) for t in state.values())
    if not is_plain or not state:
        raise _wrong(rule, path, "save it with torch.save(network.state_dict(), FILE)")
    return dict(state)


def _wrong(rule: str, path: str | Path, remedy: str) -> ValueError:
    error = ValueError(f"`pretrained` must be {rule}, but is {str(path)!r}.")
    error.add_note(remedy)
    return error


def compare(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Tell what a file lacks, has too much, or has in another shape, a line each; empty: it fits.

    Args:
        wanted: The network's tensors by name.
        found: The file's.
    """
    missing = [n for n in wanted if n not in found and not n.endswith(COUNTERS)]
    unexpected = [n for n in found if n not in wanted]
    lines = [f"missing in the file: {name}" for name in missing[:MAX_NAMES]]
    lines += _rest(missing)
    lines += [f"unknown to the network: {name}" for name in unexpected[:MAX_NAMES]]
    lines += _rest(unexpected)
    shapes = [
        f"other shape: {n} is {tuple(t.shape)} in the network, {tuple(found[n].shape)} in the file"
        for n, t in wanted.items()
        if n in found and found[n].shape != t.shape
    ]
    return lines + shapes[:MAX_NAMES] + _rest(shapes)


def _rest(names: list[str]) -> list[str]:
    more = len(names) - MAX_NAMES
    return [f"... and {more} more"] if more > 0 else []


def _advice(
    wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], heads: tuple[str, ...]
) -> list[str]:
    """What to do where the file was trained on data with other classes."""
    name = f"{heads[0]}.weight"
    ours, theirs = (len(state[name]) if name in state else 0 for state in (wanted, found))
    if 0 in (ours, theirs) or ours == theirs:
        return []
    return [
        f"the file was trained on {theirs} classes, `num_classes` is {ours}: set "
        "`pretrained_head` to false to leave the last layer out"
    ]

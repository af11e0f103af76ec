"""A resolved config as MLflow params: flat names, text values. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def flatten(config: Mapping[str, Any]) -> dict[str, str]:
    """A nested config as one level of text.

    Names are joined with dots and leave out `init_args`, as the command line allows it:
    `{"model": {"init_args": {"dropout": 0.1}}}` becomes `{"model.dropout": "0.1"}`. Where that
    would make two keys one, the long names stay. Values other than text are written as JSON, which
    is also YAML, so that a value can be copied back into a flag; lists stay whole.

    Args:
        config: JSON-like values; what JSON does not know is written by `str`.

    Returns:
        Dotted name -> value, in the order of the config.
    """
    rows = [(key, _text(value)) for key, value in _leaves(config, ())]
    short = [".".join(part for part in key if part != "init_args") for key, _ in rows]
    taken = {name for name in short if short.count(name) > 1}
    return {
        (".".join(key) if name in taken else name): text
        for (key, text), name in zip(rows, short, strict=True)
    }


def _leaves(
    value: Mapping[Any, Any], key: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, inner in value.items():
        path = (*key, str(name))
        if isinstance(inner, Mapping) and inner:
            yield from _leaves(inner, path)
        else:
            yield path, inner


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)

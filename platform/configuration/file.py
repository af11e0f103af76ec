"""Reading YAML as plain data: no tag builds an object, each key stands once and knows its line.

PyYAML reads `1e-3` as a string (YAML 1.1 wants a dot); a learning rate is written like that all the
time, so the number rule here is YAML 1.2's.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from ..errors import UserError, must

MAX_BYTES = 1_000_000
MAX_NODES = 50_000
MAX_DEPTH = 50

_KINDS = {yaml.ScalarNode: "value", yaml.SequenceNode: "list", yaml.MappingNode: "mapping"}

_FLOAT = re.compile(
    r"""^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+
    |[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$""",
    re.X,
)

# YAML 1.1 reads 2:4 as a time, 124; here it is a text.
_INT = re.compile(r"^(?:[-+]?0b[01_]+|[-+]?0x[0-9a-fA-F_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*))$")

# A text may also be no number for its tag (`!!int x`), or nested too deeply for the reader.
_MALFORMED = (yaml.YAMLError, ValueError, RecursionError)


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's floats, and without dates: `2026-01-31` is a text."""


_REPLACED = tuple(f"tag:yaml.org,2002:{name}" for name in ("float", "int", "timestamp"))
_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag not in _REPLACED]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
_PlainLoader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))


def parse_value(text: str, where: str) -> Any:
    """The value of a flag, read as YAML: `0.1`, `[256, 128]`, `null`, `text`."""
    try:
        return _PlainLoader(text).get_single_data()
    except _MALFORMED as error:
        rule = must(where, "a YAML value", text if len(text) < 200 else f"{text[:200]}...")
        raise UserError(rule, where, _problem(error)) from None


def read(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """A config file as plain data.

    Args:
        path: The YAML file.

    Returns:
        The mapping, and the line (from 1) of every dotted key in it.

    Raises:
        UserError: The file is missing, empty, binary, huge, malformed or no mapping, gives a key
            twice, or holds a tag.
    """
    text = _text(path)
    try:
        loader = _PlainLoader(text)
        node = loader.get_single_node()
        lines = _check(node, path)
        values = loader.construct_document(node)
    except _MALFORMED as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UserError(
            "The config must be well-formed YAML, but is not.", where, _problem(error)
        ) from None
    return values, lines


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UserError(
                f"The config must have at most {MAX_BYTES} bytes, but has {size}.", str(path)
            )
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(
            "The config must be UTF-8 text, but holds other bytes.", str(path)
        ) from None
    except OSError as error:
        raise UserError(
            "The config must be a file that can be read, but is not.",
            str(path),
            str(error.strerror),
        ) from None


def _problem(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    parts = (getattr(error, "problem", None), getattr(error, "context", None))
    return ", ".join(p for p in parts if p) or str(error).partition("\n")[0]


def _check(root: yaml.Node | None, path: Path) -> dict[str, int]:
    """Refuse what plain data cannot be, before anything is constructed; note each key's line."""
    if not isinstance(root, yaml.MappingNode):
        raise UserError(
            "The config must be a mapping of keys to values, but is "
            + ("empty." if root is None else f"a {_KINDS.get(type(root), 'value')}."),
            str(path),
            "see one: paceline fit mlp --print_config",
        )
    lines: dict[str, int] = {}
    budget = MAX_NODES
    queue: list[tuple[str, yaml.Node]] = [("", root)]
    while queue:
        key, node = queue.pop()
        budget -= 1  # an alias is counted each time it is used, so that nested ones cannot explode
        where = f"{path}:{node.start_mark.line + 1}"
        if budget < 0:
            raise UserError(
                f"The config must have at most {MAX_NODES} values, but has more.", where
            )
        if key.count(".") > MAX_DEPTH:
            raise UserError(f"The config must be at most {MAX_DEPTH} deep, but is deeper.", where)
        if not node.tag.startswith("tag:yaml.org,2002:") or "python" in node.tag:
            raise UserError(must(key or "config", "plain data without tags", node.tag), where)
        if isinstance(node, yaml.SequenceNode):
            queue += [(f"{key}.{i}", child) for i, child in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            queue += _mapping_children(key, node, path, lines)
    return lines


def _mapping_children(
    key: str, node: yaml.MappingNode, path: Path, lines: dict[str, int]
) -> list[tuple[str, yaml.Node]]:
    children, seen = [], set[str]()
    for name, child in node.value:
        line = name.start_mark.line + 1
        if not isinstance(name, yaml.ScalarNode):
            raise UserError(
                f"A key must be a plain word, but is a {_KINDS[type(name)]}.", f"{path}:{line}"
            )
        if name.value in seen and name.value != "<<":
            raise UserError(
                f"`{name.value}` must be given once, but is given twice.", f"{path}:{line}"
            )
        seen.add(name.value)
        dotted = f"{key}.{name.value}" if key else name.value
        lines.setdefault(dotted, line)
        children.append((dotted, child))
    return children


class _PlainDumper(yaml.SafeDumper):
    """SafeDumper that writes a list of scalars on one line and never an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write equal objects out in full."""
        return True


def _represent_list(dumper: _PlainDumper, data: list[Any] | tuple[Any, ...]) -> yaml.Node:
    flat = all(isinstance(x, (int, float, str, bool, type(None))) for x in data)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=flat)


_PlainDumper.add_representer(list, _represent_list)
_PlainDumper.add_representer(tuple, _represent_list)


def dump(values: dict[str, Any]) -> str:
    """The mapping as YAML text, in the order given."""
    return yaml.dump(values, Dumper=_PlainDumper, sort_keys=False, width=100)

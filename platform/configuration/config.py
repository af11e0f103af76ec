"""A config: a recipe with the user's changes laid over it, checked whole.

A config is plain data until `resolved` parses it; `building.build` makes a model and a data module
of it. The trip to another process is made as plain data (`to_dict`, `from_dict`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from ..catalog import recipe_path
from ..errors import UserError, must
from ..external import draw_seed
from . import file as config_file
from .check import check_values
from .classes import argument_names, load_class, resolve_class
from .keys import (
    CLASS_SECTIONS,
    NO_CLASS,
    OPTIONAL_SECTIONS,
    canonical,
    full_key,
    get_key,
    merge,
    set_key,
    short_key,
)
from .options import Launch, Sweep, Tracking, split_range
from .parser import parse
from .places import leaves, nearest_place


@dataclass
class Config:
    """A canonical config and where each of its keys came from.

    Args:
        recipe: Name of the recipe, or the stem of the file.
        values: Sections in canonical form, classes by their full path.
        source: The file.
        lines: Line of each dotted key in the file.
        origins: Flag, or file and line, of each key that was laid over the file.
        notes: What the user should be told, such as arguments that a swapped class does not have.
    """

    recipe: str
    values: dict[str, Any]
    source: str = ""
    lines: dict[str, int] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Config:
        """The config that `to_dict` took apart."""
        return cls(**data)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that crosses process borders."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def where(self, key: str) -> str:
        """Where the user wrote a key: its flag, or `file:line`, its parent's if it has none."""
        place = nearest_place(full_key(key), self.origins, self.lines)
        return f"{self.source}:{place}" if isinstance(place, int) else place or self.source

    @functools.cached_property
    def resolved(self) -> dict[str, Any]:
        """The whole config with every default, as plain data.

        Raises:
            UserError: A key, a type or a value is wrong.
        """
        values = _plain(self.namespace.as_dict())
        values.pop("config", None)  # the parser's own --config
        check_values(values, self.where)
        return values

    @functools.cached_property
    def namespace(self) -> Namespace:
        """What the parser made of the values."""
        return parse(canonical(self.values), self.where)

    def get(self, key: str, default: Any = None) -> Any:
        """The resolved value at a dotted key (`init_args` may be left out)."""
        return get_key(self.resolved, full_key(key), default)

    @property
    def seed(self) -> int | None:
        """The seed; None when the user switched seeding off."""
        seed = self.resolved["seed_everything"]
        return None if seed is None or seed is False else int(seed)

    @functools.cached_property
    def launch(self) -> Launch:
        """The `launch` section."""
        return Launch(**self.resolved["launch"])

    @functools.cached_property
    def tracking(self) -> Tracking:
        """The `tracking` section."""
        return Tracking(**self.resolved["tracking"])

    @functools.cached_property
    def sweep(self) -> Sweep:
        """The `sweep` section."""
        return Sweep(**self.resolved["sweep"])

    def text(self) -> str:
        """The whole resolved config as YAML, which runs again as it stands."""
        return config_file.dump(self.resolved)

    def override(self, changes: Mapping[str, Any], origin: str | None = None) -> Config:
        """A config with some keys changed.

        Args:
            changes: Dotted key (`init_args` may be left out; a number indexes a list) -> value.
            origin: The flag or place that asks for it; default: the key.

        Raises:
            UserError: A key walks through something that is no mapping, or a class is unknown.
        """
        new = Config(
            self.recipe,
            canonical(self.values),
            self.source,
            self.lines,
            dict(self.origins),
            list(self.notes),
        )
        changes = split_range({full_key(key): value for key, value in changes.items()})
        for key in sorted(changes, key=lambda k: not k.endswith(".class_path")):
            new.origins[key] = origin or f"--{short_key(key)}"
            section = key.partition(".")[0]
            names_class = key == section and isinstance(changes[key], str)
            if section in CLASS_SECTIONS and (names_class or key == f"{section}.class_path"):
                new._swap_class(section, changes[key])
            else:
                new._set(key, changes[key])
        return new

    def lay_file(self, path: Path) -> None:
        """Lay another config file over this one, in place.

        Raises:
            UserError: See `config_file.read`, or a class in it is unknown.
        """
        values, lines = config_file.read(path)
        values = canonical(values)
        self.origins |= {full_key(k): f"{path}:{line}" for k, line in leaves(lines).items()}
        for section in CLASS_SECTIONS:
            name = get_key(values, f"{section}.class_path")
            if name is not None and get_key(self.values, f"{section}.class_path") is not None:
                self._swap_class(section, name)
        self.values = merge(self.values, values)

    def _set(self, key: str, value: Any) -> None:
        parent, _, last = key.rpartition(".")
        if last.isdigit() and not isinstance(get_key(self.values, parent), list):
            default = get_key(Config(self.recipe, self.values).resolved, parent)
            set_key(self.values, parent, list(default or []))
        try:
            set_key(self.values, key, value)
        except UserError as error:
            error.where = self.where(key)
            raise

    def _swap_class(self, section: str, name: Any) -> None:
        """Put another class in a section and keep of the arguments those that it has."""
        key = f"{section}.class_path"
        if not isinstance(name, str):
            raise UserError(must(key, "a class name", name), self.where(key))
        if section in OPTIONAL_SECTIONS and name in NO_CLASS:
            self.values[section] = None
            return
        path = resolve_class(section, name, self.where(key))
        old = self.values.get(section) or {}
        arguments = old.get("init_args") or {}
        if old.get("class_path") not in (None, path):
            has = argument_names(load_class(path, key))
            dropped = [a for a in arguments if a not in has]
            if dropped:
                self.notes.append(f"{name} has no {', '.join(dropped)}: left out")
            arguments = {a: v for a, v in arguments.items() if a in has}
        self.values[section] = {"class_path": path, "init_args": arguments}


def load(
    recipe: str, changes: Mapping[str, tuple[Any, str]] | None = None, files: tuple[str, ...] = ()
) -> Config:
    """Read a recipe and lay the user's changes over it.

    Args:
        recipe: Catalog name or YAML file.
        changes: Dotted key -> (value, flag that set it).
        files: More YAML files, each laid over what stands.

    Returns:
        The config; it is not parsed yet.

    Raises:
        UserError: See `config_file.read`, `catalog.recipe_path` and `Config.override`.
    """
    path = recipe_path(recipe)
    values, lines = config_file.read(path)
    config = Config(path.stem, canonical(values), str(path), lines)
    for extra in files:
        config.lay_file(Path(extra))
    config.values.setdefault("seed_everything", True)
    for key, (value, flag) in (changes or {}).items():
        if key.endswith(".class_path"):
            config = config.override({key: value}, flag)
    _resolve_classes(config)
    for key, (value, flag) in (changes or {}).items():
        if not key.endswith(".class_path"):
            config = config.override({key: value}, flag)
    if config.values["seed_everything"] is True:  # drawn here, so that the record has it
        config.values["seed_everything"] = draw_seed()
    return config


def _resolve_classes(config: Config) -> None:
    for section in CLASS_SECTIONS:
        spec = config.values.get(section)
        if spec is None:
            continue
        key = f"{section}.class_path"
        if not isinstance(spec, dict) or not isinstance(spec.get("class_path"), str):
            given = spec.get("class_path") if isinstance(spec, dict) else spec
            raise UserError(
                must(key, "a class's name or import path", given),
                config.where(section),
                f"name the class: --{section} package.Class, or paceline list",
            )
        spec["class_path"] = resolve_class(section, spec["class_path"], config.where(key))
    if "model" not in config.values:
        raise UserError(
            "`model` must be given, but is missing.", config.source, "--model package.Class"
        )


def _plain(value: Any) -> Any:
    """Tuples as lists and nested namespaces as mappings, so that YAML and JSON can hold them."""
    if isinstance(value, Namespace):
        value = value.as_dict()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return value

"""The classes that a config names: found by catalog name or import path, and what they take."""

from __future__ import annotations

import importlib
import inspect
import types
import typing
from typing import Any

import torch

from ..catalog import GROUP_OF_SECTION, entries, import_path
from ..errors import UserError, must, nearest, unknown
from .keys import NO_CLASS, OPTIONAL_SECTIONS

_TORCH_HOME: dict[str, tuple[Any, type]] = {
    "optimizer": (torch.optim, torch.optim.Optimizer),
    "lr_scheduler": (torch.optim.lr_scheduler, torch.optim.lr_scheduler.LRScheduler),
}
# LightningCLI's own, which has `monitor`, goes before torch's of the same name.
_LIGHTNINGS = {"ReduceLROnPlateau": "pytorch_lightning.cli.ReduceLROnPlateau"}


def resolve_class(section: str, name: str, where: str = "") -> str:
    """The import path of a class that a config names by its catalog name or in full.

    Raises:
        UserError: No such name, or the path does not import, or it is no class.
    """
    key = f"{section}.class_path"
    known = entries(GROUP_OF_SECTION[section])
    if name in known:
        name = import_path(known[name].target)
    elif "." not in name:
        home, kind = _TORCH_HOME.get(section, (None, type))
        there = vars(home).items() if home else ()
        valid = [n for n, v in there if inspect.isclass(v) and issubclass(v, kind)]
        if name not in valid:
            without = [NO_CLASS[0]] if section in OPTIONAL_SECTIONS else []
            raise unknown(key, name, [*known, *valid, *without], where)
        return _LIGHTNINGS.get(name) or f"{home.__name__}.{name}"  # type: ignore[union-attr]
    load_class(name, key, where)
    return name


def load_class(path: str, key: str, where: str = "") -> type:
    """Import a class by its path; a config is code, so its module runs.

    Raises:
        UserError: The module or the class does not exist, or the module fails to import.
    """
    module, _, attribute = path.rpartition(".")
    try:
        names = vars(importlib.import_module(module))
    except ModuleNotFoundError as error:
        missing = error.name or module
        raise UserError(
            must(key, "a class that can be imported", path),
            where,
            f"No module named {missing!r}: install it, or start from the folder that holds it.",
        ) from None
    except Exception as error:
        raise UserError(
            must(key, "a class whose module imports", path),
            where,
            f"{type(error).__name__}: {error}",
        ) from None
    if not inspect.isclass(names.get(attribute)):
        close = nearest(attribute, [n for n, v in names.items() if inspect.isclass(v)])
        remedy = f"{module} has: {', '.join(close)}" if close else f"{module} has no such class"
        raise UserError(must(key, "a class that can be imported", path), where, remedy)
    return names[attribute]


def argument_names(cls: type) -> set[str]:
    """Names that a class's constructor takes, through the `**kwargs` of its parents too."""
    names: set[str] = set()
    for kind in cls.__mro__:
        init = kind.__dict__.get("__init__")
        if init is None:
            continue
        parameters = inspect.signature(init).parameters.values()
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return names - {"self", "params", "optimizer"}


def type_without_null(cls: type, argument: str) -> str:
    """The type of a constructor's argument when null is no value for it; else an empty text.

    jsonargparse lets null pass whatever the type is.
    """
    try:
        hints = typing.get_type_hints(cls.__init__)
        parameter = inspect.signature(cls).parameters.get(argument)
    except (NameError, TypeError, ValueError):  # hints that only a type checker can resolve
        return ""
    if argument not in hints or parameter is None or parameter.default is None:
        return ""
    hint: Any = hints[argument]
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    kinds = typing.get_args(hint) if is_union else (hint,)
    if any(kind in (Any, object, type(None)) or isinstance(kind, typing.TypeVar) for kind in kinds):
        return ""
    return " or ".join(k.__name__ if inspect.isclass(k) else str(k) for k in kinds)

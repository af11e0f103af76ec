"""LightningCLI's own parser, built once a process, with our sections beside Lightning's.

The parser checks every key and type of a config against the signatures of the classes that it
names. Its messages list every attempt of every union; `explain` turns one into our one sentence.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from typing import Any

import torch
from jsonargparse import ArgumentError, Namespace
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

from .catalog import GROUP_OF_SECTION, entries, import_path
from .config_keys import CLASS_SECTIONS, get_key
from .errors import UserError, must, nearest, unknown
from .options import Launch, Sweep, Tracking

_TORCH_HOME = {"optimizer": torch.optim, "lr_scheduler": torch.optim.lr_scheduler}


class _ParserOnly(LightningCLI):
    """A LightningCLI that stops once its parser stands: no parse, no seed, no objects."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what `lightning fit --print_config` prints beside the classes, and our sections."""
        parser.add_argument("--ckpt_path", type=str | None, default=None)
        parser.add_argument("--weights_only", type=bool | None, default=None)
        for name, section in (("launch", Launch), ("tracking", Tracking), ("sweep", Sweep)):
            parser.add_argument(f"--{name}", type=section, default=section())

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Leave parsing to `parse`."""
        self.config = Namespace(seed_everything=False)

    def _add_instantiators(self) -> None:
        """Let a module note its own arguments, those that it takes over from the data included."""

    def instantiate_classes(self) -> None:
        """Leave building to `paceline.platform.config.Config`."""


@functools.cache
def parser() -> LightningArgumentParser:
    """The parser; building it takes about 30 ms, so it is kept."""
    cli = _ParserOnly(
        None,
        None,
        args={},
        run=False,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_callback=None,
        parser_kwargs={"exit_on_error": False},
    )
    return cli.parser


def parse(values: dict[str, Any], where: Any = str) -> Namespace:
    """Check a canonical config whole and fill in every default.

    Args:
        values: Sections in canonical form with full class paths.
        where: Function from a dotted key to the place where the user wrote it.

    Raises:
        UserError: A key, a class or a type is wrong.
    """
    try:
        return parser().parse_object(values)
    except ArgumentError as error:
        raise explain(str(error), values, where) from None


def resolve_class(section: str, name: str, where: str = "") -> str:
    """The import path of a class that a config names by its catalog name or in full.

    Raises:
        UserError: No such name, or the path does not import, or it is a class of another kind.
    """
    known = entries(GROUP_OF_SECTION[section])
    if name in known:
        return import_path(known[name].target)
    home = _TORCH_HOME.get(section)
    if "." not in name:
        if home is None or not inspect.isclass(getattr(home, name, None)):
            valid = [*known, *(dir(home) if home else [])]
            raise unknown(f"{section}.class_path", name, [n for n in valid if n[:1] != "_"], where)
        return f"{home.__name__}.{name}"
    load_class(name, f"{section}.class_path", where)
    return name


def load_class(path: str, key: str, where: str = "") -> type:
    """Import a class by its path; a config is code, so its module runs.

    Raises:
        UserError: The module or the class does not exist, or the module fails to import.
    """
    module, _, attribute = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        missing = error.name or module
        raise UserError(
            must(key, "a class that can be imported", path),
            where,
            f"No module named {missing!r}: install it, or start from the folder that holds it.",
        ) from None
    except AttributeError:
        names = vars(importlib.import_module(module))
        close = nearest(attribute, [n for n, v in names.items() if inspect.isclass(v)])
        remedy = f"{module} has: {', '.join(close)}" if close else f"{module} has no such class"
        raise UserError(must(key, "a class that can be imported", path), where, remedy) from None
    except Exception as error:
        raise UserError(
            must(key, "a class whose module imports", path),
            where,
            f"{type(error).__name__}: {error}",
        ) from None


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


def explain(message: str, values: dict[str, Any], where: Any) -> UserError:
    """Our one sentence for one of jsonargparse's messages."""
    section = next(iter(re.findall(r'Parser key "([\w.]+)"', message)), "")
    if found := re.search(r"[Oo]ption '([^']+)' is not accepted", message):
        return _unknown_key(section, found[1], values, where)
    if found := re.search(r"Group '([^']+)' does not accept option '([^']+)'", message):
        valid = [k.partition(".")[2] for k in _keys() if k.startswith(f"{found[1]}.")]
        key = f"{found[1]}.{found[2]}"
        return unknown(found[1] + " key", found[2], valid, where(key))
    if found := re.search(
        r"arguments? (?:are|is) required: ([\w., ]+)|[Kk]ey \"([\w.]+)\" is required", message
    ):
        name = found[1] or found[2]
        name = f"{section}.{name}" if section else name
        return UserError(f"`{name}` must be given, but is missing.", where(section or name))
    if found := re.search(r"Import path (\S+) does not correspond to a subclass of (\w+)", message):
        key = f"{section}.class_path"
        return UserError(must(key, f"a {found[2]}", found[1]), where(key))
    if found := re.search(r"No module named '([^']+)'", message):
        return UserError(must(section, "a class that can be imported", found[1]), where(section))
    return _wrong_type(message, section, values, where)


def _wrong_type(message: str, section: str, values: dict[str, Any], where: Any) -> UserError:
    keys = re.findall(r'Parser key "([\w.]+)"', message)
    key, is_class = section, section in CLASS_SECTIONS
    for inner in [k for k in keys[1:2] if k != section]:
        key = f"{section}.{inner}" if is_class else f"{section} ({inner})"
    value = get_key(values, key.replace(".", ".init_args.", 1) if is_class else key)
    tail = message.rsplit("Parser key", 1)[-1]
    kinds = re.findall(r"Expected an? (?:<class '([\w.]+)'>|typing\.(\w+\[.*?\]))", tail)
    if is_class and len(kinds) > 1:
        kinds.pop()  # the section itself may be null; its argument may not
    names = list(dict.fromkeys(a.rpartition(".")[2] or b for a, b in kinds))
    rule = "of type " + " or ".join("null" if n == "NoneType" else n for n in names)
    if not names:
        rule = "a valid value"
    if value is None and (got := re.search(r"(?:Got value|Given value): (.*)", tail)):
        value = got[1]
    return UserError(must(key, rule, value), where(key), "" if names else _last_line(message))


def _last_line(message: str) -> str:
    lines = [line.strip(" -") for line in message.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


def _unknown_key(section: str, name: str, values: dict[str, Any], where: Any) -> UserError:
    if section in CLASS_SECTIONS:
        path = values[section]["class_path"]
        valid = argument_names(load_class(path, f"{section}.class_path"))
        place = where(f"{section}.init_args.{name}")
        return unknown(f"argument of {path.rpartition('.')[2]}", name, valid, place)
    error = unknown("config key", name, {k.partition(".")[0] for k in _keys()}, where(name))
    error.remedy += " (what code of a LightningCLI subclass adds is not known here)"
    return error


def _keys() -> list[str]:
    """Every key that the parser knows outside the classes."""
    known = [action.dest for action in parser()._actions]
    ours = {"launch": Launch, "tracking": Tracking, "sweep": Sweep}
    known += [f"{name}.{field}" for name, cls in ours.items() for field in cls.__dataclass_fields__]
    return [k for k in known if k not in ("help", "config")]

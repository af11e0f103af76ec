"""LightningCLI's own parser, built once a process, with our sections beside Lightning's.

The parser checks every key and type of a config against the signatures of the classes that it
names.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from jsonargparse import ArgumentError, Namespace
from pytorch_lightning import Trainer
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

from ..errors import UserError, must, unknown
from .classes import load_class, type_without_null
from .keys import CLASS_SECTIONS, short_key
from .messages import explain
from .options import Launch, Sweep, Tracking

_SECTIONS = {"trainer": Trainer, "launch": Launch, "tracking": Tracking, "sweep": Sweep}


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


def parse(values: dict[str, Any], where: Callable[[str], str] = str) -> Namespace:
    """Check a canonical config whole and fill in every default.

    Args:
        values: Sections in canonical form with full class paths.
        where: Function from a dotted key to the place where the user wrote it.

    Raises:
        UserError: A key, a class or a type is wrong.
    """
    _check_shape(values, where)
    try:
        return parser().parse_object(values)
    except ArgumentError as error:
        raise explain(str(error), values, where, _keys()) from None


def _check_shape(values: dict[str, Any], where: Callable[[str], str]) -> None:
    """Refuse what the parser lets pass or stumbles over: its own flags, no mappings, nulls."""
    for name in {"config", "print_config"} & values.keys():
        raise unknown("config key", name, {k.partition(".")[0] for k in _keys()}, where(name))
    for section in (*CLASS_SECTIONS, *_SECTIONS):
        given = values.get(section)
        if section in CLASS_SECTIONS and isinstance(given, dict):
            kind = load_class(given["class_path"], f"{section}.class_path")
            section, given = f"{section}.init_args", given.get("init_args")
        else:
            kind = _SECTIONS.get(section)
        if given is None or kind is None:
            continue
        if not isinstance(given, dict):
            raise UserError(must(section, "a mapping", given), where(section))
        for name in (n for n, value in given.items() if value is None):
            if rule := type_without_null(kind, str(name)):
                key = f"{section}.{name}"
                raise UserError(must(short_key(key), f"of type {rule}", None), where(key))


@functools.cache
def _keys() -> tuple[str, ...]:
    """Every key that the parser knows outside the classes."""
    known = [action.dest for action in parser()._actions]
    ours = {"launch": Launch, "tracking": Tracking, "sweep": Sweep}
    known += [f"{name}.{field}" for name, cls in ours.items() for field in cls.__dataclass_fields__]
    return tuple(k for k in known if k not in ("help", "config", "print_config"))

"""From a checked config to objects: data module, the model that follows it, trainer arguments."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from jsonargparse import Namespace
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import LightningDataModule, LightningModule

from ..configuration.config import Config
from ..configuration.parser import parser
from ..errors import PacelineError, RunError, UserError, must

# Names that a model and a data module may both have without one following the other.
_OWN_ARGUMENTS = {"name", "seed", "batch_size", "augmentation"}
_MUST_AGREE = {"num_classes", "in_features", "in_channels", "image_size", "in_shape"}


@dataclass
class Built:
    """What a config builds: the model, the data, what is still plain, and how many processes.

    `placement` makes the trainer's arguments that this process's place decides, not the config; a
    strategy serves one trainer only.
    """

    model: LightningModule
    data: LightningDataModule | None
    optimizer: dict[str, Any] | None
    lr_scheduler: dict[str, Any] | None
    world_size: int = 1
    placement: Callable[[], dict[str, Any]] = dict

    @property
    def global_batch_size(self) -> int | None:
        """Examples that one batch of all processes together holds; None: the data does not say."""
        size = getattr(self.data, "batch_size", None)
        return size * self.world_size if isinstance(size, int) else None


def build(config: Config) -> Built:
    """Make the data module and the model, which follows the data where the user left it open.

    An argument of the model that is None takes the data module's attribute of the same name
    (`num_classes`, `in_features`, `vocab_size`, ...).

    Raises:
        UserError: A constructor refuses its arguments, or the model contradicts the data.
    """
    resolved = config.resolved
    data = _make(config, "data", config.namespace) if resolved.get("data") else None
    namespace = config.namespace.clone()
    if data is not None and resolved["model"].get("init_args"):
        _follow(config, namespace.model.init_args, data)
    model = _make(config, "model", namespace)
    return Built(model, data, resolved.get("optimizer"), resolved.get("lr_scheduler"))


def trainer_arguments(config: Config) -> dict[str, Any]:
    """The trainer's arguments with callbacks, loggers and plugins as objects."""
    return dict(vars(_make(config, "trainer", config.namespace)))


def _make(config: Config, section: str, namespace: Namespace) -> Any:
    try:
        return parser().instantiate(Namespace(**{section: namespace[section]}))[section]
    except Exception as error:  # whatever a constructor raises
        cause: BaseException = error
        while str(cause).startswith("Does not validate") and cause.__cause__:
            cause = cause.__cause__  # jsonargparse wraps what a constructor raised
        raise refused(cause, _place(config, section, str(cause))) from error


def refused(error: BaseException, where: str) -> UserError:
    """The error to raise for what a model or a data module raised before anything was started.

    Args:
        error: A ValueError, TypeError or OSError tells the user what is wrong, its notes what to
            do; anything else is a slip in the module's code, so its place is told.
        where: Where the config names the module or the argument.
    """
    remedy = "\n".join(getattr(error, "__notes__", []))
    if isinstance(error, (ValueError, TypeError, OSError, MisconfigurationException)):
        return UserError(str(error), where, remedy)
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    what = f"The code that {where} names must run, but raised {type(error).__name__}: {error}"
    return UserError(what, place, remedy)


@contextlib.contextmanager
def told_as_failure(config: Config) -> Iterator[None]:
    """Whatever the module raises while it trains is told with its place.

    Raises:
        RunError: It raised something that is no error of ours.
    """
    try:
        yield
    except PacelineError:
        raise
    except Exception as error:  # whatever the module raises
        told = refused(error, config.where("model"))
        raise RunError(told.what, told.where, told.remedy) from error


def _place(config: Config, section: str, message: str) -> str:
    """Where the argument stands that a constructor's message names in backticks."""
    name = message.partition("`")[2].partition("`")[0]
    return config.where(f"{section}.init_args.{name}" if name else section)


def _follow(config: Config, arguments: Namespace, data: LightningDataModule) -> None:
    for name, value in vars(arguments).items():
        offered = getattr(data, name, None)
        if offered is None or callable(offered) or name in _OWN_ARGUMENTS:
            continue
        offered = list(offered) if isinstance(offered, tuple) else offered  # as a config writes it
        if value is None:
            arguments[name] = offered
        elif name in _MUST_AGREE and value != offered:
            rule = f"{offered!r}, as the data has it (or left out)"
            raise UserError(must(f"model.{name}", rule, value), config.where(f"model.{name}"))

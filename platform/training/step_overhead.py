"""Costs of Lightning's step that no hook needs, and of a collector that walks through all modules.

Measured on an MLP at batch 64 (a step of about a millisecond), where they are half of what
Lightning adds: two dozen context managers of the pass-through profiler; reading the signature of
`training_step` anew on each step; finding out eight times a step whether the module or the data
module moves batches; and calling hooks that nobody has defined, in every callback.
"""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loops import training_epoch_loop
from pytorch_lightning.profilers import Profiler
from pytorch_lightning.trainer import call
from pytorch_lightning.trainer.connectors.data_connector import _DataHookSelector

_NOTHING = contextlib.nullcontext()

# Hooks of each step that do nothing unless a callback or a module defines them.
_EMPTY_HOOKS = frozenset(
    {
        "on_train_batch_start",
        "on_train_batch_end",
        "on_before_zero_grad",
        "on_before_backward",
        "on_after_backward",
        "on_before_optimizer_step",
    }
)


class QuietProfiler(Profiler):
    """Profiles nothing, with one shared context instead of a new one for each hook."""

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        """The shared context that does nothing."""
        return _NOTHING

    def start(self, action_name: str) -> None:
        """Nothing."""

    def stop(self, action_name: str) -> None:
        """Nothing."""

    def summary(self) -> str:
        """Nothing to tell."""
        return ""


@contextlib.contextmanager
def lean_steps() -> Iterator[None]:
    """Spare signatures, look-ups and empty hooks in a fit; every hook that is defined is called.

    Lightning looks these functions up in their modules at each call; where a later one no longer
    has them, nothing is changed.
    """
    with (
        replaced(training_epoch_loop, "is_param_in_hook_signature", functools.cache),
        replaced(_DataHookSelector, "get_instance", _remembering),
        replaced(call, "_call_callback_hooks", _unless_no_callback_defines_it),
        replaced(call, "_call_lightning_module_hook", _unless_the_module_leaves_it_out),
    ):
        yield


@contextlib.contextmanager
def frozen_heap() -> Iterator[None]:
    """Let the garbage collector pass over what was there before a fit.

    Torch, Lightning and MLflow are more than half a million objects. A full collection looks at
    each of them, takes 0.2 to 0.6 s, and comes every few hundred steps of a small network.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextlib.contextmanager
def replaced(module: Any, name: str, wrap: Callable[[Any], Any]) -> Iterator[None]:
    """Put another function in the place of one for a while, where there is one."""
    plain = getattr(module, name, None)
    if plain is not None:
        setattr(module, name, wrap(plain))
    try:
        yield
    finally:
        if plain is not None:
            setattr(module, name, plain)


def _remembering(plain: Callable[..., Any]) -> Callable[..., Any]:
    def get_instance(self: Any, hook_name: str) -> Any:
        found = self.__dict__.setdefault("found", {})
        if hook_name not in found:
            found[hook_name] = plain(self, hook_name)
        return found[hook_name]

    return get_instance


@functools.cache
def _defines(kind: type, base: type, hook: str) -> bool:
    return getattr(kind, hook, None) is not getattr(base, hook, None)


def _has(owner: Any, base: type, hook: str) -> bool:
    """Whether a class, or the object itself, brings a hook of its own."""
    return _defines(type(owner), base, hook) or hook in owner.__dict__


def _unless_no_callback_defines_it(plain: Callable[..., Any]) -> Callable[..., Any]:
    def call_hooks(trainer: Trainer, hook_name: str, *args: Any, **kwargs: Any) -> Any:
        if hook_name not in _EMPTY_HOOKS or any(
            _has(callback, Callback, hook_name)
            for callback in trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
        ):
            return plain(trainer, hook_name, *args, **kwargs)
        return None

    return call_hooks


def _unless_the_module_leaves_it_out(plain: Callable[..., Any]) -> Callable[..., Any]:
    def call_hook(trainer: Trainer, hook_name: str, *args: Any, **kwargs: Any) -> Any:
        if hook_name not in _EMPTY_HOOKS or _has(
            kwargs.get("pl_module") or trainer.lightning_module, LightningModule, hook_name
        ):
            return plain(trainer, hook_name, *args, **kwargs)
        return None

    return call_hook

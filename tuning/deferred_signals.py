"""Signals while Ray runs, see the platform's module of the same name."""

from __future__ import annotations

from ..platform.deferred_signals import SIGNALS, DeferredSignals

__all__ = ["SIGNALS", "DeferredSignals"]

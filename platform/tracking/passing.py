"""Which errors of a store pass by themselves. Imports nothing of MLflow."""

from __future__ import annotations

# What a server says, or what is said of it, while it starts, is overloaded or is away.
PASSING = (
    "INTERNAL_ERROR",
    "TEMPORARILY_UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "REQUEST_LIMIT_EXCEEDED",
    "RESOURCE_EXHAUSTED",
)


def is_passing(error: BaseException) -> bool:
    """Whether a later try may succeed.

    Args:
        error: What MLflow's client raised, or our error that was made of it.
    """
    code = getattr(error, "error_code", None) or getattr(error.__cause__, "error_code", None)
    return code in PASSING

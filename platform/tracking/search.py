"""Looking for runs in a store, page by page, over all its experiments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .client import asked, connect


def search_runs(uri: str, condition: str = "") -> list[Any]:
    """All runs that fulfil a condition.

    Args:
        uri: What `resolve_uri` returned.
        condition: MLflow's filter, such as `attributes.run_name = 'mlp'`; empty: every run.

    Returns:
        MLflow's `Run` objects, oldest first, deleted ones left out.
    """
    client = connect(uri)
    order = ["attributes.start_time ASC"]

    def search() -> list[Any]:
        experiments = _pages(
            lambda token: client.search_experiments(max_results=1000, page_token=token)
        )
        ids = [experiment.experiment_id for experiment in experiments]
        return _pages(
            lambda token: client.search_runs(
                ids, condition, max_results=1000, order_by=order, page_token=token
            )
        )

    return asked(uri, search)


def _pages(fetch: Callable[[str | None], Any]) -> list[Any]:
    """Ask until the store has no further page."""
    rows, token = [], None
    while True:
        page = fetch(token)
        rows += page
        token = page.token
        if not token:
            return rows

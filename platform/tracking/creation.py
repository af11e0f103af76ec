"""A run created once, even when the store's answer is lost on the way.

MLflow gives a run its id, so a call that is made again creates a second run. Each of ours has a
mark in its tags, and before a second try the store is asked for a run with it.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Mapping

from .client import asked, connect
from .search import search_runs

MARK = "paceline.creation"


def create_run_once(uri: str, experiment_id: str, name: str, tags: Mapping[str, str]) -> str:
    """Create a run, and give its id.

    Args:
        uri: What `resolve_uri` returned.
        experiment_id: The experiment.
        name: The run's name.
        tags: Its tags.

    Raises:
        RunError: The store refused or did not answer; a run may be RUNNING in it then.
    """
    mark, tries = uuid.uuid4().hex, itertools.count()

    def create() -> str:
        if next(tries) and (found := search_runs(uri, f"tags.`{MARK}` = '{mark}'")):
            return found[0].info.run_id
        marked = {**tags, MARK: mark}
        run = connect(uri).create_run(experiment_id, tags=marked, run_name=name)
        return run.info.run_id

    return asked(uri, create)

"""Where a job's record will be: the tracking server that it writes to, and the page to look at.

The page is known before the job begins, because its experiment and its name are: it is that of the
experiment, showing the runs of that name.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from ...platform.errors import PacelineError, UserError
from ...platform.home import home
from ...platform.run_context import in_environment
from ...platform.tracking.redaction import redact
from ...platform.tracking.uri import VARIABLE, resolve_uri
from ..cluster_profile import Profile, environment
from .cluster import LOOPBACK, JobCluster

if TYPE_CHECKING:
    from ...platform.tracking.store import Store  # it imports MLflow


def tracking_uri(given: str | None, cluster: JobCluster) -> str | None:
    """The tracking server of a job.

    Args:
        given: What `--tracking-uri` says.
        cluster: Where the job runs.

    Returns:
        Its URI; None: the job writes to a file of the node that it runs on.

    Raises:
        UserError: The cluster cannot reach it, or it would give a password away.
    """
    known = cluster.profile.tracking_uri if cluster.profile else None
    here = os.environ.get(VARIABLE, "")
    uri = given or known or (here if here.startswith("http") else None)
    if not uri:
        return None
    uri = resolve_uri(uri, home())
    if redact(uri) != uri:
        what = "`tracking.uri` must be an address without a password for a job, but has one."
        remedy = "a tracking server, http://..., whose password the nodes have in their environment"
        raise UserError(what, "--tracking-uri", remedy)
    is_here = not uri.startswith("http") or urlsplit(uri).hostname in LOOPBACK
    if is_here and not cluster.is_here:
        what = f"`tracking.uri` must be an address that the cluster reaches, but is {uri!r}."
        raise UserError(what, "--tracking-uri", "a tracking server, http://host:5000")
    return uri


@contextlib.contextmanager
def known_to(profile: Profile | None, uri: str) -> Iterator[None]:
    """Have the account of a cluster's own tracking server at hand, and of no other server."""
    values: dict[str, str] = {}
    if profile is not None and uri == profile.tracking_uri.rstrip("/"):
        account = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
        values = {name: environment(profile)[name] for name in account}
    with in_environment(values):
        yield


def page_of(store: Store, name: str) -> str:
    """The page of an open store's experiment that shows the runs of a name."""
    shown = quote(f'attributes.run_name = "{name}"')
    page = f"{store.uri}/#/experiments/{store.experiment_id}/runs?searchFilter={shown}"
    return f"{page}&workflowType=machine_learning"


def _opened(uri: str, experiment: str) -> Store:
    from ...platform.tracking.store import Store

    return Store(uri, experiment).open()


def first_link(cluster: JobCluster, uri: str | None, experiment: str, name: str) -> str:
    """The page of a run that does not exist yet, or why there is none, in brackets."""
    if uri is None:
        return "(a file on the cluster's head; --tracking-uri http://... names a server)"
    if not uri.startswith("http"):
        return f"({uri})"
    try:
        with known_to(cluster.profile, uri):
            return page_of(_opened(uri, experiment), name)
    except PacelineError as error:  # the cluster may reach what this machine does not
        return f"{uri} (cannot be asked from here: {error.what})"


def run_link(cluster: JobCluster, uri: str | None, experiment: str, name: str) -> str | None:
    """The page of the run itself, once it exists; None: it does not, or cannot be asked for."""
    if uri is None or not uri.startswith("http"):
        return None
    from ...platform.tracking.client import asked

    try:
        with known_to(cluster.profile, uri):
            store = _opened(uri, experiment)
            found = store.find_run(name)
            if found is None:
                return None
            run = asked(uri, lambda: store.client.get_run(found))
            return store.link(found, experiment_id=run.info.experiment_id)
    except PacelineError:
        return None

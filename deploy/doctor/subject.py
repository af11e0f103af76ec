"""Which cluster, storage and tracking server the doctor looks at, and with whose credentials.

Flags come first, then the environment, then the cluster that this home knows.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from ...platform.home import home
from ...platform.tracking.uri import VARIABLE, resolve_uri
from ..cluster_profile import Profile, environment, read_profile


@dataclass(frozen=True)
class Subject:
    """What is looked at.

    Args:
        address: A Ray cluster; None: this machine alone.
        storage: What `--storage` takes; None: the home's own folder.
        tracking_uri: MLflow's store, resolved.
        profile: The home's cluster, where that is what is looked at.
        timeout_s: Seconds that a row may take.
    """

    address: str | None
    storage: str | None
    tracking_uri: str
    profile: Profile | None
    timeout_s: float

    @property
    def secret_files(self) -> list[str]:
        """Files of secrets that the home's cluster names."""
        found = self.profile
        if found is None:
            return []
        paths = (found.token_path, found.tracking_password_path, found.storage_credentials_path)
        return [path for path in paths if path]


def subject_of(
    address: str | None, storage: str | None, tracking_uri: str | None, timeout_s: float
) -> Subject:
    """What flags, environment and profile say together.

    Raises:
        UserError: The profile is damaged, or the tracking URI is none.
    """
    address = address or os.environ.get("RAY_ADDRESS") or None
    profile = read_profile()
    if profile is not None and address not in (None, profile.address):
        profile = None  # another cluster is asked for: nothing of ours fits it
    tracking_uri = tracking_uri or os.environ.get(VARIABLE) or None
    if profile is not None:
        address, storage = profile.address, storage or profile.storage
        tracking_uri = tracking_uri or profile.tracking_uri
    return Subject(address, storage, resolve_uri(tracking_uri, home()), profile, timeout_s)


@contextlib.contextmanager
def credentials_of(profile: Profile | None) -> Iterator[None]:
    """The cluster's credentials in the environment for a while; what is set there already wins.

    Raises:
        UserError: A file that holds one cannot be read.
    """
    if profile is None:
        yield
        return
    given = {k: v for k, v in environment(profile).items() if k not in os.environ}
    os.environ.update(given)
    try:
        yield
    finally:
        for name in given:
            os.environ.pop(name, None)

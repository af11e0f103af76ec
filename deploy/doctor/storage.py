"""Where runs are stored: written and read here, and from every other node of a cluster."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path

from ...platform.errors import PacelineError
from ...platform.home import runs_folder
from ...platform.storage.location import parse, place_of
from ...platform.storage.object_store import ObjectStore, told
from .row import FAIL, OK, Row

NAME = "storage"


def look_at_storage(storage: str | None, num_nodes: int, timeout_s: float) -> Row:
    """Whether every node can write where runs go, and read what another wrote there.

    Args:
        storage: What `--storage` takes; None: the home's own folder.
        num_nodes: How many nodes the cluster has; 0: no cluster is asked.
        timeout_s: How long the nodes may take.
    """
    try:
        place = place_of(storage)
        if place is not None:
            return _look_at_store(place, num_nodes, timeout_s)
        return _look_at_folder(runs_folder(storage), num_nodes, timeout_s)
    except PacelineError as error:
        found = f"{error.what} {error.where}".strip()
        return Row(NAME, FAIL, found, error.remedy or "another --storage")


def _look_at_store(place: str, num_nodes: int, timeout_s: float) -> Row:
    location = parse(place)
    store, name, token = ObjectStore(location), f".probe-{secrets.token_hex(8)}", b"doctor"
    remedy = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL for a store of your own"
    try:
        store.put(name, token)
        found = store.get(name)
        store.delete(name)
    except OSError as error:
        found = f"{location.plain_uri} cannot be written and read: {told(error)}"
        return Row(NAME, FAIL, found, remedy)
    if found != token:
        return Row(NAME, FAIL, f"{location.plain_uri} does not give back what it took", remedy)
    if num_nodes > 1:
        from ...platform.launch.storage_probe import probe_store  # imports Ray

        probe_store(place, timeout_s)
    return Row(NAME, OK, f"{location.plain_uri}, written and read {_by(num_nodes)}")


def _look_at_folder(folder: Path, num_nodes: int, timeout_s: float) -> Row:
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{secrets.token_hex(8)}"
        try:
            probe.write_text("doctor")
            text = probe.read_text()
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        found = f"{folder} cannot be written: {error.strerror}"
        return Row(NAME, FAIL, found, "--storage /a/folder/you/own, or another PACELINE_HOME")
    if text != "doctor":
        return Row(NAME, FAIL, f"{folder} does not give back what it took", "another --storage")
    try:
        if num_nodes > 1:
            from ...platform.launch.storage_probe import probe  # imports Ray

            probe(folder, "--storage", "--storage /a/shared/folder, or s3://...", timeout_s)
    finally:
        if is_new:
            with contextlib.suppress(OSError):  # a run may have begun there meanwhile
                folder.rmdir()
    return Row(NAME, OK, f"{folder}, written and read {_by(num_nodes)}")


def _by(num_nodes: int) -> str:
    return f"from {num_nodes} nodes" if num_nodes > 1 else "here"

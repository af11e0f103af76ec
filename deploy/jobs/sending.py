"""A checked command on its way to a cluster: what is left open is decided here, where one sees it.

The name is fixed before the job begins, so that its page can be told at once and a second command
of the same name is refused.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from ...platform.errors import UserError, must
from ...platform.home import free_name, names
from ...platform.tracking.uri import VARIABLE
from .cargo import Cargo
from .cluster import Jobs
from .command_line import Inner, with_flag
from .job import COMMAND, NAME, STORAGE, TRACKING, VERB, Job, check_name, list_jobs
from .record_link import first_link, run_link
from .submission import NameTaken, Order, submit


class Submission:
    """One command on its way to a cluster: its name, its storage, its words, its room.

    Args:
        client: The cluster's.
        inner: The command.
        config: Its config, where it starts a run or a sweep.
        uri: The tracking server; None: a file of the cluster's.
        options: Those of `submit`.
    """

    def __init__(
        self, client: Jobs, inner: Inner, config: Any, uri: str | None, options: dict[str, Any]
    ):
        self.client, self.inner, self.config = client, inner, config
        self.uri, self.options = uri, options
        self.storage: str | None = inner.given("launch.storage")

    @property
    def experiment(self) -> str:
        """Where the run will be, by name."""
        return (self.config.tracking.experiment or self.config.recipe) if self.config else ""

    def send_named(self, words: list[str], cargo: Cargo) -> tuple[str, str]:
        """Send it; a default name that another takes at the same moment is followed by the next."""
        while True:
            try:
                return self.send(words, cargo)
            except NameTaken:
                if not self.inner.starts or self.inner.arguments.options.get("name"):
                    raise

    def send(self, words: list[str], cargo: Cargo) -> tuple[str, str]:
        """Fix the name, send all of it, and give the job's id and the name."""
        jobs = list_jobs(self.client)
        name = self._name(jobs)
        check_name(jobs, name, starts=self.inner.starts)
        self._find_storage(jobs, name)
        words = self._completed(words, name)
        metadata = {NAME: name, VERB: self.inner.verb, COMMAND: shlex.join(["paceline", *words])}
        metadata |= {STORAGE: self.storage} if self.storage else {}
        metadata |= {TRACKING: self.uri} if self.uri else {}
        cpus, gpus = self._own_room()
        order = Order(
            name=name,
            command=["paceline", *words],
            cargo=cargo,
            metadata=metadata,
            variables={VARIABLE: self.uri} if self.uri else {},
            num_cpus=cpus,
            num_gpus=gpus,
            python=self.options.get("python"),
        )
        return submit(self.client, order), name

    def _name(self, jobs: list[Job]) -> str:
        if not self.inner.starts:
            return str(next(iter(self.inner.arguments.positional.values())))
        if given := self.inner.arguments.options.get("name"):
            return str(given)
        taken = {job.name for job in jobs} | {job.id for job in jobs} | set(names())
        storage = None if self.storage is None or "://" not in self.storage else self.storage
        stem, _, number = free_name(self.config.recipe, storage).rpartition("-")
        count = int(number)
        while f"{stem}-{count}" in taken:
            count += 1
        return f"{stem}-{count}"

    def _find_storage(self, jobs: list[Job], name: str) -> None:
        """Where the run's files go: as given, as before, or where the cluster keeps them."""
        before = [
            job.metadata[STORAGE] for job in jobs if job.name == name and STORAGE in job.metadata
        ]
        known = self.client.cluster.profile
        if self.storage and "://" not in self.storage and not Path(self.storage).is_absolute():
            rule = "an absolute folder or s3://bucket/prefix, for Ray deletes a job's own folder"
            raise UserError(must("--storage", rule, self.storage), "--storage")
        if self.storage is None and not self.inner.starts and before:
            self.storage = before[-1]
        elif self.storage is None and known is not None:
            self.storage = known.storage

    def _completed(self, words: list[str], name: str) -> list[str]:
        """The words with all that was decided here."""
        inner, changes = self.inner, self.inner.arguments.changes
        if inner.starts and not inner.arguments.options.get("name"):
            words = with_flag(words, "name", name)
        if self.storage and "launch.storage" not in changes and inner.takes("storage"):
            words = with_flag(words, "storage", self.storage)
        if self.uri and inner.starts and "tracking.uri" not in changes:
            words = with_flag(words, "tracking-uri", self.uri)
        if self._drives_others() and inner.takes("address"):
            words = with_flag(words, "address", "auto")
        return [*words, "--json"] if self.options.get("json") else words

    def _drives_others(self) -> bool:
        """Whether the command works through Ray, and needs no room of its own."""
        if self.inner.verb == "fit":
            return self.config.launch.has_many_workers
        return self.inner.verb in ("sweep", "resume", "extend", "promote")

    def _own_room(self) -> tuple[float, float]:
        if self._drives_others() or self.config is None:
            return 0.0, 0.0
        return self.config.launch.cpus_per_worker, self.config.launch.gpus_per_worker

    def link(self, name: str) -> str:
        """The page of the run, whether it exists or not."""
        cluster, uri = self.client.cluster, self.uri
        experiment = self.experiment or "Default"
        if self.inner.starts:
            return first_link(cluster, uri, experiment, name)
        return run_link(cluster, uri, experiment, name) or uri or "(the cluster's own)"

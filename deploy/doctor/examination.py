"""The doctor's rows, one after another: each asks the nodes and judges what they answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...platform.errors import PacelineError
from ...platform.home import runs_folder
from ...platform.storage.location import is_object_store
from ...platform.tracking.uri import sqlite_path
from . import data, hardware, on_node, secrecy, software, storage, tracking
from .machine import Answers, ThisMachine, within
from .row import FAIL, OK, SKIPPED, Finding, Row, of_nodes, unanswered
from .subject import Subject

if TYPE_CHECKING:
    from .cluster import RayCluster

HERE = "this machine"


class Examination:
    """One look at a subject.

    Args:
        subject: What is looked at.
        site: Its nodes.
    """

    def __init__(self, subject: Subject, site: ThisMachine | RayCluster):
        self.subject, self.site = subject, site
        uri = subject.tracking_uri
        self.server = tracking.Server(uri) if uri.startswith("http") else None

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Answers:
        return self.site.ask(function, *arguments, timeout_s=self.subject.timeout_s)

    def _each(
        self, name: str, judge: Callable[[str, Any], Sequence[Finding]], answers: Answers
    ) -> Row:
        """A row of what each node's answer is judged to be."""
        findings = {node: judge(node, answer) for node, answer in answers.by_node.items()}
        return of_nodes(name, {**findings, **unanswered(answers.silent)})

    def _promised(self, node: str) -> hardware.Promised | None:
        return self.site.resources.get(node)

    def versions(self) -> Row:
        """Versions on all nodes against the tested ranges."""
        wanted = software.requirements()
        answers = self._ask(on_node.installed, software.packages())
        here = {HERE: on_node.installed(software.packages())} if self.site.is_cluster else {}
        findings = software.judge_versions({**here, **answers.by_node}, wanted)
        return of_nodes("versions", {**findings, **unanswered(answers.silent)})

    def lightning(self) -> Row:
        """`lightning` beside `pytorch_lightning`."""
        places = self._ask(on_node.importable, software.LIGHTNING)
        versions = self._ask(on_node.installed, ["lightning"]).by_node

        def judge(node: str, found: Any) -> Sequence[Finding]:
            return software.judge_lightning(found, versions.get(node, {}))

        return self._each("lightning", judge, places)

    def processors(self) -> Row:
        """CPUs, their limits, and what Ray promises."""

        def judge(node: str, found: Any) -> Sequence[Finding]:
            return hardware.judge_processors(found, self._promised(node))

        return self._each("CPU", judge, self._ask(on_node.processors))

    def graphics(self) -> Row:
        """GPUs of the driver, of torch and of Ray."""

        def judge(node: str, found: Any) -> Sequence[Finding]:
            return hardware.judge_graphics(found, self._promised(node))

        return self._each("GPU", judge, self._ask(on_node.graphics))

    def memory(self) -> Row:
        """Memory, its limit, and what Ray promises."""

        def judge(node: str, found: Any) -> Sequence[Finding]:
            return hardware.judge_memory(found, self._promised(node))

        return self._each("memory", judge, self._ask(on_node.memory))

    def all_reduce(self) -> Row:
        """Two ranks, on two nodes when there are two."""
        from .two_ranks import look_at_all_reduce

        return look_at_all_reduce(self.site, self.subject.timeout_s)

    def disks(self) -> Row:
        """Room where a run writes."""
        stored = self.subject.storage
        folder = runs_folder(None if is_object_store(stored) else stored)
        places = [str(folder), os.environ.get("TMPDIR", "/tmp")]
        return self._each(
            "disk", lambda _, found: hardware.judge_disks(found), self._ask(on_node.room, places)
        )

    def shared_memory(self) -> Row:
        """Room in `/dev/shm`."""
        place = "/dev/shm"
        return self._each(
            "shared memory",
            lambda _, found: hardware.judge_shared_memory(found[place]),
            self._ask(on_node.room, [place]),
        )

    def storage(self) -> Row:
        """The place of runs, written and read from every node."""
        num_nodes = len(self.site.nodes)
        if num_nodes < 2:
            num_nodes = 0
        return storage.look_at_storage(self.subject.storage, num_nodes, self.subject.timeout_s)

    def tracking(self) -> Row:
        """The tracking store, written and read."""
        row = tracking.look_at_store(self.subject.tracking_uri, self.server)
        path = sqlite_path(self.subject.tracking_uri)
        if row.state != OK or path is None or len(self.site.nodes) < 2:
            return row
        from ...platform.launch.storage_probe import probe  # imports Ray

        try:
            remedy = "--tracking-uri http://host:5000, which all nodes reach"
            probe(path.parent, "--tracking-uri", remedy, self.subject.timeout_s)
        except PacelineError as error:
            return Row(row.name, FAIL, f"{error.what} {error.where}", error.remedy)
        return row

    def hosts(self) -> Row:
        """Foreign hosts at the tracking server."""
        return tracking.look_at_hosts(self.server)

    def password(self) -> Row:
        """Nobody's request at the tracking server."""
        return tracking.look_at_password(self.server)

    def tokens(self) -> Row:
        """Ray's token, and files of secrets."""
        is_cluster = self.site.is_cluster
        files = [*secrecy.FILES, *self.subject.secret_files]

        def judge(node: str, found: Any) -> Sequence[Finding]:
            is_reachable = is_cluster and not tracking.is_loopback(self.site.address(node))
            return secrecy.judge_secrets(found, is_cluster=is_cluster, is_reachable=is_reachable)

        return self._each("tokens", judge, self._ask(on_node.secrets, files, is_cluster))

    def clocks(self) -> Row:
        """Clocks of nodes and of the tracking server against the one here."""
        offsets, silent = {}, {}
        if self.site.is_cluster:
            self._ask(on_node.clock)  # a worker's start would blur the time
            sent = time.time()
            answers, now = self._ask(on_node.clock), time.time()
            silent = answers.silent
            for node, theirs in answers.by_node.items():
                offsets[node] = (theirs - (sent + now) / 2, (now - sent) / 2)
        if (server := tracking.look_at_clock(self.server)) is not None:
            offsets["tracking server"] = server
        if not offsets and not silent:
            return Row("clocks", SKIPPED, "no other clock")
        offsets[HERE] = (0.0, 0.0)  # what the others are held against
        return of_nodes("clocks", {**hardware.judge_clocks(offsets), **unanswered(silent)})

    def data_sets(self) -> Row:
        """Data sets, every byte of them."""
        answers = self._ask(on_node.data_sets)
        training = [
            node
            for node in answers.by_node
            if (promised := self._promised(node)) is None or promised.get("CPU", 0) > 0
        ]
        findings = data.judge_data(answers.by_node, training)
        return of_nodes("data sets", {**findings, **unanswered(answers.silent)})

    def pickles(self) -> Row:
        """What would unpickle what others wrote."""
        return self._each(
            "pickles",
            lambda _, found: secrecy.judge_pickles(found),
            self._ask(on_node.variables, secrecy.VARIABLES),
        )

    def rows(self) -> list[tuple[str, Callable[[], Row]]]:
        """The rows by name, in the order in which they are looked at."""
        return [
            ("versions", self.versions),
            ("lightning", self.lightning),
            ("CPU", self.processors),
            ("GPU", self.graphics),
            ("memory", self.memory),
            ("all-reduce", self.all_reduce),
            ("disk", self.disks),
            ("shared memory", self.shared_memory),
            ("storage", self.storage),
            ("tracking", self.tracking),
            ("tracking host check", self.hosts),
            ("tracking password", self.password),
            ("tokens", self.tokens),
            ("clocks", self.clocks),
            ("data sets", self.data_sets),
            ("pickles", self.pickles),
        ]


def looked(name: str, look: Callable[[], Row], timeout_s: float) -> Row:
    """One row, within its time; one that fails is a row of its own and no traceback."""
    row, error = within(timeout_s, look)
    if error is None:
        return row
    remedy = "--timeout gives it longer" if error.startswith("no answer") else "report it"
    return Row(name, FAIL, error, remedy)

"""`paceline submit VERB ...` and `paceline cancel JOB`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...platform.arguments import Arguments
from ...platform.deferred_signals import DeferredSignals
from ...platform.errors import UserError, must
from ...platform.signals import Interrupted
from .cargo import MAX_BYTES, MIB, load_cargo
from .cluster import JobCluster, Jobs, asked, find_cluster
from .command_line import (
    check_config,
    read_inner,
    shipped_words,
    split_words,
)
from .follow import Follower, tell, wait_over, write_out
from .job import ENDED, TRACKING, VERB, WRONG_INPUT, Job, find_job, list_jobs
from .record_link import run_link, tracking_uri
from .sending import Submission

Answer = tuple[Any, str | None, int]
CANCEL_S = 180.0
# What goes on with what a command began; others are given again.
_GO_ON = {**dict.fromkeys(("fit", "sweep", "resume", "extend"), "resume"), "promote": "promote"}


def submit_command(arguments: Arguments) -> Answer:
    """`paceline submit VERB RECIPE ...`: a command as a job of the cluster."""
    options, words = split_words(arguments)
    if words[:1] == ["follow"]:
        return _follow_again(options, words[1:])
    inner = read_inner(words)
    folder = Path(options.get("working_dir", ".")).expanduser().absolute()
    config = check_config(inner)
    cluster = find_cluster(options.get("address"))
    uri = tracking_uri(inner.given("tracking.uri"), cluster)
    cargo = load_cargo(folder, options.get("exclude", ()), max_bytes=_limit(options))
    shipped = shipped_words(inner, cargo.folder, list(cargo.files))
    client = Jobs(cluster)
    plan = Submission(client, inner, config, uri, options)
    job_id, name = plan.send_named(shipped, cargo)
    link = plan.link(name)
    tell(f"job {job_id} on {cluster.url}: {cargo.described()}")
    tell(f"MLflow: {link}")
    answer = {"name": name, "job_id": job_id, "address": cluster.url, "tracking_uri": uri}
    if options.get("detach"):
        told = [
            f"{name}: submitted",
            f"  MLflow        {link}",
            f"  follow it     paceline submit follow {job_id}",
            f"  end it        paceline cancel {job_id}",
        ]
        return {**answer, "status": "submitted", "link": link, "result": None}, "\n".join(told), 0
    return _followed(client, job_id, {**answer, "link": link}, plan.inner.verb, plan)


def _limit(options: dict[str, Any]) -> int:
    asked_for = options.get("max_upload")
    if asked_for is not None and asked_for * MIB > MAX_BYTES:
        rule = f"at most {MAX_BYTES // MIB}, which is what Ray's dashboard takes"
        raise UserError(must("--max-upload", rule, asked_for))
    return MAX_BYTES if asked_for is None else asked_for * MIB


def _followed(
    client: Jobs, job_id: str, answer: dict[str, Any], verb: str, plan: Submission | None = None
) -> Answer:
    """Follow a job to its end; its exit code is the command's."""
    lines = _LastObject(write_out)
    follower = Follower(client, job_id, lines.write, tell)
    try:
        job = follower.follow()
        code = job.exit_code
    except Interrupted as interruption:
        job, code = getattr(interruption, "job", None), interruption.exit_code
        if job is None:
            raise
    finally:
        lines.flush()
    status = ENDED.get(job.status, job.status.lower())
    if plan is not None and plan.experiment:
        found = run_link(client.cluster, plan.uri, plan.experiment, answer["name"])
        answer["link"] = found or answer["link"]
    answer |= {"status": status, "exit_code": job.exit_code, "result": lines.found}
    told = [f"job {job_id}: {status}" + (f", exit code {job.exit_code}" if job.exit_code else "")]
    if status == "failed" and job.code is None and job.message:
        told.append(f"  {job.message.strip().splitlines()[-1][:500]}")
    told.append(f"  MLflow        {answer['link']}")
    if code and code != WRONG_INPUT and verb in _GO_ON:
        told.append(f"  go on         paceline submit {_GO_ON[verb]} {answer['name']}")
    return answer, "\n".join(told), code


class _LastObject:
    """Hands a job's lines on, and keeps the object of `--json` that its command answered.

    Args:
        write: Takes the lines.
    """

    def __init__(self, write: Any):
        self._write = write
        self._rest = ""
        self.found: dict[str, Any] | None = None

    def write(self, text: str) -> None:
        """Take a piece of output, which may end within a line."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._line(f"{line}\n")

    def flush(self) -> None:
        """There is no more."""
        if self._rest:
            self._line(self._rest)
            self._rest = ""

    def _line(self, line: str) -> None:
        found = None
        if line.startswith("{"):
            try:
                found = json.loads(line)
            except ValueError:
                found = None
        if isinstance(found, dict) and ("error" in found or {"name", "status"} <= found.keys()):
            self.found = found
        self._write(line)


def _follow_again(options: dict[str, Any], words: list[str]) -> Answer:
    """`paceline submit follow JOB`: a job that was detached from, or lost from sight."""
    if len(words) != 1:
        usage = "paceline submit follow JOB"
        raise UserError(
            "`JOB` must be given, but is missing."
            if not words
            else must("arguments", "one job", words[1]),
            "",
            usage,
        )
    client = Jobs(find_cluster(options.get("address")))
    job = find_job(list_jobs(client), words[0])
    answer = _answer_of(client.cluster, job)
    return _followed(client, job.id, answer, job.metadata.get(VERB, ""))


def _answer_of(cluster: JobCluster, job: Job) -> dict[str, Any]:
    uri = job.metadata.get(TRACKING)
    known = {"name": job.name, "job_id": job.id, "address": cluster.url, "tracking_uri": uri}
    link = run_link(cluster, uri, "Default", job.name) if uri and job.name else None
    return {**known, "link": link or uri or "(the cluster's own)"}


def cancel_command(arguments: Arguments) -> Answer:
    """`paceline cancel JOB`: end a job in order, and wait until it has."""
    client = Jobs(find_cluster(arguments.options.get("address")))
    job = find_job(list_jobs(client), str(arguments.positional["JOB"]))
    if job.is_over:
        rule = "a job that runs"
        given = f"{job.id}, which has {ENDED[job.status]}"
        ours = job.name and VERB in job.metadata
        remedy = f"go on with it: paceline submit resume {job.name}" if ours else ""
        raise UserError(must("JOB", rule, given), client.cluster.url, remedy)
    with DeferredSignals() as signals:
        asked(client.stop_job, job.id)
        ended = wait_over(client, job.id, arguments.options.get("timeout", CANCEL_S), signals.check)
    ended = replace(ended, metadata=job.metadata)
    status = ENDED[ended.status]
    answer = {"name": job.name, "job_id": job.id, "status": status, "exit_code": ended.exit_code}
    text = f"job {job.id}: {status}"
    if job.name and VERB in job.metadata:
        text += f"\n  go on         paceline submit resume {job.name}"
    return answer, text, 0

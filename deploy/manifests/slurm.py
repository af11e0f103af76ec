"""A Slurm job: Ray on all its nodes by `ray symmetric-run`, the run on the first.

Four things that Ray's command does not do itself are done by the script. It resolves the first
node to an address that others reach, as a node's own name often stands for its loopback. Ray
answers 0 when it could not start; here the job fails. And what Slurm's signal before the limit
reaches is the run alone, which then ends in order; the job goes back into the queue and resumes.
Slurm's count of tasks is hidden from it, as Lightning would wait for as many ranks.
"""

from __future__ import annotations

import shlex

from ..values import ClusterValues
from . import parts
from .environment import NODES, environment_file

DEFAULTS = {"storage": "/srv/paceline/runs"}

_SCRIPT = """\
#!/usr/bin/env bash
{directives}
# The cluster {name} as one job: `sbatch job.sh`, in the folder of this file.
# {file} beside it holds what is secret; nobody else may read it.
set -euo pipefail
cd "${{SLURM_SUBMIT_DIR:?must be set, as sbatch does}}"

secrets="${{PACELINE_ENVIRONMENT:-{file}}}"
if [[ ! -O "$secrets" || "$(stat --format=%a "$secrets")" != [46]00 ]]; then
    echo "$secrets must be a file of yours that nobody else may read: chmod 600 $secrets" >&2
    exit 2
fi
set -a
# shellcheck disable=SC1090
source "$secrets"
set +a
: "${{RAY_AUTH_TOKEN:?fill in $secrets}}"
export RAY_AUTH_MODE=token
export MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false
export RAY_USAGE_STATS_ENABLED=0
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300
# So soon the other nodes leave once the first has ended; all must be over before Slurm's limit.
export RAY_gcs_rpc_server_reconnect_timeout_s=30
{settings}export PATH="{environment}/bin:$PATH"

first="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head --lines=1)"
head_ip="${{PACELINE_HEAD_IP:-}}"
if [[ -z "$head_ip" ]]; then
    addresses="$(srun --export=ALL --nodes=1 --ntasks=1 --nodelist="$first" hostname -I)"
    head_ip="${{addresses%% *}}"
fi

words=({words})
if [[ "${{SLURM_RESTART_COUNT:-0}}" -gt 0 ]] \\
    && paceline show {run}{at_storage} >/dev/null 2>&1; then
    words=({again})
fi

# The run's process number, once Ray is up; a job in which this stays away has failed.
mark="$(mktemp --tmpdir paceline.XXXXXX)"
trap 'rm --force "$mark"' EXIT
asked_to_end=0
# shellcheck disable=SC2329
end_in_order() {{
    asked_to_end=1
    if [[ -s "$mark" ]]; then kill -TERM "$(cat "$mark")" || true; fi
}}
trap end_in_order TERM

# Lightning takes whoever has Slurm's count of tasks for one of so many ranks; here Ray starts them.
# shellcheck disable=SC2016
note='echo "$$" >"$0"; exec "$@"'
srun --export=ALL --nodes={nodes} --ntasks={nodes} --cpus-per-task="$SLURM_CPUS_PER_TASK" \\
    env --unset=SLURM_NTASKS --unset=SLURM_PROCID \\
    ray symmetric-run --address "$head_ip:{port}" --min-nodes {nodes} \\
    --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus={gpus} --disable-usage-stats \\
    -- bash -c "$note" "$mark" "${{words[@]}}" &
step=$!
code=0
wait "$step" || code=$?
# A signal ends the wait, not the step.
while kill -0 "$step" 2>/dev/null; do
    code=0
    wait "$step" || code=$?
done

if [[ ! -s "$mark" ]]; then
    echo "Ray did not start on {nodes} nodes; what it said stands above" >&2
    exit 1
fi
if [[ "$asked_to_end" -eq 1 ]]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def slurm_files(values: ClusterValues) -> dict[str, str]:
    """The job's script and the template of its secrets."""
    parts.need(values, "slurm", "tracking_uri")
    return {"job.sh": slurm(values), **environment_file(NODES)}


def slurm(values: ClusterValues) -> str:
    """The job's script."""
    run = parts.run_name(values)
    at_storage = f" --storage {shlex.quote(values.storage)}" if values.storage else ""
    settings = {"MLFLOW_TRACKING_URI": values.tracking_uri, "AWS_DEFAULT_REGION": values.region}
    if values.s3_endpoint:
        settings["AWS_ENDPOINT_URL"] = values.s3_endpoint
    again = f"paceline resume {run} --address auto{at_storage}"
    return _SCRIPT.format(
        directives="\n".join(f"#SBATCH --{line}" for line in _directives(values)),
        name=values.name,
        file=parts.ENVIRONMENT_FILE,
        settings="".join(f"export {key}={shlex.quote(v)}\n" for key, v in settings.items()),
        environment=_folder(values.environment),
        words=shlex.join(parts.paceline_words(values, "auto")),
        again=again,
        run=run,
        at_storage=at_storage,
        nodes=values.workers,
        gpus=values.gpus,
        port=parts.GCS_PORT,
    )


def _directives(values: ClusterValues) -> list[str]:
    """What Slurm reads at the head of the script.

    Whole nodes, because Ray's command ends every Ray of the account on its nodes. The signal goes
    to the script alone, two minutes before the limit or at a preemption.
    """
    asked = {
        "job-name": values.name,
        "partition": values.partition,
        "account": values.account,
        "nodes": values.workers,
        "ntasks-per-node": 1,
        "cpus-per-task": values.cpus,
        "mem": f"{values.memory_gib}G",
        "gpus-per-node": values.gpus,
        "time": values.time_limit,
        "signal": "B:TERM@120",
        "open-mode": "append",
        "output": "%x-%j.log",
    }
    given = [f"{name}={value}" for name, value in asked.items() if value]
    return [*given, "exclusive", "requeue", "export=NONE"]


def _folder(path: str) -> str:
    """A folder as the script writes it inside double quotes: from where the job was submitted."""
    if path.startswith("~/"):
        return f"$HOME/{path[2:]}"
    return path if path.startswith("/") else f"$SLURM_SUBMIT_DIR/{path}"

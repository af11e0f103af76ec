"""Files that are no YAML: the Dockerfile, the Slurm script, the server's settings, the secrets.

Where hadolint and shellcheck are installed they are asked first; what they cannot know, ours says.
"""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from .findings import SECRETS, assigned, command_problems, image_problem, missing, plain_variable

_DIRECTIVES = {
    "job-name": r"[a-z][a-z0-9-]*",
    "partition": r"[\w.,-]+",
    "account": r"[\w.,-]+",
    "nodes": r"[1-9]\d*",
    "ntasks-per-node": "1",
    "cpus-per-task": r"[1-9]\d*",
    "mem": r"[1-9]\d*G",
    "gpus-per-node": r"[1-9]\d*",
    "time": r"(\d+-)?\d+:\d\d:\d\d",
    "signal": r"B:TERM@[1-9]\d+",
    "open-mode": "append",
    "output": "%x-%j.log",
    "exclusive": "",
    "requeue": "",
    "export": "NONE",
}
_OPTIONAL = {"partition", "account", "gpus-per-node"}


def tool(name: str) -> str | None:
    """A program beside this Python, or on the path."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)


def _lint(words: list[str], text: str) -> list[str]:
    done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=60)
    said = (done.stdout + done.stderr).strip().splitlines()
    return [line.strip() for line in said[:5]] if done.returncode else []


def dockerfile_problems(text: str) -> list[str]:
    """What is wrong with the Dockerfile, or an empty list."""
    hadolint = tool("hadolint")
    found = _lint([hadolint, "-"], text) if hadolint else []
    code = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    lines = re.sub(r"\\\n\s*", " ", code).splitlines()
    steps = [line.partition(" ") for line in lines if line.strip()]
    bases = [rest.split()[0] for word, _, rest in steps if word == "FROM" and rest]
    found += [problem for base in bases for problem in image_problem(base, "FROM")]
    if len(bases) != 2 or len(set(bases)) != 1:
        found.append("FROM: must build and run on the same image")
    last = {word: rest for word, _, rest in steps}
    if not re.fullmatch(r"[1-9]\d*:0", last.get("USER", "")):
        found.append("USER: must be a number other than root's, of group 0")
    for command in re.findall(r"--uid (\S+)|--owner=(\S+)", code):
        if f"{''.join(command)}:0" != last.get("USER"):
            found.append("USER: must be the account that was made")
    return found + _image_content_problems(code, steps, last)


_IMAGE_ENVIRONMENT = {
    "PATH": "/opt/paceline/bin:$PATH",
    "HOME": "/home/paceline",
    "USER": "paceline",
    "PACELINE_HOME": "/var/lib/paceline",
    "RAY_TMPDIR": "/var/lib/paceline",
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "MPLCONFIGDIR": "/tmp/matplotlib",
    "NVIDIA_VISIBLE_DEVICES": "all",
    "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "PIP_NO_CACHE_DIR": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}


def _image_content_problems(
    code: str, steps: list[tuple[str, str, str]], last: dict[str, str]
) -> list[str]:
    found = []
    variables = [
        word for rest in (r for w, _, r in steps if w == "ENV") for word in shlex.split(rest)
    ]
    given = assigned(variables)
    if given != _IMAGE_ENVIRONMENT:
        found.append(f"ENV: must be {_IMAGE_ENVIRONMENT}")
    if last.get("WORKDIR") != "/var/lib/paceline" or last.get("CMD") != '["paceline", "--help"]':
        found.append("WORKDIR and CMD: must be ours")
    wheel = re.search(r"COPY constraints\.txt (paceline-\S+\.whl) /wheels/", code)
    install = r'pip install -c /wheels/constraints\.txt "/wheels/(paceline-\S+\.whl)\[cluster\]"'
    installed = re.search(install, code)
    if not wheel or not installed or wheel[1] != installed[1]:
        found.append("RUN: must install the wheel that was copied, with the constraints")
    wanted = (
        "python -m venv /opt/paceline",
        "apt-get install --no-install-recommends --yes rsync wget",
        "rm -rf /var/lib/apt/lists/*",
        "useradd --uid 10001 --gid 0 --create-home paceline",
        "--group=0 --mode=775 /home/paceline /var/lib/paceline\n",
        "COPY --from=build /opt/paceline /opt/paceline",
        'ARG PIP_EXTRA_INDEX_URL=""',
    )
    return found + [
        f"Dockerfile: must have {text.strip()!r}" for text in wanted if text not in code
    ]


def slurm_problems(text: str) -> list[str]:
    """What is wrong with the Slurm script, or an empty list."""
    shellcheck = tool("shellcheck")
    found = _lint([shellcheck, "--shell=bash", "-"], text) if shellcheck else []
    lines = text.splitlines()
    if lines[:1] != ["#!/usr/bin/env bash"]:
        found.append("line 1: must name bash")
    # Slurm stops to read them at the first command.
    head = [n for n, line in enumerate(lines) if line.strip() and not line.startswith("#")]
    given = {}
    for line in lines[: head[0] if head else 0]:
        if line.startswith("#SBATCH "):
            name, _, value = line.removeprefix("#SBATCH --").partition("=")
            given[name] = value
    found += missing(set(_DIRECTIVES) - _OPTIONAL, given, "#SBATCH")
    for name, value in given.items():
        if name not in _DIRECTIVES or not re.fullmatch(_DIRECTIVES[name], value):
            found.append(f"#SBATCH: must not have --{name}={value}")
    return found + _script_problems(text, given)


def _script_problems(text: str, directives: dict[str, str]) -> list[str]:
    found = [f"job.sh: must have {line!r}" for line in _SCRIPT if line not in text]
    for name, value in re.findall(r"^export ([A-Z_]+)=(\S+)$", text, re.M):
        if name not in ("PATH", "RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT"):
            found += plain_variable(name, value.strip("'"))
    wanted = {"RAY_AUTH_MODE", "MLFLOW_TRACKING_URI", "AWS_DEFAULT_REGION"}
    wanted |= {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "RAY_USAGE_STATS_ENABLED"}
    found += missing(wanted, re.findall(r"^export ([A-Z_]+)=", text, re.M), "job.sh")
    nodes = directives.get("nodes")
    run = rf"srun --export=ALL --nodes={nodes} --ntasks={nodes} --cpus-per-task=\S+ \\\n"
    run += r"    env --unset=SLURM_NTASKS --unset=SLURM_PROCID \\\n"
    run += rf"    ray symmetric-run --address \"\$head_ip:6379\" --min-nodes {nodes} \\\n"
    run += (
        r'    (?P<start>--num-cpus=.*) \\\n    -- bash -c "\$note" "\$mark" "\$\{words\[@\]\}" &\n'
    )
    match = re.search(run, text)
    if not match:
        return [*found, "job.sh: must run ray symmetric-run on all nodes"]
    start = match["start"].replace('"$SLURM_CPUS_PER_TASK"', "1")
    try:
        words = shlex.split(start)
    except ValueError as error:
        return [*found, f"symmetric-run: {error}"]
    found += command_problems(["ray", "start", "--head", *words], "symmetric-run")
    gpus = directives.get("gpus-per-node", "0")
    if f"--num-gpus={gpus} " not in start or "--num-cpus" not in start:
        found.append("symmetric-run: must give Ray the cores and GPUs that Slurm gave")
    for line in re.findall(r"words=\((.*)\)", text):
        try:
            found += command_problems(shlex.split(line), "words")
        except ValueError as error:
            found.append(f"words: {error}")
    return found


# Each line is there for a reason that the script or its module tells.
_SCRIPT = (
    "set -euo pipefail\n",
    'cd "${SLURM_SUBMIT_DIR:?',
    '[[ ! -O "$secrets" || "$(stat --format=%a "$secrets")" != [46]00 ]]',
    "    exit 2\n",
    "set -a\n",
    'source "$secrets"\n',
    "set +a\n",
    ': "${RAY_AUTH_TOKEN:?',
    "export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300\n",
    '/bin:$PATH"\n',
    'secrets="${PACELINE_ENVIRONMENT:-paceline.env}"\n',
    'first="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head --lines=1)"\n',
    'head_ip="${PACELINE_HEAD_IP:-}"\n',
    'if [[ -z "$head_ip" ]]; then\n',
    '"$(srun --export=ALL --nodes=1 --ntasks=1 --nodelist="$first" hostname -I)"\n',
    'head_ip="${addresses%% *}"\n',
    'if [[ "${SLURM_RESTART_COUNT:-0}" -gt 0 ]] \\\n    && paceline show ',
    "    words=(paceline resume ",
    "\nwords=(paceline ",
    'mark="$(mktemp --tmpdir paceline.XXXXXX)"\n',
    "trap 'rm --force \"$mark\"' EXIT\n",
    "asked_to_end=0\n",
    "    asked_to_end=1\n",
    'if [[ -s "$mark" ]]; then kill -TERM "$(cat "$mark")" || true; fi\n',
    "trap end_in_order TERM\n",
    'note=\'echo "$$" >"$0"; exec "$@"\'\n',
    "step=$!\ncode=0\n",
    'wait "$step" || code=$?\n# A',
    'while kill -0 "$step" 2>/dev/null; do\n    code=0\n    wait "$step" || code=$?\ndone\n',
    'if [[ ! -s "$mark" ]]; then\n',
    "    exit 1\n",
    'if [[ "$asked_to_end" -eq 1 ]]; then\n    scontrol requeue "$SLURM_JOB_ID"\nfi\n',
    'exit "$code"\n',
)


def environment_problems(text: str) -> list[str]:
    """A template of secrets must name them and hold none."""
    found, names = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        names.append(name)
        if not equals or name not in SECRETS:
            found.append(f"line {number}: must be a known NAME=")
        elif value:
            found.append(f"line {number}: {name} must be empty in a template")
    if len({"RAY_AUTH_TOKEN", "auth_token"} & set(names)) != 1:
        found.append("must have one token")
    wanted = {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}
    wanted |= {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    return found + missing(wanted, names, "template")


def auth_problems(text: str) -> list[str]:
    """The settings of MLflow's accounts: no default password, a database, reading by default."""
    parser = configparser.ConfigParser()
    try:
        parser.read_string(text)
        settings = dict(parser["mlflow"])
    except (configparser.Error, KeyError) as error:
        return [f"mlflow-auth.ini: {error}".partition("\n")[0]]
    right = {
        "default_permission": r"READ|NO_PERMISSIONS",
        "database_uri": r"postgresql\+psycopg://(?:postgres:5432/mlflow)?",
        "authorization_function": r"mlflow\.server\.auth:authenticate_request_basic_auth",
    }
    found = missing(set(right), settings, "mlflow-auth.ini")
    for name, value in settings.items():
        if name not in right or not re.fullmatch(right[name], value):
            found.append(f"mlflow-auth.ini: {name} must not be {value!r}")
    return found


def ignore_problems(text: str) -> list[str]:
    """Nothing but the wheel and the constraints may get into the image's context."""
    right = r"\*\n!constraints\.txt\n!paceline-[\w.+-]+\.whl\n"
    return [] if re.fullmatch(right, text) else [".dockerignore: must let in the wheel alone"]


def constraints_problems(text: str) -> list[str]:
    """Every line pins one version."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    pin = r"[A-Za-z0-9][\w.-]*==\d[\w.+!]*"
    return [
        f"constraints.txt: {line!r} pins no version"
        for line in lines
        if not re.fullmatch(pin, line)
    ]

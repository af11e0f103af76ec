"""Who may run code here: Ray's token, the files that hold secrets, and what unpickles. Pure.

Ray sends pickles between its processes by design, so whoever may talk to a cluster runs code on it;
its token says who that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .row import FAIL, OK, WARN, Finding

# Files of secrets in the user's home, beside those that a cluster's profile names.
FILES = ("~/.ray/auth_token", "~/.aws/credentials", "~/.mlflow/credentials", "~/.netrc")
_YES = ("1", "true", "yes", "y", "on")
_POLICY = {
    # variable -> (values that open the door, what that means, remedy)
    "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": (
        _YES,
        "torch.load unpickles whatever a checkpoint holds",
        "unset TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD",
    ),
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": (
        _YES,
        "MLflow unpickles models of the store",
        "unset it (paceline sets it to false), or export it as false",
    ),
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": (
        _YES,
        "the MLflow server runs jobs that are sent to it",
        "export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false",
    ),
    "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": (
        _YES,
        "the MLflow server checks neither hosts nor origins",
        "unset MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE",
    ),
}
VARIABLES = tuple(_POLICY)


def judge_secrets(
    found: Mapping[str, Any], *, is_cluster: bool, is_reachable: bool
) -> list[Finding]:
    """Ray's token, and who may read the files of secrets.

    Args:
        found: What `on_node.secrets` answered.
        is_cluster: Whether a cluster is looked at, and not this machine alone.
        is_reachable: Whether other machines reach its address.
    """
    findings = []
    for path, file in found["files"].items():
        if file["mode"] & 0o077 or not file["is_own"]:
            whose = f"mode {file['mode']:04o}" if file["is_own"] else "of another user"
            text = f"{path} can be read by others ({whose})"
            findings.append(Finding(FAIL, text, f"chmod 600 {path}, and change what is in it"))
    if is_cluster:
        findings += _judge_token(found, is_reachable=is_reachable)
    count = len(found["files"])
    return findings or [Finding(OK, f"{count or 'no'} file(s) of secrets, private")]


def _judge_token(found: Mapping[str, Any], *, is_reachable: bool) -> list[Finding]:
    if found["mode"] == "token":
        default = found["path"] or "~/.ray/auth_token"
        if not found["has_token"] and found["path"] and found["path"] not in found["files"]:
            text = f"RAY_AUTH_TOKEN_PATH names {default}, which is not there"
            return [Finding(FAIL, text, "paceline cluster up, or copy the token there (mode 600)")]
        return [Finding(OK, "Ray asks for its token")]
    remedy = "start Ray with RAY_AUTH_MODE=token and one RAY_AUTH_TOKEN_PATH on all nodes"
    if is_reachable:
        text = "Ray asks for no token: whoever reaches it runs code on it"
        return [Finding(FAIL, text, remedy)]
    return [Finding(WARN, "Ray asks for no token; only this machine reaches it", remedy)]


def judge_pickles(found: Mapping[str, str]) -> list[Finding]:
    """What would unpickle what others wrote; `found` are the variables that are set."""
    findings = []
    for name, value in found.items():
        opens, means, remedy = _POLICY[name]
        if value.strip().lower() in opens:
            findings.append(Finding(FAIL, f"{name}={value}: {means}", remedy))
    return findings or [Finding(OK, "checkpoints and models are read without unpickling")]

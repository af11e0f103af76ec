"""A template of the file that holds what is secret, with nothing in it yet."""

from __future__ import annotations

from .parts import ENVIRONMENT_FILE, FLASK_KEY, MLFLOW_ACCOUNT, S3_KEYS, TOKEN

_RANDOM = "make one: openssl rand -hex 32"
_TOLD = {
    TOKEN: f"What every node of Ray and everyone who uses it must present; {_RANDOM}",
    "auth_token": f"What every node of Ray and everyone who uses it must present; {_RANDOM}",
    "MLFLOW_TRACKING_USERNAME": "The account at the MLflow server",
    "MLFLOW_TRACKING_PASSWORD": f"At least 12 characters; {_RANDOM}",
    FLASK_KEY: f"Signs the forms of MLflow's pages; {_RANDOM}",
    "POSTGRES_PASSWORD": f"Of the database behind MLflow; {_RANDOM}",
    "PGHOST": "The server of the database behind MLflow",
    "PGDATABASE": "The name of that database",
    "PGUSER": "Its account, which may make tables",
    "PGPASSWORD": "The password of that account",
    "AWS_ACCESS_KEY_ID": "The account at the object store; at one of your own any name",
    "AWS_SECRET_ACCESS_KEY": f"Its key; at an object store of your own {_RANDOM}",
}
NODES = (TOKEN, *MLFLOW_ACCOUNT, *S3_KEYS)
COMPOSE = (*NODES, FLASK_KEY, "POSTGRES_PASSWORD")
# KubeRay wants the token under this key of the secret.
DATABASE = ("PGHOST", "PGDATABASE", "PGUSER", "PGPASSWORD")
KUBERNETES = ("auth_token", *MLFLOW_ACCOUNT, *S3_KEYS, FLASK_KEY, *DATABASE)


def environment_file(names: tuple[str, ...]) -> dict[str, str]:
    """The template: a line for each name, empty."""
    file = ENVIRONMENT_FILE
    head = [
        "# Copy this file, fill in what is empty, and let nobody else read it:",
        f"#   install --mode=600 {file}.template {file}",
        "# Values stand without quotes and blanks. Keep it out of git.",
    ]
    lines = [line for name in names for line in ("", f"# {_TOLD[name]}", f"{name}=")]
    return {f"{file}.template": "\n".join([*head, *lines, ""])}

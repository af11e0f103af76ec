"""MLflow's model registry: a trained module becomes a version of a named model, with an alias.

A version is told apart by the run that trained it, so registering the same one twice changes
nothing: a process that was killed between two calls is made good by calling again. The alias moves
last, when all else of the version stands.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError, must
from .client import MAX_TAG_CHARS, MlflowClient, MlflowException, asked, cut, told
from .export import save_exported
from .model_upload import UPLOAD, upload_model
from .redaction import redact
from .store import Store

RUN = "paceline.run_id"  # the tag by which a version is known
MODEL = "paceline.model_id"  # the exported model that it is
VERSIONS = "mlflow.modelVersions"  # the tag from which MLflow's page links a model to its versions
WAS, REPLACED_BY, REPLACES = "paceline.was_{}", "paceline.replaced_by", "paceline.replaces"
_ALIAS = re.compile(r"[A-Za-z][\w-]{0,99}", re.ASCII)
_NOT_AN_ALIAS = re.compile(r"latest|v\d+", re.IGNORECASE)


class Version(NamedTuple):
    """One version of a registered model.

    Args:
        name: The model's name.
        version: Its number, as MLflow writes it.
        run_id: The run that trained it; empty when nobody says.
        tags: Its tags.
    """

    name: str
    version: str
    run_id: str
    tags: dict[str, str]


def check_names(model: str, alias: str) -> None:
    """Refuse a name or an alias that MLflow would refuse after all training was done.

    Raises:
        UserError: One of them is none.
    """
    if not model.strip() or re.search(r"[/:\\\x00-\x1f]", model) or model in (".", ".."):
        raise UserError(must("--name", "a model's name without '/' and ':'", model), "--name")
    if not _ALIAS.fullmatch(alias) or _NOT_AN_ALIAS.fullmatch(alias):
        rule = "letters, digits, '_' and '-', beginning with a letter, and not `latest` or `v1`"
        raise UserError(must("--alias", rule, alias), "--alias", "--alias champion")


def version_of(store: Store, model: str, run_id: str) -> Version | None:
    """The version of a model that a run trained; None: there is none."""
    quoted = f"name = '{model}'" if "'" not in model else f'name = "{model}"'
    found = asked(store.uri, lambda: list(store.client.search_model_versions(quoted)))
    mine = [_version(one) for one in found if one.tags.get(RUN) == run_id]
    return max(mine, key=lambda one: int(one.version), default=None)


def holder_of(store: Store, model: str, alias: str) -> Version | None:
    """The version that an alias names; None: there is none."""
    client = store.client
    with told(store.uri):
        try:
            number = client.get_registered_model(model).aliases.get(alias)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        return _version(client.get_model_version(model, str(number))) if number else None


def add_version(
    store: Store,
    model: str,
    run_id: str,
    module: Any,
    *,
    tags: Mapping[str, Any],
    description: str,
) -> Version:
    """Export a trained module and register it; nothing is registered when that fails.

    Args:
        store: The store of the run.
        model: The registered model's name; made when there is none.
        run_id: The run that trained it; the exported model becomes an output of it.
        module: The module that the run trained, with the weights that are taken.
        tags: The version's tags.
        description: Its text in MLflow's page.

    Raises:
        UserError: The module cannot be exported.
        RunError: The store refused or did not answer.
    """
    client = store.client
    logged = _exported_model(store, run_id) or _export(store, run_id, module)
    with told(store.uri):
        _make_model(client, model)
        made = client.create_model_version(
            model,
            logged.artifact_location,  # a store that is no server would look it up elsewhere
            run_id,
            tags={name: cut(redact(str(value)), MAX_TAG_CHARS) for name, value in tags.items()}
            | {RUN: run_id, MODEL: logged.model_id},
            description=redact(description),
            model_id=logged.model_id,
        )
        _link(client, logged.model_id, model, str(made.version))
    return _version(made)


def _link(client: MlflowClient, model_id: str, name: str, version: str) -> None:
    """Let the exported model name its version, as a server does of itself."""
    there = json.loads(client.get_logged_model(model_id).tags.get(VERSIONS) or "[]")
    if all((one["name"], str(one["version"])) != (name, version) for one in there):
        there.append({"name": name, "version": version})
        client.set_logged_model_tags(model_id, {VERSIONS: json.dumps(there)})


def _exported_model(store: Store, run_id: str) -> Any:
    """The model that was exported of a run, whole; None: there is none."""
    experiment = asked(store.uri, lambda: store.client.get_run(run_id)).info.experiment_id
    wanted = f"tags.{UPLOAD} = '{_key(run_id)}'"
    found = asked(store.uri, lambda: store.client.search_logged_models([experiment], wanted))
    return next((model for model in found if str(model.status) == "READY"), None)


def _export(store: Store, run_id: str, module: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        box = Path(folder) / _key(run_id)  # by its name a second try goes on with the first
        box.mkdir()
        save_exported(module, box / "model")
        with told(store.uri):
            upload_model(store.client, run_id, box / "model")
    return _exported_model(store, run_id)


def _key(run_id: str) -> str:
    return f"registry-{run_id}"


def move_alias(store: Store, version: Version, alias: str) -> Version | None:
    """Let an alias name a version; the one before keeps a tag, and the new one names it.

    Returns:
        The version that the alias named before; None: no other.

    Raises:
        RunError: The store refused or did not answer.
    """
    client, name = store.client, version.name
    before = holder_of(store, name, alias)
    with told(store.uri):
        if before is not None and before.version != version.version:
            client.set_model_version_tag(name, before.version, WAS.format(alias), "true")
            client.set_model_version_tag(name, before.version, REPLACED_BY, version.version)
            client.set_model_version_tag(name, version.version, REPLACES, before.version)
        client.set_registered_model_alias(name, alias, version.version)
    return None if before is None or before.version == version.version else before


def _make_model(client: MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _version(found: Any) -> Version:
    tags = dict(found.tags or {})
    return Version(found.name, str(found.version), tags.get(RUN) or found.run_id or "", tags)

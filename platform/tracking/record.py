"""What a run carries besides metrics, so that it can be understood and repeated.

Params and the whole config, the command, the seed, the code's commit, the versions, the data and
its digest, the model's size, and a note that says how to reproduce the run.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import platform
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .client import told
from .store import PARENT, Store

# The packages whose version can change a result.
PACKAGES = ("paceline", "torch", "pytorch-lightning", "ray", "mlflow", "numpy")
COMMIT, DIRTY = "paceline.git_commit", "paceline.git_dirty"
# MLflow keeps this much of a data set's digest.
MAX_DIGEST_CHARS = 36


def begin(
    store: Store,
    run_id: str,
    *,
    config: Mapping[str, Any],
    config_text: str,
    name: str,
    seed: int | None,
    command: str,
    world_size: int = 1,
    data: Any = None,
) -> None:
    """Write what is known before training.

    Args:
        store: The store of the run.
        run_id: A new run.
        config: The resolved config, which becomes params.
        config_text: The same as YAML, which becomes the artifact `config.yaml`.
        name: The run's name, for the note.
        seed: What `seed_everything` was given.
        command: The command that repeats the run.
        world_size: How many processes train.
        data: The data module, when it is set up here; else see `record_data`.

    Raises:
        RunError: The store does not answer.
    """
    code = _code(store, run_id)
    tags = {
        **{f"paceline.version.{package}": version for package, version in versions().items()},
        **code,
        "paceline.command": command,
        "paceline.seed": str(seed),
        "paceline.world_size": str(world_size),
        # MLflow's page shows these two in the columns "Source" and "Version".
        "mlflow.source.name": command,
        "mlflow.note.content": note(name, command, seed, code, world_size),
    }
    if commit := code.get(COMMIT):
        tags["mlflow.source.git.commit"] = commit
    store.set_tags(run_id, tags)
    store.set_params(run_id, config)
    with told(store.uri):
        store.client.log_text(run_id, config_text, "config.yaml")
    if data is not None:
        record_data(store, run_id, data)


def record_data(store: Store, run_id: str, data: Any, context: str = "training") -> None:
    """Write the data set's name and digest, as a tag and as MLflow's dataset input.

    Args:
        store: The store of the run.
        run_id: An open run.
        data: A data module after `setup`. Its `name`, `digest` (SHA-256 of the training data) and
            `num_train` are used where it has them; a foreign module is known by its class.
        context: What the data is used for.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    kind = type(data)
    path = f"{kind.__module__}.{kind.__qualname__}"
    name = str(getattr(data, "name", None) or kind.__name__)
    digest = str(getattr(data, "digest", None) or "unknown")
    dataset = Dataset(
        name=name,
        digest=digest[:MAX_DIGEST_CHARS],
        source_type="code",
        source=json.dumps({"tags": {"mlflow.source.name": path}}),
        profile=json.dumps({"num_train": getattr(data, "num_train", None), "sha256": digest}),
    )
    tag = InputTag("mlflow.data.context", context)
    with told(store.uri):
        _log_input(store, run_id, DatasetInput(dataset, [tag]))
    store.set_tags(run_id, {"paceline.data": name, "paceline.data_digest": digest})


def _log_input(store: Store, run_id: str, dataset: Any) -> None:
    """Log a data set; MLflow looks it up and then inserts it, so two trials can collide there."""
    from mlflow.exceptions import MlflowException

    for wait_s in (0.02, 0.1, 0.5, None):
        try:
            return store.client.log_inputs(run_id, [dataset])
        except MlflowException as error:
            # SQLite says "UNIQUE constraint failed", PostgreSQL "violates unique constraint".
            if wait_s is None or "unique" not in str(error).lower():
                raise
            time.sleep(wait_s)
    return None


def summary_of(model: Any) -> tuple[str, int]:
    """Lightning's table of a module's layers, and its number of parameters.

    Args:
        model: A LightningModule. One with an `example_input_array` is run on it, so nothing else
            may use the module meanwhile.
    """
    from pytorch_lightning.utilities.model_summary.model_summary import summarize

    summary = summarize(model, max_depth=3)
    return f"{summary}\n", summary.total_parameters


def record_model(store: Store, run_id: str, summary: tuple[str, int]) -> None:
    """Write what `summary_of` found: a tag, and the table as `model_summary.txt`."""
    text, num_parameters = summary
    store.set_tags(run_id, {"paceline.num_parameters": num_parameters})
    with told(store.uri):
        store.client.log_text(run_id, text, "model_summary.txt")


def note(
    name: str, command: str, seed: int | None, code: Mapping[str, str], world_size: int = 1
) -> str:
    """The text that MLflow's page shows on top of a run, in Markdown."""
    lines = [f"**{name}**", "", "Run it again:", "", "```", command, "```", ""]
    if commit := code.get(COMMIT):
        changed = code.get(DIRTY) == "true"
        lines.append(f"- code: commit `{commit}`" + (", **with uncommitted changes**" * changed))
    lines += [
        f"- seed: {seed}" + (f", {world_size} processes" if world_size > 1 else ""),
        "- config: the artifact `config.yaml` holds every key; `paceline fit config.yaml` takes it",
        "- data: name and digest under *Datasets used*",
        "- versions: the tags `paceline.version.*`",
    ]
    return "\n".join(lines)


@functools.cache
def versions() -> dict[str, str]:
    """Package -> installed version, and Python's; a package that is absent is left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _code(store: Store, run_id: str) -> dict[str, str]:
    """The state of the code that a run is made with.

    A trial takes its sweep's: Ray gives each trial a working folder of its own, outside the
    user's repository.
    """
    with told(store.uri):
        parent = store.client.get_run(run_id).data.tags.get(PARENT)
        if parent is None:
            return code_state(Path.cwd())
        tags = store.client.get_run(parent).data.tags
    return {name: tags[name] for name in (COMMIT, DIRTY) if name in tags}


@functools.cache
def code_state(folder: Path) -> dict[str, str]:
    """The commit of the repository around a folder and whether tracked files were changed.

    Args:
        folder: Where the user works.

    Returns:
        The tags `paceline.git_commit` and `paceline.git_dirty` (`true` or `false`); empty outside
        a repository, without a commit, or without git.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return {}
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    # A status that could not be read must not pass for a clean tree.
    return {COMMIT: commit, DIRTY: str(changes != "").lower()}


def _git(folder: Path, *args: str) -> str | None:
    """What git prints; `None` when it fails, is missing or takes more than 5 s."""
    try:
        done = subprocess.run(
            ["git", *args], cwd=folder, capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()

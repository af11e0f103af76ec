"""What a run carries besides metrics, so that it can be understood and repeated.

Params and the whole config, the command, the seed, the code's commit, the versions, the data and
its digest, the model's size, and a note that says how to reproduce the run.
"""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import RunError
from .client import asked
from .store import PARENT, Store
from .versions import versions

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
        RunError: The store does not answer, and nothing keeps what it did not take.
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
    store.outlet.send_text(run_id, config_text, "config.yaml")
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
    kind = type(data)
    path = f"{kind.__module__}.{kind.__qualname__}"
    name = str(getattr(data, "name", None) or kind.__name__)
    digest = str(getattr(data, "digest", None) or "unknown")
    dataset = {
        "name": name,
        "digest": digest[:MAX_DIGEST_CHARS],
        "source_type": "code",
        "source": json.dumps({"tags": {"mlflow.source.name": path}}),
        "profile": json.dumps({"num_train": getattr(data, "num_train", None), "sha256": digest}),
    }
    store.outlet.write(run_id, "inputs", dataset=dataset, context=context)
    store.set_tags(run_id, {"paceline.data": name, "paceline.data_digest": digest})


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
    store.outlet.send_text(run_id, text, "model_summary.txt")


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


def _code(store: Store, run_id: str) -> dict[str, str]:
    """The state of the code that a run is made with.

    A trial takes its sweep's: Ray gives each trial a working folder of its own, outside the
    user's repository. While the store does not answer, the working folder is all that is known.
    """
    client = store.client
    try:
        parent = asked(store.uri, lambda: client.get_run(run_id)).data.tags.get(PARENT)
        if parent is None:
            return code_state(Path.cwd())
        tags = asked(store.uri, lambda: client.get_run(parent)).data.tags
    except RunError:
        return code_state(Path.cwd())
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

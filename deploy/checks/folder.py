"""All files of a folder of manifests, each by the check of its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from ...platform.errors import UserError, must
from . import agreement, compose_check, kubernetes_check, launcher_check, pod_check, text_checks

_TEXTS: dict[str, Callable[[str], list[str]]] = {
    "Dockerfile": text_checks.dockerfile_problems,
    ".dockerignore": text_checks.ignore_problems,
    "constraints.txt": text_checks.constraints_problems,
    "job.sh": text_checks.slurm_problems,
    "mlflow-auth.ini": text_checks.auth_problems,
    "paceline.env.template": text_checks.environment_problems,
}
_DOCUMENTS: dict[str, Callable[[Any], list[str]]] = {
    "compose.yaml": compose_check.compose_problems,
    "cluster.yaml": launcher_check.launcher_problems,
}
_KUBERNETES = {
    "mlflow.yaml": ["ConfigMap", "Deployment", "Service"],
    "network-policy.yaml": ["NetworkPolicy"],
    "raycluster.yaml": ["RayCluster"],
    "rayjob.yaml": ["RayJob"],
}
KNOWN = {*_TEXTS, *_DOCUMENTS, *_KUBERNETES}


class _Strict(yaml.SafeLoader):
    """YAML whose mappings have each key once: of two, its readers take either, or none."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping, or the place of the second of two keys."""
        seen: set[Any] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem="a key twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def file_problems(name: str, text: str) -> list[str]:
    """What is wrong with one file of a known name, or an empty list."""
    if "\r" in text:
        return ["must end its lines with a line feed alone: what reads it takes no other"]
    if name in _TEXTS:
        return _TEXTS[name](text)
    try:
        documents = list(yaml.load_all(text, Loader=_Strict))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        return [f"line {mark.line + 1 if mark else '?'}: must be YAML"]
    try:
        return _document_problems(name, documents)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # A list where a mapping belongs, a number where a text does: a check stumbled over it.
        return [f"must have values of the right kinds; {type(error).__name__}: {error}"]


def _document_problems(name: str, documents: list[Any]) -> list[str]:
    if name in _DOCUMENTS:
        one = len(documents) == 1
        return _DOCUMENTS[name](documents[0]) if one else ["must be one document"]
    kinds = [one.get("kind") if isinstance(one, dict) else None for one in documents]
    if kinds != _KUBERNETES[name]:
        return [f"must hold {', '.join(_KUBERNETES[name])}, but holds {kinds}"]
    return [problem for one in documents for problem in kubernetes_check.object_problems(one)]


def folder_problems(folder: Path) -> dict[str, list[str]]:
    """File -> what is wrong with it, for every manifest in a folder.

    Raises:
        UserError: There is none in it, or one cannot be read.
    """
    try:
        texts = {
            path.name: path.read_bytes().decode()
            for path in sorted(folder.iterdir())
            if path.name in KNOWN
        }
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(must("FOLDER", "a folder of manifests", str(folder)), str(error)) from None
    if not texts:
        rule = "a folder of manifests"
        raise UserError(must("FOLDER", rule, str(folder)), "", "paceline cluster render TARGET")
    found = {name: file_problems(name, text) for name, text in texts.items()}
    for name, problem in _disagreements(texts, found):
        found[name].append(problem)
    return found


def _disagreements(texts: dict[str, str], found: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    """What files that are right by themselves do not agree in."""
    yield from agreement.absent_files(texts)
    right = [name for name in texts if not found[name]]
    if "compose.yaml" in right:
        for problem in agreement.compose_disagreements(yaml.safe_load(texts["compose.yaml"])):
            yield "compose.yaml", problem
    if "job.sh" in right:
        for problem in agreement.script_disagreements(texts["job.sh"]):
            yield "job.sh", problem
    objects = [
        (name, one)
        for name in right
        if name in _KUBERNETES
        for one in yaml.safe_load_all(texts[name])
    ]
    yield from agreement.kubernetes_disagreements(objects)


def absent_validators() -> list[str]:
    """Packages that check more where they are installed."""
    absent = [name for name in ("hadolint", "shellcheck") if text_checks.tool(name) is None]
    if not pod_check.has_validator():
        absent.append("kubernetes-validate")
    if compose_check.specification() is None:
        absent.append("check-jsonschema")
    return absent

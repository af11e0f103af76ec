"""Versions on all nodes against those that this package was tested with; `lightning` beside ours.

The ranges are the requirements of the installed distribution itself, so there is one list of them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import metadata

from packaging.requirements import Requirement

from .row import FAIL, OK, Finding

LIGHTNING = ("lightning", "pytorch_lightning")
# What must be the same on all nodes: processes of these exchange pickles and tensors.
ALIKE = ("python", "paceline", "ray", "torch", "pytorch-lightning", "mlflow", "numpy")


@functools.cache
def requirements() -> dict[str, Requirement]:
    """Distribution -> what the package requires of it; what only an extra wants is left out."""
    texts = metadata.requires("paceline") or []
    found = [Requirement(text) for text in texts]
    return {r.name: r for r in found if r.marker is None or r.marker.evaluate({"extra": ""})}


def packages() -> list[str]:
    """The distributions that every node is asked for."""
    return [*dict.fromkeys(["paceline", *requirements(), "numpy"])]


def judge_versions(
    by_node: Mapping[str, Mapping[str, str | None]], wanted: Mapping[str, Requirement]
) -> dict[str, list[Finding]]:
    """Node -> what is wrong with the versions there.

    Args:
        by_node: Node -> distribution -> version.
        wanted: Distribution -> what is required of it.
    """
    found = {node: _out_of_range(versions, wanted) for node, versions in by_node.items()}
    for node, text in _differences(by_node).items():
        remedy = "install the same versions on all nodes: pip install -c constraints.txt paceline"
        found[node].append(Finding(FAIL, text, remedy))
    for node, findings in found.items():
        if not findings:
            known = by_node[node]
            told = ", ".join(f"{name} {known[name]}" for name in ALIKE if known.get(name))
            findings.append(Finding(OK, told))
    return found


def _out_of_range(
    versions: Mapping[str, str | None], wanted: Mapping[str, Requirement]
) -> list[Finding]:
    findings = []
    if versions.get("paceline") is None:
        findings.append(Finding(FAIL, "paceline is not installed", "pip install its wheel there"))
    for name, requirement in wanted.items():
        version = versions.get(name)
        if version is None:
            findings.append(Finding(FAIL, f"{name} is missing", f"pip install '{requirement}'"))
        elif not requirement.specifier.contains(version, prereleases=True):
            text = f"{name} {version} is outside {requirement.specifier}"
            plain = f"{requirement.name}{requirement.specifier}"
            findings.append(Finding(FAIL, text, f"pip install '{plain}'"))
    return findings


def _differences(by_node: Mapping[str, Mapping[str, str | None]]) -> dict[str, str]:
    """Node -> what it has of another version than the first node."""
    (first, theirs), *others = by_node.items()
    found = {}
    for node, mine in others:
        parts = [
            f"{name} {mine.get(name)} ({first}: {theirs.get(name)})"
            for name in ALIKE
            if mine.get(name) != theirs.get(name) and mine.get(name) is not None
        ]
        if parts:
            found[node] = ", ".join(parts)
    return found


def judge_lightning(
    places: Mapping[str, str | None], versions: Mapping[str, str | None]
) -> list[Finding]:
    """What is to be said of one node's two packages of Lightning.

    Args:
        places: Import name -> where it lies.
        versions: Distribution -> version.
    """
    if places["lightning"] is not None:
        # Ray Train takes `lightning` where it is; its classes are none of `pytorch_lightning`.
        version = versions.get("lightning")
        text = f"lightning{f' {version}' if version else ''} stands beside pytorch_lightning"
        remedy = "pip uninstall lightning (Ray prefers it and would mix the two)"
        return [Finding(FAIL, f"{text}, in {places['lightning']}", remedy)]
    if places["pytorch_lightning"] is None:
        return [Finding(FAIL, "pytorch_lightning is missing", "pip install pytorch-lightning")]
    return [Finding(OK, "pytorch_lightning alone")]

"""Broken manifests are caught: seeded mutations of every class, of every file.

Documents: a key removed, misspelt, its value of a wrong type, a port moved, a setting of safety
turned round, an image that floats, a secret written out. Texts: a line removed, a word misspelt, a
quote removed, a port moved. A mutation is drawn again when it leaves the meaning as it was.

What may be removed without breaking anything is listed with its reason; the rest must be caught.
"""

from __future__ import annotations

import copy
import random
import re
from collections import Counter
from typing import Any

import pytest
import yaml
from paceline.deploy.checks.folder import file_problems

EACH = 4  # mutations of each class and file
THOROUGH = 16
AT_LEAST = 0.95
SAME_WITHOUT = {
    "volumeMounts.readOnly",  # of an empty folder
    "driver",  # of the network: the default is the same
    "protocol",  # TCP is the default
    "deploy.resources.reservations",
}
DOCUMENTS = [
    ("compose", "compose.yaml"),
    ("kuberay", "mlflow.yaml"),
    ("kuberay", "network-policy.yaml"),
    ("kuberay", "raycluster.yaml"),
    ("kuberay", "rayjob.yaml"),
    ("on-premise", "cluster.yaml"),
    ("aws", "cluster.yaml"),
]
TEXTS = [
    ("image", "Dockerfile"),
    ("slurm", "job.sh"),
    ("compose", "mlflow-auth.ini"),
    ("compose", "paceline.env.template"),
]
FLIPS = {True: False, False: True, "token": "disabled", "true": "false", "false": "true"}
FLIPS |= {"ALL": "NET_ADMIN", "RuntimeDefault": "Unconfined", "ClusterIP": "LoadBalancer"}


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything in a document, containers too."""
    items = document.items() if isinstance(document, dict) else enumerate(document)
    found = []
    for key, value in items:
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += places(value, (*path, key))
    return found


def parent_of(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        document = document[key]
    return document


def misspelt(word: str, chance: random.Random) -> str:
    at = chance.randrange(len(word))
    return word[:at] + word[at + 1 :] if len(word) > 1 else word + "x"


def remove(parent: Any, key: Any, chance: random.Random) -> bool:
    if not isinstance(parent, dict) or key in SAME_WITHOUT:
        return False
    del parent[key]
    return True


def misspell(parent: Any, key: Any, chance: random.Random) -> bool:
    if not isinstance(parent, dict) or key in SAME_WITHOUT:
        return False
    items = [(misspelt(k, chance) if k == key else k, v) for k, v in parent.items()]
    parent.clear()
    parent.update(items)
    return True


def retype(parent: Any, key: Any, chance: random.Random) -> bool:
    value = parent[key]
    others: list[Any] = [7, "seven", [True], {"seven": 7}]
    parent[key] = chance.choice([o for o in others if type(o) is not type(value)])
    return value not in ({}, [])


def move_port(parent: Any, key: Any, chance: random.Random) -> bool:
    value = parent[key]
    found = re.search(r"\b(6379|8265|5000|7070|5432)\b", str(value))
    if not found or isinstance(value, dict | list):
        return False
    moved = str(value).replace(found[0], str(int(found[0]) + 1), 1)
    parent[key] = int(moved) if isinstance(value, int) else moved
    return True


def turn_round(parent: Any, key: Any, chance: random.Random) -> bool:
    value = parent[key]
    if not isinstance(value, bool | str) or value not in FLIPS:
        return False
    parent[key] = FLIPS[value]
    return True


def float_image(parent: Any, key: Any, chance: random.Random) -> bool:
    if key != "image":
        return False
    name = str(parent[key]).rpartition(":")[0]
    parent[key] = chance.choice([name, f"{name}:latest"])
    return True


def write_secret(parent: Any, key: Any, chance: random.Random) -> bool:
    value = parent[key]
    if isinstance(value, str) and ":?" in value and value.startswith("${"):
        parent[key] = "hunter2hunter2"
        return True
    if key == "valueFrom":
        del parent[key]
        parent["value"] = "hunter2hunter2"
        return True
    return False


def run_as_root(parent: Any, key: Any, chance: random.Random) -> bool:
    if key not in ("user", "runAsUser", "runAsGroup", "fsGroup"):
        return False
    parent[key] = 0 if isinstance(parent[key], int) else "0:0"
    return True


OF_DOCUMENTS = (
    remove,
    misspell,
    retype,
    move_port,
    turn_round,
    float_image,
    write_secret,
    run_as_root,
)


def broken_document(text: str, mutate: Any, chance: random.Random) -> str | None:
    """A document with one thing broken, or None where this class finds nothing to break."""
    documents = list(yaml.safe_load_all(text))
    everywhere = places(documents)
    chance.shuffle(everywhere)
    for path in everywhere:
        if len(path) == 1:
            continue
        broken = copy.deepcopy(documents)
        if mutate(parent_of(broken, path), path[-1], chance) and broken != documents:
            return yaml.safe_dump_all(broken, sort_keys=False)
    return None


def meaningful(line: str) -> bool:
    return bool(line.strip()) and (not line.startswith("#") or line.startswith(("#!", "#SBATCH")))


def without_line(lines: list[str], at: int, chance: random.Random) -> str | None:
    return None


def without_letter(lines: list[str], at: int, chance: random.Random) -> str | None:
    words = [m for m in re.finditer(r"[A-Za-z_]{3,}", lines[at].partition(">&2")[0])]
    if not words or lines[at].lstrip().startswith("echo"):
        return ""
    word = chance.choice(words)
    return lines[at][: word.start()] + misspelt(word[0], chance) + lines[at][word.end() :]


def without_quote(lines: list[str], at: int, chance: random.Random) -> str | None:
    quotes = [m.start() for m in re.finditer(r"[\"']", lines[at])]
    if not quotes:
        return ""
    place = chance.choice(quotes)
    return lines[at][:place] + lines[at][place + 1 :]


def other_number(lines: list[str], at: int, chance: random.Random) -> str | None:
    found = re.search(r"\b(6379|10001|3\.11)\b", lines[at])
    return lines[at].replace(found[0], "1", 1) if found else ""


OF_TEXTS = (without_line, without_letter, without_quote, other_number)


def broken_text(text: str, mutate: Any, chance: random.Random) -> str | None:
    """A text with one line broken, or None where this class finds none."""
    lines = text.splitlines()
    order = [n for n, line in enumerate(lines) if meaningful(line)]
    chance.shuffle(order)
    for at in order:
        line = mutate(lines, at, chance)
        if line == "" or line == lines[at]:
            continue
        kept = [] if line is None else [line]
        return "\n".join([*lines[:at], *kept, *lines[at + 1 :], ""])
    return None


def mutations(
    files: dict[tuple[str, str], str], each: int, seed: int
) -> list[tuple[str, str, str, str]]:
    """(class, target, file, broken text), each text once."""
    chance, found = random.Random(seed), {}
    for classes, paths, breaks in (
        (OF_DOCUMENTS, DOCUMENTS, broken_document),
        (OF_TEXTS, TEXTS, broken_text),
    ):
        for path in paths:
            for mutate in classes:
                for _ in range(each):
                    text = breaks(files[path], mutate, chance)
                    if text is not None:
                        found[path, text] = (mutate.__name__, *path, text)
    return list(found.values())


def assert_caught(all_of_them: list[tuple[str, str, str, str]]) -> None:
    missed = [one for one in all_of_them if not file_problems(one[2], one[3])]
    asked, slipped = Counter(one[0] for one in all_of_them), Counter(one[0] for one in missed)
    table = {name: f"{count - slipped[name]} of {count}" for name, count in asked.items()}
    assert set(asked) == {mutate.__name__ for mutate in (*OF_DOCUMENTS, *OF_TEXTS)}
    assert len(missed) <= (1 - AT_LEAST) * len(all_of_them), (table, [m[:3] for m in missed])


def test_nineteen_of_twenty_broken_manifests_are_caught(rendered):
    all_of_them = mutations(rendered, EACH, seed=0)
    assert len(all_of_them) >= 180
    assert_caught(all_of_them)


@pytest.mark.slow
def test_nineteen_of_twenty_of_many_more_are_caught(rendered):
    all_of_them = mutations(rendered, THOROUGH, seed=1)
    assert len(all_of_them) >= 500
    assert_caught(all_of_them)


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_document_that_was_only_written_anew_is_left_alone(path, rendered):
    documents = yaml.safe_load_all(rendered[path])
    assert file_problems(path[1], yaml.safe_dump_all(documents, sort_keys=False)) == []


def test_values_of_a_wrong_kind_are_told_and_no_crash(rendered):
    """Where a check expects a mapping or a text."""
    aws = rendered["aws", "cluster.yaml"].replace("        Ebs:", "        Ebs: [true]\n        X:")
    assert file_problems("cluster.yaml", aws)
    ray = re.sub(
        r"^apiVersion: .*$", "apiVersion: 1", rendered["kuberay", "raycluster.yaml"], flags=re.M
    )
    assert file_problems("raycluster.yaml", ray)

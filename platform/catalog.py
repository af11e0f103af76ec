"""The catalog: what can be named on the command line and in a config, found through entry points.

Our own wings and third parties use the same groups (`paceline.recipes`, `paceline.models`, ...), so
this module knows no family. It reads names and first docstring lines without importing the code
behind them: `paceline list` must not wait for torch.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from .errors import UserError, unknown

KINDS = ("recipes", "models", "data", "optimizers", "schedules", "envs")
GROUP_OF_SECTION = {
    "model": "models",
    "data": "data",
    "optimizer": "optimizers",
    "lr_scheduler": "schedules",
}


@dataclass(frozen=True)
class Entry:
    """One line of `paceline list`.

    Args:
        name: What a user types.
        target: A class as `module:Class`, or the path of a recipe.
        package: The distribution that it comes from.
        summary: One sentence.
    """

    name: str
    target: str
    package: str
    summary: str = ""


@functools.cache
def entries(kind: str) -> dict[str, Entry]:
    """Everything of one kind by name; a name that two packages give is listed as `package:name`."""
    if kind == "recipes":
        return _recipes()
    found: dict[str, list[EntryPoint]] = {}
    for point in _points(kind):
        found.setdefault(point.name, []).append(point)
    named = {}
    for name, points in found.items():
        targets = {p.value: p for p in points}  # an editable install can list one point twice
        for point in targets.values():
            key = name if len(targets) == 1 else f"{_package(point)}:{name}"
            named[key] = Entry(key, point.value, _package(point))
    return named


def _points(kind: str) -> list[EntryPoint]:
    return sorted(entry_points(group=f"paceline.{kind}"), key=lambda point: point.name)


def find(kind: str, name: str, where: str = "") -> Entry:
    """The entry of that name.

    Raises:
        UserError: Nothing has this name; the nearest names are listed.
    """
    known = entries(kind)
    if name not in known:
        raise unknown(kind.removesuffix("s") if kind != "data" else kind, name, known, where)
    return known[name]


def import_path(target: str) -> str:
    """`module:Class` in the dotted form that a config's `class_path` has."""
    return target.replace(":", ".")


# torch's docstrings are templates, and torch takes seconds to import.
_SAID_OF_TORCH = {
    "torch.optim:SGD": "w <- w - lr g, with momentum as an option (deck, Gradient Descent).",
    "torch.optim:RMSprop": "Steps over a running root mean square (Tieleman and Hinton 2012).",
    "torch.optim:Adagrad": "Steps over the root of all squared gradients (Duchi et al. 2011).",
    "torch.optim:Adam": "Momentum and RMSprop with bias correction (Kingma and Ba 2015).",
    "torch.optim:AdamW": "Adam with decoupled weight decay (Loshchilov and Hutter 2019).",
}


def summary(entry: Entry) -> str:
    """First sentence of the class behind an entry, read from its source without importing it."""
    if entry.summary or entry.target in _SAID_OF_TORCH:
        return entry.summary or _SAID_OF_TORCH[entry.target]
    module, _, attribute = entry.target.partition(":")
    try:
        spec = importlib.util.find_spec(module) if not _is_heavy(module) else None
        tree = ast.parse(Path(spec.origin).read_text()) if spec and spec.origin else None
    except (ImportError, OSError, SyntaxError, ValueError):
        return f"cannot be read: {entry.target}"
    for node in tree.body if tree else []:
        if isinstance(node, ast.ClassDef) and node.name == attribute:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return import_path(entry.target)


def _is_heavy(module: str) -> bool:
    """Finding the spec of a submodule imports its parents, which for torch takes seconds."""
    return module.partition(".")[0] in {"torch", "pytorch_lightning", "ray", "mlflow"}


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "?"


def _recipes() -> dict[str, Entry]:
    """Every recipe by name; a name that two folders have is listed as `package:name`."""
    found: dict[str, list[tuple[Path, str]]] = {}
    for value, package in sorted({(p.value, _package(p)) for p in _points("recipes")}):
        for folder in _folders(value):
            for path in sorted(folder.glob("*.yaml")):
                found.setdefault(path.stem, []).append((path, package))
    named = {}
    for name, places in found.items():
        for path, package in places:
            key = name if len(places) == 1 else f"{package}:{name}"
            named[key] = Entry(key, str(path), package, head_comment(path))
    return dict(sorted(named.items()))


def _folders(package: str) -> list[Path]:
    """The folders of a package, found without running its own code; none when it is gone."""
    try:
        spec = importlib.util.find_spec(package)
    except Exception:  # a parent package that does not import must not hide the others
        return []
    return [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []


def head_comment(path: Path) -> str:
    """First line of a recipe's head comment."""
    with path.open(errors="replace") as file:
        first = file.readline()
    return first.lstrip("# ").strip() if first.startswith("#") else ""


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the name is too long
        return False


def recipe_path(recipe: str) -> Path:
    """The file behind RECIPE: a path that ends in .yaml or .yml, or a catalog name.

    Raises:
        UserError: No such file or name.
    """
    if re.search(r"\.ya?ml$", recipe) or "/" in recipe:
        path = Path(recipe).expanduser()
        if not _is_file(path):
            raise UserError(
                f"`RECIPE` must be a file that exists or a catalog name, but is {recipe!r}.",
                str(path.absolute()),
                "paceline list recipes",
            )
        return path
    return Path(find("recipes", recipe, "RECIPE").target)

"""The house stands as it was drawn: which wing may import which, and who may know MLflow and Ray.

The rules are checked on the syntax trees, so that an import inside a function counts like any
other. The checks are functions of a folder: each is shown a tree with one planted violation too.
"""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WINGS = ("lightning_modules", "rl", "platform", "tuning", "deploy")

# An import may only point down. `lightning_modules` and `platform` stand side by side on the
# ground: the platform finds models and data through the catalog, never by import.
MAY_IMPORT = {
    "lightning_modules": set(),
    "rl": {"lightning_modules"},
    "platform": set(),
    "tuning": {"platform"},
    "deploy": {"tuning", "platform"},
}
ONLY_IN = {
    "mlflow": r"platform/tracking/.*|deploy/.*",
    "ray": r"platform/launch/.*|tuning/.*|deploy/.*",
    "gymnasium": r"rl/.*",
}
MAY_PRINT = {
    "__main__.py": "it answers on standard output",
    "platform/commands/ui_command.py": "it says where the page is before it serves for hours",
}
VAGUE = {"utils", "util", "helpers", "helper", "common", "base", "misc"}

# 60 to 250 lines read best; these are the lengths that want a reason, written down here.
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 40  # of its body, without signature and docstring
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}


@functools.cache
def sources(root: Path) -> dict[str, ast.Module]:
    """Path from the root -> syntax tree, for all code of the wings and the two root modules."""
    paths = [*root.glob("*.py"), *(p for wing in WINGS for p in (root / wing).rglob("*.py"))]
    return {p.relative_to(root).as_posix(): ast.parse(p.read_text(), str(p)) for p in sorted(paths)}


def imports(path: str, tree: ast.Module) -> Iterator[tuple[str, int]]:
    """What a file imports, as (dotted name, line); inside the package the name begins with a dot.

    Of `from ..platform.home import claim` in tuning/ that is `.platform.home.claim`.
    """
    package = path.split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = len(package) - (node.level - 1)
            start = [*package[:up], *(node.module.split(".") if node.module else [])]
            yield from ((".".join(["", *start, a.name]), node.lineno) for a in node.names)


def wrong_edges(root: Path) -> list[str]:
    """Imports that point up or sideways, and those between wings that are not relative."""
    wrong = []
    for path, tree in sources(root).items():
        wing = path.split("/")[0] if "/" in path else ""
        for name, line in imports(path, tree):
            if name.split(".")[0] == "paceline":
                wrong.append(f"{path}:{line} imports {name}, not relatively")
            elif name.startswith(".") and wing:
                target = name.split(".")[1]
                if target != wing and target not in MAY_IMPORT[wing]:
                    wrong.append(f"{path}:{line} imports {name}")
    return wrong


def wrong_dependencies(root: Path) -> list[str]:
    """Imports of MLflow, Ray and Gymnasium outside the places that may know them."""
    return [
        f"{path}:{line} imports {name}"
        for path, tree in sources(root).items()
        for name, line in imports(path, tree)
        for package, places in ONLY_IN.items()
        if name.split(".")[0] == package and not re.fullmatch(places, path)
    ]


def cycles(root: Path) -> list[list[str]]:
    """Modules of the package that import each other in a circle, whichever way round."""
    modules = {_module(path): path for path in sources(root)}
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for path, tree in sources(root).items():
        for name, _ in imports(path, tree):
            for target in (name, name.rpartition(".")[0]):
                if target in modules and target != _module(path):
                    graph[_module(path)].add(target)
                    break
    return [sorted(part) for part in _components(graph) if len(part) > 1]


def _module(path: str) -> str:
    return "." + path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _components(graph: dict[str, set[str]]) -> list[set[str]]:
    """Sets of nodes that reach each other; the graph is small enough for the plain way."""

    def reach(start: str) -> set[str]:
        seen, queue = set[str](), [start]
        while queue:
            for target in graph[queue.pop()] - seen:
                seen.add(target)
                queue.append(target)
        return seen

    reached = {name: reach(name) for name in graph}
    parts = {name: {n for n in reached[name] if name in reached[n]} for name in graph}
    return [set(part) for part in {frozenset(part) for part in parts.values() if part}]


def prints(root: Path) -> list[str]:
    """Calls of `print` in library code."""
    return [
        f"{path}:{node.lineno}"
        for path, tree in sources(root).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
        if path not in MAY_PRINT
    ]


def long_files(root: Path) -> dict[str, int]:
    """Files with more lines than read well."""
    lengths = {path: len((root / path).read_text().splitlines()) for path in sources(root)}
    return {path: length for path, length in lengths.items() if length > MAX_FILE_LINES}


def long_functions(root: Path) -> dict[str, int]:
    """`path:function` -> lines, for functions that are longer than reads well."""
    found = {}
    for path, tree in sources(root).items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            length = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            if length > MAX_FUNCTION_LINES:
                found[f"{path}:{node.name}"] = length
    return found


def test_imports_point_down_only():
    assert wrong_edges(ROOT) == []


def test_mlflow_ray_and_gymnasium_are_known_in_their_places_only():
    assert wrong_dependencies(ROOT) == []


def test_no_modules_import_each_other_in_a_circle():
    assert cycles(ROOT) == []


def test_library_code_prints_nothing():
    assert prints(ROOT) == []


def test_files_are_short_or_say_why_not():
    assert set(long_files(ROOT)) == set(LONG_FILES), long_files(ROOT)


def test_functions_are_short_or_say_why_not():
    assert set(long_functions(ROOT)) == set(LONG_FUNCTIONS), long_functions(ROOT)


def test_no_module_has_a_vague_name_or_hides_one_that_others_import():
    names = {Path(path).stem for path in sources(ROOT)} - {"__init__", "__main__"}
    assert names & (VAGUE | set(sys.stdlib_module_names)) == set()


def test_platform_has_no_init_file():
    assert not (ROOT / "platform" / "__init__.py").exists()


def test_import_platform_from_the_root_finds_the_standard_library():
    code = "import platform; print(platform.__file__); platform.system()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not done.stdout.startswith(str(ROOT))


def plant(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("platform__config", "from ..lightning_modules.mlp import MLP"),
        ("platform__config", "def f():\n    from ..tuning import space"),
        ("platform__config", "if True:\n    from .. import rl"),
        ("lightning_modules__mlp", "from ..platform.errors import must"),
        ("lightning_modules__data__sets", "from ...platform.errors import must"),
        ("lightning_modules__mlp", "from .. import rl"),
        ("tuning__space", "from ..lightning_modules import mlp"),
        ("tuning__space", "from ..deploy import ray_cluster"),
        ("tuning__space", "import paceline.platform.errors"),
        ("rl__dqn", "from paceline.lightning_modules import mlp"),
        ("rl__dqn", "from ..platform import config"),
        ("deploy__serve", "from ..lightning_modules.mlp import MLP"),
    ],
)
def test_an_import_that_points_up_is_found(tmp_path: Path, path: str, text: str):
    assert len(wrong_edges(plant(tmp_path, **{path: text}))) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("lightning_modules__data__sets", "from .order import x\nfrom ..shapes import y"),
        ("rl__dqn", "from ..lightning_modules.blocks import losses"),
        ("tuning__space", "from ..platform.errors import must"),
        ("deploy__serve", "from ..tuning.sweep import run\nfrom ..platform import home"),
        ("x", "from .tuning.api import sweep\nfrom .rl import dqn"),
    ],
)
def test_an_import_that_points_down_is_left_alone(tmp_path: Path, path: str, text: str):
    assert wrong_edges(plant(tmp_path, **{path: text})) == []


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        ("platform__launch", "import mlflow", 1),
        ("platform__tracking__x", "from mlflow.entities import Run", 0),
        ("deploy__server", "import mlflow\nimport ray", 0),
        ("tuning__sweep", "def f():\n    from mlflow import MlflowClient", 1),
        ("tuning__sweep", "import ray\nfrom ray import tune", 0),
        ("platform__launch__ray_train", "import ray.train", 0),
        ("platform__runs", "import ray.train", 1),
        ("lightning_modules__x", "from ray import tune", 1),
        ("lightning_modules__x", "import gymnasium as gym", 1),
        ("rl__x", "import gymnasium as gym", 0),
        ("rl__x", "import rayon", 0),
    ],
)
def test_a_dependency_out_of_place_is_found(tmp_path: Path, path: str, text: str, found: int):
    assert len(wrong_dependencies(plant(tmp_path, **{path: text}))) == found


def test_a_circle_is_found_however_it_is_written(tmp_path: Path):
    plant(
        tmp_path,
        tuning__a="from .b import x",
        tuning__b="def f():\n    from . import c",
        tuning__c="from ..tuning import a",
        tuning__d="from .a import x",
        platform__lonely="import json",
    )
    assert cycles(tmp_path) == [[".tuning.a", ".tuning.b", ".tuning.c"]]


def test_a_print_and_long_code_are_found(tmp_path: Path):
    body = "\n    x = 1" * (MAX_FUNCTION_LINES + 1)
    plant(
        tmp_path,
        platform__a="def f():\n    print('x')",
        platform__b=f"def f():{body}\ndef g(a,\nb,\nc):\n    pass",
        platform__c='def f():\n    """' + "\n" * 60 + '"""\n    x = 1',
        platform__d="x = 1\n" * (MAX_FILE_LINES + 1),
        __main__="print()",
    )
    assert prints(tmp_path) == ["platform/a.py:2"]
    assert list(long_functions(tmp_path)) == ["platform/b.py:f"]
    assert list(long_files(tmp_path)) == ["platform/d.py"]

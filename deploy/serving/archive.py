"""An exported model (`model.pt2`) opened without unpickling anything and without running its text.

`torch.export.load` unpickles the example inputs that such a file carries, evaluates the expressions
of its shapes as Python, takes the functions of its graph by any dotted path under `torch`, and runs
its guards as code. So a file from a shared store could run anything. Here the file is taken apart
first: what is not a raw tensor or a graph of known functions is refused, what is not needed to
compute is left out, and torch reads the rest.
"""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...platform.errors import UserError

FILE = "model.pt2"
_TENSOR = re.compile(r"data/(weights/weight|constants/tensor)_\d+")
_CONFIG = re.compile(r"data/(weights|constants)/\w+_config\.json")
_GRAPH = re.compile(r"models/\w+\.json")
_SAMPLES = re.compile(r"data/sample_inputs/\w+\.pt")
_NOTES = re.compile(r"archive_format|archive_version|byteorder|\.data/(version|serialization_id)")
_HIGHER = "cond|while_loop|scan|associative_scan|map_impl|wrap_with_set_grad_enabled"
_COMPARE = "getitem|eq|ne|lt|le|gt|ge|add|sub|mul|floordiv|truediv|mod|neg|pow|and_|or_|not_"
_FUNCTION = re.compile(
    rf"torch\.ops\.(aten|prims)\.(?!from_file)\w+(\.\w+)?|torch\.ops\.higher_order\.({_HIGHER}|wrap_"
    rf"with_autocast)|_operator\.({_COMPARE})|math\.\w+|torch\.(_)?sym_\w+"
)
_WORDS = re.compile(r"'[suz]\d+'|[A-Za-z_]\w*|\d+(?:\.\d+)?(?:e-?\d+)?|[(),=*+\-/<>|&~ ]")
_KNOWN_WORDS = re.compile(
    r"Symbol|Integer|Float|Rational|Add|Mul|Pow|Mod|Max|Min|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|Abs|Where|"
    r"FloorDiv|CeilDiv|CleanDiv|PythonMod|ModularIndexing|IntTrueDiv|FloatTrueDiv|FloatPow|"
    r"PowByNat|FloorToInt|CeilToInt|TruncToInt|RoundToInt|ToFloat|Identity|Equality|Unequality|"
    r"StrictLessThan|LessThan|StrictGreaterThan|GreaterThan|positive|integer|nonnegative|[tT]rue|"
    r"[fF]alse|[suz]\d+"
)
_TREES = re.compile(r'"type": ?"([^"]*)"')
_KNOWN_TREES = frozenset(
    ("builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
)


def open_archive(path: Path) -> Any:
    """The graph of an exported model as a module that can be called.

    Args:
        path: A `model.pt2`.

    Raises:
        UserError: It holds pickles, or a graph that could do more than compute.
    """
    import torch

    with tempfile.TemporaryDirectory() as folder:
        harmless = Path(folder) / FILE
        rewrite(path, harmless)
        try:
            # The guards ask for the batch of two or more that the model was exported with; shapes
            # are checked by its signature.
            return torch.export.load(harmless).module(check_guards=False)
        except Exception as error:  # a torch of another version raises anything
            raise _refused(path, f"torch {torch.__version__} cannot read it: {error}") from error


def rewrite(path: Path, to: Path) -> None:
    """Copy of an exported model what is needed to compute, when nothing in it is anything else.

    Raises:
        UserError: Something is.
    """
    try:
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(to, "w") as copy:
            for info in archive.infolist():
                root, _, name = info.filename.partition("/")
                if not info.is_dir():
                    copy.writestr(f"{root}/{name}", _harmless(path, name, archive.read(info)))
    except (zipfile.BadZipFile, OSError, ValueError, RecursionError) as error:
        raise _refused(path, f"{type(error).__name__}: {error}") from error


def _harmless(path: Path, name: str, content: bytes) -> bytes:
    """A record as torch may read it."""
    if _TENSOR.fullmatch(name) or _NOTES.fullmatch(name):
        return content
    if _SAMPLES.fullmatch(name):
        return b""  # a pickle, which computing does not need
    if _CONFIG.fullmatch(name):
        _check_config(path, json.loads(content))
        return content
    if _GRAPH.fullmatch(name):
        return json.dumps(_checked_graph(path, json.loads(content))).encode()
    raise _refused(path, f"the record {name} is neither a tensor nor a graph")


def _check_config(path: Path, content: Any) -> None:
    for tensor, entry in content["config"].items():
        if entry.get("use_pickle") is not False or not re.fullmatch(
            r"(weight|tensor)_\d+", str(entry.get("path_name"))
        ):
            raise _refused(path, f"`{tensor}` is a pickle, not a raw tensor")


def _checked_graph(path: Path, content: Any) -> Any:
    """The graph without its guards and notes, when it can do nothing but compute."""
    content["guards_code"] = []
    for key, value in _entries(content):
        if key in ("target", "as_operator") and not _FUNCTION.fullmatch(str(value)):
            raise _refused(path, f"its graph calls {str(value)[:80]!r}")
        if key == "expr_str" and not _is_arithmetic(str(value)):
            raise _refused(path, f"it has a shape of {str(value)[:80]!r}")
        if key in ("in_spec", "out_spec") and not _is_plain_tree(str(value)):
            raise _refused(path, f"its {key} is no tuple, list or dictionary")
        if isinstance(value, dict) and "target" in value and "metadata" in value:
            value["metadata"] = {}
    return content


def _entries(content: Any) -> Iterator[tuple[str, Any]]:
    """Each key of nested JSON with its value; those of lists come with the list's key."""
    stack: list[tuple[str, Any]] = [("", content)]
    while stack:
        key, value = stack.pop()
        yield key, value
        if isinstance(value, dict):
            stack += value.items()
        elif isinstance(value, list):
            stack += [(key, one) for one in value]


def _is_arithmetic(text: str) -> bool:
    """Whether an expression is made of symbols, numbers and known functions alone."""
    found = _WORDS.findall(text)
    words = {word for word in found if word[0].isalpha() or word[0] == "_"}
    return "".join(found) == text and all(map(_KNOWN_WORDS.fullmatch, words))


def _is_plain_tree(text: str) -> bool:
    return "__" not in text and set(_TREES.findall(text)) <= _KNOWN_TREES


def _refused(path: Path, why: str) -> UserError:
    return UserError(
        f"`{FILE}` must hold raw tensors and a graph that only computes, but {why[:300]}.",
        str(path),
        "export it anew: paceline promote SWEEP, or mlflow.pytorch.log_model(..., "
        "serialization_format='pt2')",
    )
